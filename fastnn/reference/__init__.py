"""The NumPy twin of every op, forward and backward: what the C kernels must agree with.

An op NAME of family F is ``F.NAME(ins, dim, f) -> outputs`` and, if it has a gradient,
``F.NAME_grad(ins, outs, gouts, want, dim, f) -> gradients of the inputs``. ins, outs and gouts are
lists of arrays in slot order (None where backward may not look, or where an output was not used);
want says which input gradients to compute, the others are None. A result may come in any shape of
the right size: a record knows the axes it has merged, not those of its tensors. Nothing here forces
a dtype: float32 when it stands in for a kernel, float64 when a gradient is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

FAMILIES = (
    "pointwise", "activation", "reduce", "movement", "indexing", "image", "linear", "conv", "norm",
    "pool", "random", "loss", "optim",
)


def table(names: list[str]) -> dict[str, tuple[Callable[..., Any], Callable[..., Any] | None]]:
    """(forward, backward) of each op named."""
    modules = [import_module(f"{__name__}.{family}") for family in FAMILIES]
    found = {}
    for name in names:
        homes = [m for m in modules if hasattr(m, name)]
        if len(homes) != 1:
            raise LookupError(f"op {name} has {len(homes)} reference functions; need one")
        found[name] = (getattr(homes[0], name), getattr(homes[0], name + "_grad", None))
    return found
