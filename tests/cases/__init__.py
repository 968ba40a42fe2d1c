"""Cases: one per op and shape of interest, from which every check of tests/test_cases.py follows.

A case calls a public function; the harness captures the records it launches and examines each:
the float64 reference by finite differences, every kernel against its reference on every ISA with
1, 2, 3 and 7 threads and each mask of unwanted gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

FAMILIES = (
    "pointwise", "activation", "reduce", "movement", "indexing", "image", "linear", "conv",
    "conv_fused", "conv_transpose", "norm", "pool", "random", "loss", "optim",
)


@dataclass(frozen=True)
class Case:
    """One call of a public function, and how closely kernel and reference must agree.

    fn takes one tensor per array that inputs makes. Tolerances follow from error analysis:
    |kernel - reference| <= atol + rtol * |reference| elementwise, and `depth` for sums: adds
    depth * 2**-24 * (the same record computed on absolute values is approximated by max|y|).
    """

    op: str                                     # the row of ops.def it is about
    fn: Callable[..., Any]
    inputs: Callable[[np.random.Generator], tuple[np.ndarray, ...]]
    name: str = ""                              # tells cases of one op apart
    rtol: float = 2e-6                          # of each element
    atol: float = 1e-6                          # of the typical magnitude of the output
    grad: bool = True                           # float inputs get gradients
    differences: bool = True                    # False at kinks: no finite differences
    exact: bool = False                         # bits must equal the reference (moves, compares)
    big: bool = False                           # a shape that crosses block sizes: no differences
    tags: tuple[str, ...] = field(default=())

    @property
    def id(self) -> str:
        return f"{self.op}-{self.name}" if self.name else self.op


def randn(*shapes: tuple[int, ...]) -> Callable[[np.random.Generator], tuple[np.ndarray, ...]]:
    """Standard normal float32 inputs of these shapes."""
    return lambda rng: tuple(rng.standard_normal(s).astype(np.float32) for s in shapes)


def integers(
    *shapes: tuple[int, ...], dtype: str = "int64"
) -> Callable[[np.random.Generator], tuple[np.ndarray, ...]]:
    """Small integers of a storage dtype, in these shapes."""
    return lambda rng: tuple(rng.integers(0, 100, s).astype(dtype) for s in shapes)


def all_cases() -> list[Case]:
    """Every case of every family."""
    return [c for f in FAMILIES for c in import_module(f"{__name__}.{f}").CASES]
