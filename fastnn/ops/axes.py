"""Which axes an op reduces and the records that follow, made once for each shape and kept."""

from __future__ import annotations

from math import prod
from operator import index
from typing import Any, NamedTuple

from ..errors import DTypeError, ShapeError
from .checks import need_axis
from .walks import kept

Geometry = tuple[int, int, int]  # outer, n, inner


class Reduction(NamedTuple):
    """One record over axes: the order that brings them side by side (None = they are), what is
    left, the record, and how many elements become one."""

    axes: tuple[int, ...]
    order: tuple[int, ...] | None
    shape: tuple[int, ...]
    geometry: Geometry
    size: int


def which(op: str, dim: Any, axis: Any = None) -> Any:
    """dim or axis as None, an int or a tuple."""
    dim = axis if dim is None else dim
    if dim is None or type(dim) is int or type(dim) is tuple:
        return dim
    if hasattr(dim, "__index__"):
        return index(dim)
    try:
        return tuple(dim)
    except TypeError:
        raise DTypeError(f"{op}: dim: got {dim!r}; need an integer or a tuple of them") from None


def _axes(op: str, dim: Any, rank: int) -> tuple[int, ...]:
    """The axes meant by dim, ascending; () means all of them."""
    if dim is None or dim == ():
        return tuple(range(rank))
    found = sorted(need_axis(op, d, rank) for d in (dim if isinstance(dim, tuple) else (dim,)))
    if len(set(found)) != len(found):
        raise ShapeError(f"{op}: dim: got {dim}; need each axis at most once")
    return tuple(found) if rank else ()


def _left(shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    """The shape that is left."""
    if keepdim:
        return tuple([1 if i in axes else s for i, s in enumerate(shape)])
    return tuple([s for i, s in enumerate(shape) if i not in axes])


def _span(shape: tuple[int, ...], a: int, b: int) -> Geometry:
    """(outer, n, inner) of the axes a to b."""
    return prod(shape[:a]), prod(shape[a:b]), prod(shape[b:])


def _need_elements(op: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """Refuse the extreme or mean of nothing."""
    for i in axes:
        if shape[i] == 0:
            raise ShapeError(f"{op}: input: got shape {shape}; need elements along axis {i}")


@kept
def reduction(
    op: str, shape: tuple[int, ...], dim: Any, keepdim: bool, of_nothing: bool = False
) -> Reduction:
    """The record of a reduction; of_nothing: one of no elements has a value."""
    axes = _axes(op, dim, len(shape))
    if not of_nothing:
        _need_elements(op, shape, axes)
    left, size = _left(shape, axes, keepdim), prod([shape[i] for i in axes])
    if not axes:
        return Reduction(axes, None, left, (prod(shape), 1, 1), 1)
    a, b = axes[0], axes[-1] + 1
    others = [i for i in range(len(shape)) if i not in axes]
    if any(shape[i] != 1 for i in others if a < i < b):
        outer = prod([shape[i] for i in others])
        return Reduction(axes, (*others, *axes), left, (outer, size, 1), size)
    return Reduction(axes, None, left, _span(shape, a, b), size)


@kept
def sums(
    op: str, shape: tuple[int, ...], dim: Any, keepdim: bool
) -> tuple[tuple[tuple[tuple[int, ...]], Geometry, tuple[float]], ...]:
    """(output shapes, geometry, constants) of the sums that make up a sum or mean: one for each run
    of adjacent axes, the last run first."""
    axes = _axes(op, dim, len(shape))
    if op == "mean":
        _need_elements(op, shape, axes)
    left, divisor = _left(shape, axes, keepdim), 1.0
    if op == "mean":
        divisor = float(prod([shape[i] for i in axes]))
    runs: list[tuple[int, int]] = []
    for i in axes:
        if runs and runs[-1][1] == i:
            runs[-1] = (runs[-1][0], i + 1)
        else:
            runs.append((i, i + 1))
    records = []
    for a, b in runs[:0:-1]:
        smaller = (*shape[:a], *[1] * (b - a), *shape[b:])
        records.append(((smaller,), _span(shape, a, b), (1.0,)))
        shape = smaller
    a, b = runs[0] if runs else (0, 0)
    return (*records, ((left,), _span(shape, a, b), (divisor,)))
