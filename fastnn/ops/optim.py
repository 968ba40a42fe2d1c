"""Optimizer steps over arenas, and the sums and changes of gradients behind clipping.

For ``fastnn.optim`` and ``fastnn.nn.utils``, which check what users pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from .. import _core
from .._core import OPS, Arena, Tensor, call, empty, step_arenas

__all__: list[str] = []     # nothing for the top level: reached through optim and nn.utils

SGD, RMSPROP, ADAGRAD, ADAM, LION = (
    OPS[name] for name in ("sgd", "rmsprop", "adagrad", "adam", "lion")
)
SUMS, NORM, SCALE, CLAMP, ZERO = (
    OPS["grad_" + name] for name in ("sums", "norm", "scale", "clamp", "zero")
)
# Bits of a step's flags, as in op_optim.h.
MAXIMIZE, NESTEROV, CENTERED, AMSGRAD, MOMENTUM, DECOUPLED = 1, 2, 2, 2, 4, 4
CHUNK = 4096                # SEGMENT_CHUNK of op_optim.h
KINDS = {inf: 0, 1.0: 1, 2.0: 2}

Job = tuple[Arena, int, Tensor, tuple[float, ...], Tensor, tuple[Tensor, ...]]


def step(op: int, jobs: list[Job]) -> None:
    """Step groups of parameters: (arena, flags, counts, option values, options, states) each."""
    step_arenas(op, jobs)


def norm(grads: Sequence[Tensor], kind: float, limit: float) -> tuple[Tensor, Tensor]:
    """The norm of all elements together, and min(limit / (norm + 1e-6), 1).

    Sums of 4096 elements are added in the order of grads: the bits do not depend on where they lie.
    """
    blocks, chunks = _core.segments(list(grads), CHUNK)
    sums = empty((chunks,))
    for block, table in blocks:
        call(SUMS, (block, table, sums), (), (*_size(table), KINDS[kind]))
    return call(NORM, (sums,), ((), ()), (chunks, KINDS[kind]), (limit,))


def scale_(grads: Sequence[Tensor], factor: Tensor) -> None:
    """Multiply every gradient by a scalar tensor in place."""
    _change(SCALE, grads, (factor,))


def clamp_(grads: Sequence[Tensor], limit: float) -> None:
    """Bring every element into [-limit, limit] in place."""
    _change(CLAMP, grads, (), (limit,))


def zero_(grads: Sequence[Tensor]) -> None:
    """Set every element to 0 in place."""
    _change(ZERO, grads)


def _size(table: Tensor) -> tuple[int, int]:
    """Rows and chunks of a table of segments."""
    rows = table.numel() // 4 - 1
    return rows, int(table.numpy()[-1])


def _change(
    op: int, grads: Sequence[Tensor], more: tuple[Tensor, ...] = (), f: tuple[float, ...] = ()
) -> None:
    for block, table in _core.segments(list(grads), CHUNK)[0]:
        call(op, (block, table, *more), (), _size(table), f)
    for g in grads:
        _core.bump_version(g)
