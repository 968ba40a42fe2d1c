"""Optimizer steps over arenas, and the sums and changes of gradients behind clipping.

For ``fastnn.optim`` and ``fastnn.nn.utils``, which check what users pass.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from .. import _core
from .._core import OPS, Arena, Tensor, bump_version, call, empty, step_arenas

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


def set_options(jobs: list[Job]) -> None:
    """Write the option values of jobs without a step."""
    _core.set_options(jobs)


class Places(NamedTuple):
    """Where gradients lie: (block, table of segments, sizes), and their chunks of 4096 elements."""

    grads: list[Tensor]
    blocks: list[tuple[Tensor, Tensor, tuple[int, int, int]]]
    chunks: int


def locate(grads: list[Tensor]) -> Places:
    """The places of gradients; those in one arena need one launch."""
    return Places(grads, *_core.segments(grads, CHUNK))


def norm(places: Places, kind: float, limit: float) -> tuple[Tensor, Tensor]:
    """The norm of all elements together, and min(limit / (norm + 1e-6), 1).

    Sums of chunks are added in the order of the gradients: the bits do not depend on their places.
    """
    sums = empty((places.chunks,))
    for block, table, sizes in places.blocks:
        call(SUMS, (block, table, sums), (), (*sizes, KINDS[kind]))
    return call(NORM, (sums,), ((), ()), (places.chunks, KINDS[kind]), (limit,))


def scale_(places: Places, factor: Tensor) -> None:
    """Multiply every gradient by a scalar tensor in place."""
    _change(SCALE, places, (factor,))


def clamp_(places: Places, limit: float) -> None:
    """Bring every element into [-limit, limit] in place."""
    _change(CLAMP, places, (), (limit,))


def zero_(places: Places) -> None:
    """Set every element to 0 in place."""
    _change(ZERO, places)


def _change(
    op: int, places: Places, more: tuple[Tensor, ...] = (), f: tuple[float, ...] = ()
) -> None:
    for block, table, sizes in places.blocks:
        call(op, (block, table, *more), (), sizes, f)
    for g in places.grads:
        bump_version(g)
