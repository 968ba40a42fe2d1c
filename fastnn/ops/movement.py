"""Ops that move elements without computing: shapes, axes, broadcasting, joining and splitting."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from .. import _core
from .._core import (
    OPS,
    Tensor,
    add_method,
    as_tensor,
    call,
    channels_last,
    from_channels_last,
    is_channels_last,
    view,
)
from ..errors import ShapeError
from .cast import as_operand, common_dtype
from .checks import need_axis, need_int, need_shape
from .walks import clone_plan, flip_plan, kept, permute_plan, read, slab

__all__ = [
    "broadcast_to", "cat", "clone", "concat", "concatenate", "contiguous", "flatten", "flip",
    "movedim", "permute", "repeat_interleave", "reshape", "roll", "squeeze", "stack", "swapaxes",
    "t", "tile", "transpose", "tril", "triu", "unflatten", "unsqueeze",
]

EXPAND, CAT, BAND, TURN = OPS["expand"], OPS["cat"], OPS["band"], OPS["turn"]
_F32 = _core.DTYPES["float32"]
_CAT_INPUTS = 11  # of a cat record


def clone(input: Any) -> Tensor:
    """A copy in memory of its own; gradients flow through.

    Example:
        >>> import fastnn
        >>> fastnn.clone(fastnn.tensor([1.0, 2.0])).tolist()
        [1.0, 2.0]
    """
    x = as_tensor(input)
    return read(x, clone_plan(x.shape, x.dtype.itemsize))


def contiguous(input: Any) -> Tensor:
    """The tensor itself: fastnn tensors are always C-contiguous."""
    return as_tensor(input)


# ---------------------------------------------------------------- order of axes


def permute(input: Any, *dims: Any) -> Tensor:
    """The axes in another order: axis i of the result is axis dims[i] of the input.

    Errors: ShapeError where dims does not name every axis once.

    Example:
        >>> import fastnn
        >>> fastnn.zeros(2, 3, 4).permute(2, 0, 1).shape
        (4, 2, 3)
    """
    x = as_tensor(input)
    if len(dims) == 1 and not hasattr(dims[0], "__index__"):
        dims = tuple(dims[0])
    return _permute(x, _order(x.ndim, dims))


@kept
def _order(rank: int, dims: tuple[Any, ...]) -> tuple[int, ...]:
    """Axis numbers, each once."""
    order = [need_axis("permute", d, rank) for d in dims]
    if sorted(order) != list(range(rank)):
        raise ShapeError(f"permute: dims: got {dims}; need each of the {rank} axes once")
    return tuple(order)


def _permute(x: Tensor, order: tuple[int, ...]) -> Tensor:
    """permute by a checked order."""
    rank = len(order)
    if rank > 1 and order[-1] == rank - 2 and order[:-2] == tuple(range(rank - 2)):
        return _core.lazy_transpose(x)
    return read(x, permute_plan(x.shape, x.dtype.itemsize, order))


def _permute_copy(x: Tensor, order: tuple[int, ...]) -> Tensor:
    """permute in memory."""
    if x.dtype is _F32 and len(order) > 2:
        shape, rank = x.shape, len(order)
        if order == (0, *range(2, rank), 1):                    # channels go last
            return call(TURN, (x,), ((shape[0], *shape[2:], shape[1]),),
                        (shape[0], shape[1], prod(shape[2:])))
        if order == (0, rank - 1, *range(1, rank - 1)):         # channels come back
            return call(TURN, (x,), ((shape[0], shape[-1], *shape[1:-1]),),
                        (shape[0], prod(shape[1:-1]), shape[-1]))
    return read(x, permute_plan(x.shape, x.dtype.itemsize, order))


def transpose(input: Any, dim0: int, dim1: int) -> Tensor:
    """Two axes swapped.  Swapping the last two costs nothing until something but matmul reads it.

    Example:
        >>> import fastnn
        >>> fastnn.zeros(2, 3, 4).transpose(0, 2).shape
        (4, 3, 2)
    """
    x = as_tensor(input)
    rank = x.ndim
    a, b = need_axis("transpose", dim0, rank), need_axis("transpose", dim1, rank)
    if a == b:
        return x
    if a + b == 2 * rank - 3:  # only the last two axes add up to this
        return _core.lazy_transpose(x)
    order = list(range(rank))
    order[a], order[b] = b, a
    return _permute(x, tuple(order))


swapaxes = transpose


def movedim(input: Any, source: Any, destination: Any) -> Tensor:
    """Axes moved to other places, the rest in their old order.

    Example:
        >>> import fastnn
        >>> fastnn.zeros(2, 3, 4).movedim(0, -1).shape
        (3, 4, 2)
    """
    x = as_tensor(input)
    a = [source] if hasattr(source, "__index__") else list(source)
    b = [destination] if hasattr(destination, "__index__") else list(destination)
    a, b = ([need_axis("movedim", d, x.ndim) for d in axes] for axes in (a, b))
    if len(a) != len(b) or len(set(a)) != len(a) or len(set(b)) != len(b):
        raise ShapeError(f"movedim: got {source} to {destination}; need as many places as axes")
    order = [i for i in range(x.ndim) if i not in a]
    for place, axis in sorted(zip(b, a, strict=True)):
        order.insert(place, axis)
    return _permute(x, tuple(order))


def t(input: Any) -> Tensor:
    """The transpose of a matrix; tensors of fewer axes as they are."""
    x = as_tensor(input)
    if x.ndim > 2:
        raise ShapeError(f"t: input: got shape {x.shape}; need at most 2 axes: use .mT")
    return _core.lazy_transpose(x) if x.ndim == 2 else x


def _big_t(x: Tensor) -> Tensor:
    """All axes in reverse order."""
    return _permute(x, tuple(range(x.ndim))[::-1])


def _matrix_t(x: Tensor) -> Tensor:
    """The last two axes swapped."""
    if x.ndim < 2:
        raise ShapeError(f"mT: input: got shape {x.shape}; need at least 2 axes")
    return _core.lazy_transpose(x)


# ---------------------------------------------------------------- shapes


def reshape(input: Any, *shape: Any) -> Tensor:
    """The same elements under another shape, in shared memory; one size may be -1.

    Errors: ShapeError naming both shapes where the number of elements differs.

    Example:
        >>> import fastnn
        >>> fastnn.zeros(2, 6).reshape(3, -1).shape
        (3, 4)
    """
    x = as_tensor(input)
    if len(shape) == 1 and not hasattr(shape[0], "__index__"):
        shape = tuple(shape[0])
    sizes = [need_int("reshape", "shape", s) for s in shape]
    if -1 in sizes:
        known = 1
        for s in sizes:
            known *= s if s != -1 else 1
        if known <= 0 or sizes.count(-1) > 1 or x.numel() % known:
            raise ShapeError(
                f"reshape: shape: got {tuple(shape)} for {x.shape}; need {x.numel()} elements, "
                "with at most one -1"
            )
        sizes[sizes.index(-1)] = x.numel() // known
    return view(x, sizes)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from start_dim to end_dim as one.

    Example:
        >>> import fastnn
        >>> fastnn.zeros(2, 3, 4).flatten(1).shape
        (2, 12)
    """
    x = as_tensor(input)
    shape = x.shape
    a = need_axis("flatten", start_dim, len(shape))
    b = need_axis("flatten", end_dim, len(shape))
    if a > b:
        raise ShapeError(f"flatten: dims: got {start_dim} to {end_dim}; need start before end")
    return view(x, (*shape[:a], prod(shape[a : b + 1]), *shape[b + 1 :]))


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several; one of their sizes may be -1.

    Example:
        >>> import fastnn
        >>> fastnn.zeros(2, 12).unflatten(1, (3, -1)).shape
        (2, 3, 4)
    """
    x = as_tensor(input)
    d = need_axis("unflatten", dim, x.ndim)
    shape, inner = x.shape, [need_int("unflatten", "sizes", s) for s in sizes]
    known = prod(s for s in inner if s != -1)
    if inner.count(-1) == 1 and known > 0:
        inner[inner.index(-1)] = shape[d] // known
    if -1 in inner or prod(inner) != shape[d]:
        raise ShapeError(
            f"unflatten: sizes: got {tuple(sizes)} for axis {d} of {shape}; "
            f"need a product of {shape[d]}"
        )
    return view(x, (*shape[:d], *inner, *shape[d + 1 :]))


def squeeze(input: Any, dim: int | Sequence[int] | None = None) -> Tensor:
    """Axes of size 1 left out: all of them, or those of dim that have size 1.

    Example:
        >>> import fastnn
        >>> fastnn.zeros(1, 3, 1).squeeze(0).shape
        (3, 1)
    """
    x = as_tensor(input)
    shape = x.shape
    if dim is None:
        return view(x, [s for s in shape if s != 1])
    dims = (dim,) if hasattr(dim, "__index__") else tuple(dim)
    gone = {need_axis("squeeze", d, len(shape)) for d in dims}
    return view(x, [s for i, s in enumerate(shape) if s != 1 or i not in gone])


def unsqueeze(input: Any, dim: int) -> Tensor:
    """A new axis of size 1 at dim.

    Example:
        >>> import fastnn
        >>> fastnn.zeros(3, 4).unsqueeze(-1).shape
        (3, 4, 1)
    """
    x = as_tensor(input)
    shape = list(x.shape)
    shape.insert(need_axis("unsqueeze", dim, len(shape) + 1), 1)
    return view(x, shape)


# ---------------------------------------------------------------- broadcasting


def expand(input: Any, *shape: Any) -> Tensor:
    """Axes of size 1, and new leading ones, repeated to a larger shape; -1 keeps a size.

    Errors: ShapeError naming both shapes.

    Example:
        >>> import fastnn
        >>> fastnn.ones(3, 1).expand(2, 3, 4).shape
        (2, 3, 4)
    """
    x = as_tensor(input)
    if len(shape) == 1 and not hasattr(shape[0], "__index__"):
        shape = tuple(shape[0])
    old = x.shape
    steps = _expand_plan(old, tuple(shape), x.dtype.itemsize)
    return _stretch(x, steps) if steps else x


def _stretch(x: Tensor, steps: tuple[Any, ...]) -> Tensor:
    """One record for each run of stretched axes."""
    for shapes, dim in steps:
        x = call(EXPAND, (x,), shapes, dim, (), 0, (x.dtype,))
    return x


@kept
def _expand_plan(old: tuple[int, ...], shape: tuple[Any, ...], itemsize: int) -> tuple[Any, ...]:
    """The records of an expand, of arguments yet unchecked."""
    new = len(shape) - len(old)
    to = tuple([old[i - new] if s == -1 and i >= new else need_int("expand", "shape", s)
                for i, s in enumerate(shape)])
    if to == old:
        return ()
    if new < 0 or any(s not in (1, z) for s, z in zip(old, to[new:], strict=True)):
        raise ShapeError(f"expand: shape: got {shape} for {old}; need sizes that differ only where "
                         "the input has size 1 or no axis")
    if min(to) < 0:
        raise ShapeError(f"expand: shape: got {shape} for {old}; need no negative size")
    return _stretch_steps((1,) * new + old, to, itemsize)


def _stretch_steps(
    old: tuple[int, ...], to: tuple[int, ...], itemsize: int
) -> tuple[tuple[tuple[tuple[int, ...]], tuple[int, ...]], ...]:
    """(output shapes, dim) of each record, innermost axes first: that repeats the least."""
    shape, end, steps = list(old), len(to), []
    while end > 0:
        if shape[end - 1] == to[end - 1]:
            end -= 1
            continue
        start = end
        while start > 0 and shape[start - 1] == 1:
            start -= 1
        shape[start:end] = to[start:end]
        dim = (prod(shape[:start]), prod(to[start:end]), prod(shape[end:]), itemsize)
        steps.append(((tuple(shape),), dim))
        end = start
    return tuple(steps) or (((to,), (1, 1, prod(to), itemsize)),)


def broadcast_to(input: Any, size: Any) -> Tensor:
    """The tensor repeated along axes of size 1 and new leading axes; see ``Tensor.expand``."""
    return expand(input, need_shape("broadcast_to", (size,)))


def repeat(input: Any, *repeats: Any) -> Tensor:
    """The tensor laid side by side `repeats` times along each axis; new axes come first.

    Example:
        >>> import fastnn
        >>> fastnn.tensor([1.0, 2.0]).repeat(2, 2).tolist()
        [[1.0, 2.0, 1.0, 2.0], [1.0, 2.0, 1.0, 2.0]]
    """
    x = as_tensor(input)
    times = need_shape("repeat", repeats)
    shape = (1,) * (len(times) - x.ndim) + x.shape
    if len(shape) != len(times):
        raise ShapeError(f"repeat: repeats: got {times} for {x.shape}; need one for each axis")
    old = tuple([n for s in shape for n in (1, s)])
    to = tuple([n for k, s in zip(times, shape, strict=True) for n in (k, s)])
    y = _stretch(x, _stretch_steps(old, to, x.dtype.itemsize))
    return view(y, [k * s for k, s in zip(times, shape, strict=True)])


def tile(input: Any, *dims: Any) -> Tensor:
    """As ``repeat``; missing leading repeats are 1."""
    x = as_tensor(input)
    times = need_shape("tile", dims)
    return repeat(x, (1,) * (x.ndim - len(times)) + times)


def repeat_interleave(input: Any, repeats: int, dim: int | None = None) -> Tensor:
    """Each element `repeats` times in a row, along dim or in the flattened tensor.

    Example:
        >>> import fastnn
        >>> fastnn.tensor([1.0, 2.0]).repeat_interleave(2).tolist()
        [1.0, 1.0, 2.0, 2.0]
    """
    x = as_tensor(input)
    if dim is None:
        x, dim = view(x, (x.numel(),)), 0
    d = need_axis("repeat_interleave", dim, x.ndim)
    times = need_shape("repeat_interleave", (repeats,))
    shape = x.shape
    head, rest = shape[: d + 1], shape[d + 1 :]
    y = _stretch(x, _stretch_steps((*head, 1, *rest), (*head, *times, *rest), x.dtype.itemsize))
    return view(y, (*shape[:d], shape[d] * times[0], *rest))


# ---------------------------------------------------------------- joining


def _join(xs: list[Tensor], plan: tuple[Any, ...]) -> Tensor:
    """Tensors side by side: eleven to a record, the results again until one is left."""
    if len(xs) <= _CAT_INPUTS:
        (((shapes, dim),),) = plan
        return call(CAT, tuple(xs), shapes, dim, (), 0, (xs[0].dtype,))
    for level in plan:
        xs = [call(CAT, tuple(xs[i : i + _CAT_INPUTS]), shapes, dim, (), 0, (xs[0].dtype,))
              for i, (shapes, dim) in zip(range(0, len(xs), _CAT_INPUTS), level, strict=True)]
    return xs[0]


def _join_plan(
    before: tuple[int, ...], sizes: list[int], after: tuple[int, ...], itemsize: int
) -> tuple[Any, ...]:
    """(output shapes, dim) of every record on every level, for inputs (*before, size, *after)."""
    outer, inner = prod(before), prod(after)
    levels: list[tuple[Any, ...]] = []
    while len(sizes) > 1 or not levels:
        groups = [sizes[i : i + _CAT_INPUTS] for i in range(0, len(sizes), _CAT_INPUTS)]
        sizes = [sum(g) for g in groups]
        levels.append(tuple([(((*before, n, *after),), (outer, inner, n, itemsize, *g))
                             for n, g in zip(sizes, groups, strict=True)]))
    return tuple(levels)


def _same_dtype(op: str, tensors: Any) -> list[Tensor]:
    """The tensors to join, converted to the dtype they would compute in."""
    xs = [x if isinstance(x, Tensor) else as_tensor(x) for x in tensors]
    if not xs:
        raise ShapeError(f"{op}: tensors: got none; need at least one")
    dtype = xs[0].dtype
    for x in xs[1:]:
        if x.dtype is not dtype:
            common = common_dtype(op, *xs)
            return [as_operand(x, common) for x in xs]
    return xs


def cat(tensors: Any, dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Tensors joined along an existing axis; the other sizes must agree.

    Example:
        >>> import fastnn
        >>> fastnn.cat([fastnn.zeros(2, 3), fastnn.ones(1, 3)]).shape
        (3, 3)
    """
    xs = _same_dtype("cat", tensors)
    d = dim if axis is None else axis
    plan = _cat_plan(tuple([x.shape for x in xs]), d, xs[0].dtype.itemsize)
    if d == 1 and all(is_channels_last(x) for x in xs):     # images keep their order
        return from_channels_last(cat([channels_last(x) for x in xs], -1))
    return _join(xs, plan)


@kept
def _cat_plan(shapes: tuple[tuple[int, ...], ...], dim: int, itemsize: int) -> tuple[Any, ...]:
    shape = shapes[0]
    if not shape:
        raise ShapeError("cat: tensors: got 0-dimensional ones; need at least 1 axis: use stack")
    d = need_axis("cat", dim, len(shape))
    before, after = shape[:d], shape[d + 1 :]
    for s in shapes:
        if len(s) != len(shape) or s[:d] != before or s[d + 1 :] != after:
            raise ShapeError(f"cat: tensors: got shapes {shape} and {s}; need equal sizes but for "
                             f"axis {d}")
    return _join_plan(before, [s[d] for s in shapes], after, itemsize)


concat = concatenate = cat


def stack(tensors: Any, dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Tensors of one shape joined along a new axis.

    Example:
        >>> import fastnn
        >>> fastnn.stack([fastnn.zeros(3), fastnn.ones(3)], dim=1).shape
        (3, 2)
    """
    xs = _same_dtype("stack", tensors)
    shape, d = xs[0].shape, dim if axis is None else axis
    for x in xs:
        if x.shape != shape:
            raise ShapeError(f"stack: tensors: got shapes {shape} and {x.shape}; need equal ones")
    return _join(xs, _stack_plan(shape, len(xs), d, xs[0].dtype.itemsize))


@kept
def _stack_plan(shape: tuple[int, ...], count: int, dim: int, itemsize: int) -> tuple[Any, ...]:
    d = need_axis("stack", dim, len(shape) + 1)
    return _join_plan(shape[:d], [1] * count, shape[d:], itemsize)


# ---------------------------------------------------------------- mirrors and triangles


def flip(input: Any, *dims: Any) -> Tensor:
    """Axes in reverse.

    Example:
        >>> import fastnn
        >>> fastnn.flip(fastnn.arange(3), 0).tolist()
        [2, 1, 0]
    """
    x = as_tensor(input)
    if len(dims) == 1 and not hasattr(dims[0], "__index__"):
        dims = tuple(dims[0])
    for d in {need_axis("flip", d, x.ndim) for d in dims}:
        x = read(x, flip_plan(x.shape, x.dtype.itemsize, d))
    return x


def roll(input: Any, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved along axes, those that fall off the end coming back at the start.

    Example:
        >>> import fastnn
        >>> fastnn.roll(fastnn.arange(4), 1).tolist()
        [3, 0, 1, 2]
    """
    x = as_tensor(input)
    if dims is None:
        return view(roll(view(x, (x.numel(),)), shifts, 0), x.shape)
    shifts, dims = ((v,) if hasattr(v, "__index__") else tuple(v) for v in (shifts, dims))
    if len(shifts) != len(dims):
        raise ShapeError(f"roll: shifts: got {shifts} for dims {dims}; need one for each")
    for by, dim in zip(shifts, dims, strict=True):
        d = need_axis("roll", dim, x.ndim)
        n = x.shape[d] if x.ndim else 0
        cut = n - by % n if n else 0
        if 0 < cut < n:
            x = cat([slab(x, d, cut, n - cut), slab(x, d, 0, cut)], d)
    return x


def tril(input: Any, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices, 0 above; diagonal: how far above the main one it reaches.

    Example:
        >>> import fastnn
        >>> fastnn.tril(fastnn.ones(2, 2)).tolist()
        [[1.0, 0.0], [1.0, 1.0]]
    """
    x = as_tensor(input)
    return _band("tril", x, -(2**62), need_int("tril", "diagonal", diagonal))


def triu(input: Any, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices, 0 below; diagonal: how far above the main one it begins.

    Example:
        >>> import fastnn
        >>> fastnn.triu(fastnn.ones(2, 2)).tolist()
        [[1.0, 1.0], [0.0, 1.0]]
    """
    x = as_tensor(input)
    return _band("triu", x, need_int("triu", "diagonal", diagonal), 2**62)


def _band(op: str, x: Tensor, lo: int, hi: int) -> Tensor:
    if x.ndim < 2:
        raise ShapeError(f"{op}: input: got shape {x.shape}; need at least 2 axes")
    *batch, rows, cols = x.shape
    lo, hi = max(lo, -rows - 1), min(hi, cols + 1)
    lo, hi = min(lo, cols + 1), max(hi, -rows - 1)
    dim = (prod(batch), rows, cols, lo, hi, x.dtype.itemsize)
    return call(BAND, (x,), (x.shape,), dim, (), 0, (x.dtype,))


def _binary_shape(method: Any) -> Any:
    """The method that takes the shape of another tensor."""
    return lambda x, other: method(x, other.shape)


for _name, _value in {
    "T": property(_big_t), "broadcast_to": broadcast_to, "clone": clone, "contiguous": contiguous,
    "expand": expand, "expand_as": _binary_shape(expand), "flatten": flatten, "flip": flip,
    "mT": property(_matrix_t), "movedim": movedim, "permute": permute, "repeat": repeat,
    "repeat_interleave": repeat_interleave, "reshape": reshape,
    "reshape_as": _binary_shape(reshape), "roll": roll, "squeeze": squeeze,
    "swapaxes": swapaxes, "t": t, "tile": tile, "transpose": transpose, "tril": tril, "triu": triu,
    "unflatten": unflatten, "unsqueeze": unsqueeze, "view": reshape,
    "view_as": _binary_shape(reshape),
}.items():
    add_method(_name, _value)
_core.bind(clone=clone, expand=expand, permute_copy=_permute_copy)
