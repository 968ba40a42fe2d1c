"""How a part of a tensor is read: as a view, as shared memory or as copies along strides.

A plan follows from shapes and axes alone, so it is made once and kept: an op on a small tensor then
costs a lookup and a launch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

from .._core import OPS, Tensor, call, call_view, view

STRIDED = OPS["strided"]
AXES = 6  # of a strided record
VIEW, SHARE, COPY = range(3)
kept = lru_cache(maxsize=4096)  # small enough to forget, large enough for a model's shapes


class Step(NamedTuple):
    """One way from a tensor to a part of it: kind, shape of the part, first element, record."""

    kind: int
    shape: tuple[int, ...]
    offset: int
    dim: tuple[int, ...]


Plan = tuple[Step, ...]


def read(x: Tensor, plan: Plan) -> Tensor:
    """The part of x that a plan leads to."""
    for kind, shape, offset, dim in plan:
        if kind == COPY:
            x = call(STRIDED, (x,), (shape,), dim, (), 0, (x.dtype,))
        elif kind == SHARE:
            x = call_view(STRIDED, x, shape, offset, dim)
        else:
            x = view(x, shape)
    return x


def strides(shape: Sequence[int]) -> list[int]:
    """Elements from one index to the next along each axis."""
    steps = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        steps[i] = steps[i + 1] * shape[i + 1]
    return steps


def _merge(sizes: Sequence[int], steps: Sequence[int]) -> tuple[list[int], list[int]]:
    """The same walk with as few axes as possible."""
    n: list[int] = []
    s: list[int] = []
    for size, step in zip(sizes, steps, strict=True):
        if size == 1:
            continue
        if n and s[-1] == step * size:
            n[-1] *= size
            s[-1] = step
        else:
            n.append(size)
            s.append(step)
    return n, s


def step(
    numel: int, itemsize: int, shape: tuple[int, ...], sizes: Sequence[int], steps: Sequence[int],
    offset: int = 0, copy: bool = False,
) -> Step | None:
    """The step that reads a tensor of numel elements along strides; None if it has more axes than a
    record holds. copy: never share memory."""
    n, s = _merge(sizes, steps)
    if 0 in n:
        n, s, offset, copy = [0], [1], 0, True
    contiguous = not n or (len(n) == 1 and s[0] == 1)
    fill = AXES - len(n)
    if fill < 0:
        return None
    dim = (*[1] * fill, *n, *[0] * fill, *s, offset, numel, itemsize)
    if copy or not contiguous:
        return Step(COPY, shape, offset, dim)
    return Step(VIEW if prod(shape) == numel else SHARE, shape, offset, dim)


def _axis_step(
    shape: tuple[int, ...], itemsize: int, d: int, start: int, stride: int, length: int,
    drop: bool = False,
) -> Step:
    """Elements start, start + stride, ... of axis d; drop: without the axis."""
    before, n, after = shape[:d], shape[d], shape[d + 1 :]
    inner = prod(after)
    to = (*before, *after) if drop else (*before, length, *after)
    found = step(prod(shape), itemsize, to, (prod(before), length, inner),
                 (n * inner, stride * inner, 1), start * inner)
    assert found is not None
    return found


@kept
def slab_plan(
    shape: tuple[int, ...], itemsize: int, d: int, start: int, length: int, drop: bool
) -> Plan:
    """Neighbours along one axis."""
    return (_axis_step(shape, itemsize, d, start, 1, length, drop),)


def slab(x: Tensor, d: int, start: int, length: int, drop: bool = False) -> Tensor:
    """Elements start to start + length of axis d, checked; drop: without the axis."""
    return read(x, slab_plan(x.shape, x.dtype.itemsize, d, start, length, drop))


@kept
def clone_plan(shape: tuple[int, ...], itemsize: int) -> Plan:
    """Everything, in memory of its own."""
    n = prod(shape)
    found = step(n, itemsize, shape, (n,), (1,), 0, True)
    assert found is not None
    return (found,)


@kept
def flip_plan(shape: tuple[int, ...], itemsize: int, d: int) -> Plan:
    """Axis d in reverse."""
    if prod(shape) == 0:
        return (Step(VIEW, shape, 0, ()),)
    return (_axis_step(shape, itemsize, d, shape[d] - 1, -1, shape[d]),)


@kept
def permute_plan(shape: tuple[int, ...], itemsize: int, order: tuple[int, ...]) -> Plan:
    """The axes in another order."""
    steps, numel = strides(shape), prod(shape)
    to = tuple([shape[i] for i in order])
    found = step(numel, itemsize, to, to, [steps[i] for i in order])
    if found is not None:
        return (found,)
    plan, where = [], list(range(len(shape)))  # bring one axis after the other to the front
    for axis in reversed(order):
        i = where.index(axis)
        outer, n, inner = prod(shape[:i]), shape[i], prod(shape[i + 1 :])
        shape = (n, *shape[:i], *shape[i + 1 :])
        found = step(numel, itemsize, shape, (n, outer, inner), (inner, n * inner, 1))
        assert found is not None
        plan.append(found)
        where.insert(0, where.pop(i))
    return tuple(plan)


Basic = tuple[int | None | tuple[int, int, int], ...]


def basic_plan(shape: tuple[int, ...], itemsize: int, basic: Basic) -> Plan:
    """A range (start, stride, length) or one index of each axis; None stands for a new axis."""
    left = tuple([1 if k is None else k[2] for k in basic if not isinstance(k, int)])
    ranges = [k if isinstance(k, tuple) else (k, 1, 1) for k in basic if k is not None]
    steps = strides(shape)
    found = step(
        prod(shape), itemsize, left, [length for _, _, length in ranges],
        [stride * s for (_, stride, _), s in zip(ranges, steps, strict=True)],
        sum([start * s for (start, _, _), s in zip(ranges, steps, strict=True)]),
    )
    if found is not None:
        return (found,)
    plan = []  # one axis after the other
    for d, (start, stride, length) in enumerate(ranges):
        plan.append(_axis_step(shape, itemsize, d, start, stride, length))
        shape = plan[-1].shape
    return (*plan, Step(VIEW, left, 0, ()))
