"""Parts of tensors: slices and indices in brackets, ``split`` and its kin, rows by number.

A part that lies in one piece shares memory with the whole, every other is a copy. Indices are
checked before anything runs.
"""

from __future__ import annotations

from math import prod
from operator import index
from typing import Any

import numpy as np

from .. import _core
from .._core import OPS, Tensor, add_method, as_dtype, as_tensor, call, call_view, elements, view
from ..errors import DTypeError, IndexRangeError, ShapeError
from .cast import cast, int_compare
from .checks import need_axis, need_float32, need_index, need_int, need_shape
from .compare import lt, where
from .creation import arange, full
from .movement import clone, expand, permute
from .reduce import amax
from .walks import STRIDED, Basic, Plan, basic_plan, kept, read, slab, slab_plan

__all__ = [
    "chunk", "embedding", "gather", "index_select", "masked_select", "narrow", "nonzero", "one_hot",
    "scatter", "scatter_add", "select", "split", "take_along_dim", "unbind",
]

TAKE, GATHER = OPS["take"], OPS["gather"]
SCATTER, SCATTER_ADD, SCALED_ROWS = OPS["scatter"], OPS["scatter_add"], OPS["scaled_rows"]
_I64, _BOOL = as_dtype("int64"), as_dtype("bool")


# ---------------------------------------------------------------- index tensors


def _indices(op: str, name: str, index: Any) -> Tensor:
    """An int64 tensor of indices."""
    t = as_tensor(index)
    if t.dtype is _I64:
        return t
    if t.numel() == 0 and not isinstance(index, Tensor):  # an empty list says nothing of its dtype
        return _core.empty(t.shape, _I64)
    if t.dtype.is_floating_point or t.dtype.name == "bool":
        raise DTypeError(f"{op}: {name}: got {t.dtype.name}; need int64 or int32: use .long()")
    return cast(t, _I64)


def _counted_from_end(op: str, t: Tensor, n: int) -> Tensor:
    """Indices in -n .. n - 1 as indices in 0 .. n - 1."""
    if _core.first_outside(t, 0, n) < 0:
        return t
    need_index(op, "index", t, n, low=-n)
    return where(lt(t, 0), t + n, t)


def take(x: Tensor, axis: int, axes: int, t: Tensor, skip: int = -1) -> Tensor:
    """x with `axes` axes from `axis` on replaced by those of t, whose indices count them as one."""
    shape = x.shape
    before, after = shape[:axis], shape[axis + axes :]
    n = prod(shape[axis : axis + axes])
    dim = (prod(before), n, prod(after), t.numel(), x.dtype.itemsize, skip)
    return call(TAKE, (x, t), ((*before, *t.shape, *after),), dim, (), 0, (x.dtype,))


# ---------------------------------------------------------------- brackets


def _array_of(k: Any) -> Any:
    """An index that is not a number or slice: a Tensor of integers, or an array of booleans."""
    t = k if isinstance(k, Tensor) else np.asarray(k)
    if not isinstance(t, Tensor) and t.dtype.kind in "iubf":
        t = _core.empty(t.shape, _I64) if t.size == 0 and not hasattr(k, "dtype") else as_tensor(t)
    if not isinstance(t, Tensor) or t.dtype.is_floating_point or isinstance(k, bool):
        name = t.dtype.name if isinstance(t, Tensor) else t.dtype
        raise DTypeError(f"getitem: index: got {name}; need integers, or booleans "
                         "of the shape they mask")
    return elements(t) if t.dtype is _BOOL else t


def _items(shape: tuple[int, ...], key: Any) -> list[Any]:
    """The parts of a key with '...' written out: None, slice, int, Tensor of indices or
    mask, covering every axis."""
    items: list[Any] = []
    used, dots = 0, -1
    for k in key if isinstance(key, tuple) else (key,):
        if k is Ellipsis:
            if dots >= 0:
                raise IndexRangeError("getitem: key: got '...' twice; need it at most once")
            dots = len(items)
            continue
        if k is not None and not isinstance(k, slice):
            if isinstance(k, (Tensor, np.ndarray, list, tuple, range, bool)):
                k = _array_of(k)
                if k.ndim == 0 and isinstance(k, Tensor):
                    k = int(k)
            else:
                k = need_int("getitem", "index", k)
        used += k.ndim if isinstance(k, np.ndarray) else k is not None
        items.append(k)
    if used > len(shape):
        raise IndexRangeError(f"getitem: key: got {used} indices for shape {shape}; "
                              f"need at most {len(shape)}")
    at = len(items) if dots < 0 else dots
    return items[:at] + [slice(None)] * (len(shape) - used) + items[at:]


def key_plan(shape: tuple[int, ...], key: Any) -> tuple[Basic, list[tuple[int, Any]]]:
    """A key as a basic one and the index arrays that apply after it, each with its axis of what the
    basic key leaves."""
    basic: list[Any] = []
    picks: list[tuple[int, Any]] = []
    axis = left = 0
    for k in _items(shape, key):
        n = shape[axis] if axis < len(shape) else 0
        if k is None:
            basic.append(None)
            left += 1
            continue
        if isinstance(k, int):
            if not -n <= k < n:
                raise IndexRangeError(f"getitem: index: got {k} for axis {axis} of {shape}; "
                                      f"need {-n} to {n - 1}")
            basic.append(k % n)
        elif isinstance(k, slice):
            if k.step is not None and index(k.step) < 1:
                raise ShapeError(f"getitem: step: got {k.step}; need at least 1: use .flip({axis})")
            start, stop, stride = k.indices(n)
            basic.append((start, stride, len(range(start, stop, stride))))
            left += 1
        else:
            mask = isinstance(k, np.ndarray)
            if mask:
                _core.untraceable("getitem")
            if mask and k.shape != shape[axis : axis + k.ndim]:
                raise IndexRangeError(f"getitem: mask: got shape {k.shape}; "
                                      f"need {shape[axis : axis + k.ndim]}")
            for pick in np.nonzero(k) if mask else (k,):
                picks.append((left, pick))
                basic.append((0, 1, shape[len(basic) - basic.count(None)]))
                left += 1
            axis += k.ndim - 1 if mask else 0
        axis += 1
    return tuple(basic), picks


_NUMBER_OR_NONE = {int, type(None)}


def _plain(key: Any) -> Any:
    """A key of numbers, slices of numbers, None and '...' as something hashable; else None."""
    code: list[Any] = []
    for k in key if type(key) is tuple else (key,):
        if type(k) is slice:
            if not {type(k.start), type(k.stop), type(k.step)} <= _NUMBER_OR_NONE:
                return None
            code.append((k.start, k.stop, k.step))
        elif type(k) is int or k is None or k is Ellipsis:
            code.append(k)
        else:
            return None
    return tuple(code)


@kept
def _plain_plan(shape: tuple[int, ...], itemsize: int, code: Any) -> Plan:
    """The plan of what ``_plain`` made of a key."""
    key = tuple([slice(*k) if isinstance(k, tuple) else k for k in code])
    return basic_plan(shape, itemsize, key_plan(shape, key)[0])


def checked_picks(op: str, shape: tuple[int, ...], picks: list[tuple[int, Any]]) -> list[Tensor]:
    """The index arrays as tensors of indices from 0 on, inside their axes."""
    return [_counted_from_end(op, _indices(op, "index", p), shape[axis]) for axis, p in picks]


def _pick(x: Tensor, picks: list[tuple[int, Any]]) -> Tensor:
    """Index arrays on axes of x: their common shape replaces those axes, or comes first where other
    axes lie between them."""
    axes, checked = [axis for axis, _ in picks], checked_picks("getitem", x.shape, picks)
    if len(axes) == 1:
        return take(x, axes[0], 1, checked[0])
    if axes[-1] - axes[0] != len(axes) - 1:
        x = permute(x, axes + [i for i in range(x.ndim) if i not in axes])
        axes = list(range(len(axes)))
    try:
        np.broadcast_shapes(*[t.shape for t in checked])
    except ValueError:
        raise ShapeError(f"getitem: index: got shapes {[t.shape for t in checked]}; "
                         "need ones that broadcast") from None
    flat = checked[0]
    for t, n in zip(checked[1:], x.shape[axes[0] + 1 :], strict=False):
        flat = flat * n + t
    return take(x, axes[0], len(axes), flat)


def _getitem(x: Tensor, key: Any) -> Tensor:
    """x[key]"""
    shape = x.shape
    if type(key) is int and shape and -shape[0] <= key < shape[0]:
        n = prod(shape[1:])
        at = key % shape[0] * n
        return call_view(STRIDED, x, shape[1:], at,
                         (1, 1, 1, 1, 1, n, 0, 0, 0, 0, 0, 1, at, x.numel(), x.dtype.itemsize))
    if isinstance(key, Tensor) and key.dtype is _I64 and key.ndim and shape:
        return take(x, 0, 1, _counted_from_end("getitem", key, shape[0]))
    code = _plain(key)
    if code is not None:
        return read(x, _plain_plan(shape, x.dtype.itemsize, code))
    basic, picks = key_plan(shape, key)
    y = read(x, basic_plan(shape, x.dtype.itemsize, basic))
    return _pick(y, picks) if picks else y


# ---------------------------------------------------------------- parts


def _axis(op: str, shape: tuple[int, ...], dim: Any) -> tuple[int, int]:
    """An axis and its size; a tensor without axes has none."""
    if not shape:
        raise ShapeError(f"{op}: input: got a 0-dimensional tensor; need at least one axis")
    d = need_axis(op, dim, len(shape))
    return d, shape[d]


def narrow(input: Any, dim: int, start: int, length: int) -> Tensor:
    """`length` elements of an axis from start on; shares memory along the first axis.

    Example:
        >>> import fastnn
        >>> fastnn.arange(6).narrow(0, 2, 3).tolist()
        [2, 3, 4]
    """
    x = as_tensor(input)
    d, n = _axis("narrow", x.shape, dim)
    a, k = need_int("narrow", "start", start), need_int("narrow", "length", length)
    a = a + n if a < 0 else a
    if not 0 <= a <= a + k <= n:
        raise IndexRangeError(f"narrow: got {length} from {start} on; need a range inside 0 to {n}")
    return slab(x, d, a, k)


def select(input: Any, dim: int, index: int) -> Tensor:
    """One element of an axis, without the axis."""
    x = as_tensor(input)
    d, n = _axis("select", x.shape, dim)
    i = need_int("select", "index", index)
    if not -n <= i < n:
        raise IndexRangeError(f"select: index: got {i}; need {-n} to {n - 1}")
    return slab(x, d, i % n, 1, drop=True)


def split(input: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of an axis: of one size (the last may be smaller), or of the sizes given.

    Example:
        >>> import fastnn
        >>> [p.shape for p in fastnn.zeros(5, 2).split(2)]
        [(2, 2), (2, 2), (1, 2)]
    """
    x, size = as_tensor(input), split_size_or_sections
    if type(size) is not int:
        size = index(size) if hasattr(size, "__index__") else need_shape("split", (size,))
    return tuple([read(x, plan) for plan in _split_plan(x.shape, x.dtype.itemsize, size, dim)])


@kept
def _split_plan(
    shape: tuple[int, ...], itemsize: int, size: int | tuple[int, ...], dim: int
) -> tuple[Plan, ...]:
    """How to read each part of a split, of arguments yet unchecked."""
    d, n = _axis("split", shape, dim)
    if isinstance(size, int):
        if size < 1:
            raise ShapeError(f"split: split_size: got {size}; need at least 1")
        sizes = [min(size, n - i) for i in range(0, n, size)] or [0]
    else:
        sizes = list(size)
        if sum(sizes) != n:
            raise ShapeError(f"split: sections: got {sizes}; need a sum of {n}")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple([slab_plan(shape, itemsize, d, a, k, False)
                  for a, k in zip(starts, sizes, strict=True)])


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """An axis in at most `chunks` parts of equal size, but for the last."""
    x = as_tensor(input)
    (d, n), k = _axis("chunk", x.shape, dim), need_int("chunk", "chunks", chunks)
    if k < 1:
        raise ShapeError(f"chunk: chunks: got {k}; need at least 1")
    return split(x, max(1, -(-n // k)), d)


def unbind(input: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Every element of an axis, without the axis."""
    x = as_tensor(input)
    d, n = _axis("unbind", x.shape, dim)
    return tuple([slab(x, d, i, 1, drop=True) for i in range(n)])


# ---------------------------------------------------------------- rows and elements by number


def index_select(input: Any, dim: int, index: Any) -> Tensor:
    """The elements of an axis that a 1-d index names, in its order.

    Errors: IndexRangeError naming position and value.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([[1.0, 2.0, 3.0]])
        >>> fastnn.index_select(x, 1, fastnn.tensor([2, 0])).tolist()
        [[3.0, 1.0]]
    """
    x, t = as_tensor(input), _indices("index_select", "index", index)
    d, n = _axis("index_select", x.shape, dim)
    if t.ndim > 1:
        raise ShapeError(f"index_select: index: got shape {t.shape}; need one axis")
    need_index("index_select", "index", t, n)
    return take(x, d, 1, view(t, (t.numel(),)))


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """The rows of weight that input names; the row padding_idx gets no gradient.

    Shapes: input (...) of int64 or int32, weight (n, size) -> (..., size).

    Errors: IndexRangeError naming position and value.

    Example:
        >>> import fastnn.nn.functional as F, fastnn
        >>> F.embedding(fastnn.tensor([0, 2]), fastnn.eye(3)).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    t, w = _indices("embedding", "input", input), as_tensor(weight)
    if w.ndim != 2:
        raise ShapeError(f"embedding: weight: got shape {w.shape}; need (rows, size)")
    n = w.shape[0]
    need_index("embedding", "input", t, n)
    if padding_idx is None:
        return take(w, 0, 1, t)
    if not -n <= padding_idx < n:
        raise IndexRangeError(f"embedding: padding_idx: got {padding_idx}; need {-n} to {n - 1}")
    return take(w, 0, 1, t, padding_idx % n)


def scaled_rows(x: Tensor, rows: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(x[rows] - mean) / std in float32 and one pass, for fastnn.data, which checks all of them.

    x: (n, ...) of uint8 or float32; mean, std: one value for each of equal parts of a row.
    """
    shape = x.shape
    inner, m = prod(shape[1:]), rows.numel()
    dim = (m, shape[0], inner, inner // max(1, mean.numel()) or 1, x.dtype.itemsize)
    return call(SCALED_ROWS, (x, rows, mean, std), ((m, *shape[1:]),), dim)


def gather(input: Any, dim: int, index: Any) -> Tensor:
    """Elements along dim: for dim = 1, y[i][j] = x[i][index[i][j]].

    The index has as many axes as the input, and is no larger in the others than dim.

    Errors: IndexRangeError naming position and value.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> fastnn.gather(x, 1, fastnn.tensor([[1], [0]])).tolist()
        [[2.0], [3.0]]
    """
    x, t = as_tensor(input), _indices("gather", "index", index)
    d, n = _axis("gather", x.shape, dim)
    x = _cut_to("gather", x, t, d)
    need_index("gather", "index", t, n)
    dims = (prod(x.shape[:d]), n, prod(x.shape[d + 1 :]), t.shape[d], x.dtype.itemsize)
    return call(GATHER, (x, t), (t.shape,), dims, (), 0, (x.dtype,))


def _cut_to(op: str, x: Tensor, t: Tensor, d: int) -> Tensor:
    """x with no more elements than t along every axis but d."""
    if x.ndim != t.ndim or any(a > b for i, (a, b) in enumerate(zip(t.shape, x.shape, strict=True))
                               if i != d):
        raise ShapeError(f"{op}: index: got shape {t.shape} for {x.shape}; need as many axes, and "
                         f"sizes no larger but for axis {d}")
    for i in range(x.ndim):
        if i != d and t.shape[i] != x.shape[i]:
            x = slab(x, i, 0, t.shape[i])
    return x


def take_along_dim(input: Any, indices: Any, dim: int) -> Tensor:
    """As ``gather``, for an index that broadcasts against the input in the other axes.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([[3.0, 1.0, 2.0]])
        >>> fastnn.take_along_dim(x, fastnn.tensor([[1, 2, 0]]), 1).tolist()
        [[1.0, 2.0, 3.0]]
    """
    x, t = as_tensor(input), _indices("take_along_dim", "indices", indices)
    d, n = _axis("take_along_dim", x.shape, dim)
    if t.ndim != x.ndim:
        raise ShapeError(f"take_along_dim: indices: got shape {t.shape}; need {x.ndim} axes")
    sizes = [max(a, b) if a * b else 0 for a, b in zip(x.shape, t.shape, strict=True)]
    wide = expand(x, [n if i == d else s for i, s in enumerate(sizes)])
    return gather(wide, d, expand(t, [t.shape[d] if i == d else s for i, s in enumerate(sizes)]))


def scatter(
    input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None,
    reduce: str | None = None,
) -> Tensor:
    """input with src put where index says: for dim = 1, y[i][index[i][j]] = src[i][j].

    src is a tensor of the input's dtype, no smaller than index, or a number (also as value=). Of
    several for one place the last wins, but each gets its gradient. reduce="add" is scatter_add.

    Errors: IndexRangeError naming position and value.

    Example:
        >>> import fastnn
        >>> fastnn.zeros(3).scatter(0, fastnn.tensor([2, 0]), 5.0).tolist()
        [5.0, 0.0, 5.0]
    """
    if reduce not in (None, "add"):
        raise ValueError(f"scatter: reduce: got {reduce!r}; need None or 'add'")
    src = value if src is None else src
    return _scattered("scatter" if reduce is None else "scatter_add", input, dim, index, src)


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """input with src added in where index says: for dim = 1, y[i][index[i][j]] += src[i][j].

    Sums are made in the order of src, which is no smaller than index.

    Errors: IndexRangeError naming position and value.

    Example:
        >>> import fastnn
        >>> fastnn.zeros(3).scatter_add(0, fastnn.tensor([2, 2]), fastnn.ones(2)).tolist()
        [0.0, 0.0, 2.0]
    """
    return _scattered("scatter_add", input, dim, index, src)


def _scattered(op: str, input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """Either of them."""
    x, t = as_tensor(input), _indices(op, "index", index)
    d, n = _axis(op, x.shape, dim)
    part = _cut_to(op, x, t, d)
    if isinstance(src, (int, float)):
        v = full(t.shape, src, x.dtype)
    else:
        v = as_tensor(src)
        v = _source(op, v, t.shape) if v.ndim else expand(v, t.shape)
    if v.dtype is not x.dtype:
        raise DTypeError(f"{op}: src: got {v.dtype.name}; need {x.dtype.name}, as the input")
    need_index(op, "index", t, n)
    dims = (prod(part.shape[:d]), n, prod(part.shape[d + 1 :]), t.shape[d])
    if op == "scatter":
        y = call(SCATTER, (part, t, v), (part.shape, part.shape), (*dims, x.dtype.itemsize), (), 1,
                 (x.dtype, _BOOL))
    else:
        need_float32(op, input=x)
        y = call(SCATTER_ADD, (part, t, v), (part.shape,), dims)
    if part is x:
        return y
    whole = clone(x)
    whole[tuple([slice(k) for k in part.shape])] = y
    return whole


def _source(op: str, v: Tensor, shape: tuple[int, ...]) -> Tensor:
    """As much of v as an index has elements for."""
    if v.ndim != len(shape) or any(a < b for a, b in zip(v.shape, shape, strict=True)):
        raise ShapeError(f"{op}: src: got shape {v.shape}; need one no smaller than the index's "
                         f"{shape}")
    for i, k in enumerate(shape):
        v = v if v.shape[i] == k else slab(v, i, 0, k)
    return v


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """Rows with a 1 at the class and 0 elsewhere, int64; -1 = as many classes as the data shows.

    Example:
        >>> import fastnn.nn.functional as F, fastnn
        >>> F.one_hot(fastnn.tensor([1, 0]), 3).tolist()
        [[0, 1, 0], [1, 0, 0]]
    """
    t = _indices("one_hot", "tensor", tensor)
    n = need_int("one_hot", "num_classes", num_classes)
    if n < 0:
        if not t.numel():
            raise ShapeError("one_hot: tensor: got no elements; need num_classes")
        n = int(amax(t).item()) + 1
    need_index("one_hot", "tensor", t, n)
    return cast(int_compare("eq", view(t, (*t.shape, 1)), arange(n)), _I64)


def nonzero(input: Any, as_tuple: bool = False) -> Any:
    """Where elements are not 0: one row of indices each, or (as_tuple) one tensor for each axis.

    Example:
        >>> import fastnn
        >>> fastnn.nonzero(fastnn.tensor([0.0, 3.0, 4.0])).tolist()
        [[1], [2]]
    """
    x = as_tensor(input).detach()
    _core.untraceable("nonzero")
    found = np.nonzero(np.atleast_1d(x)) if x.ndim or as_tuple else (np.zeros((int(bool(x)), 0)),)
    if as_tuple:
        return tuple([_core.tensor(a) for a in found])
    return _core.tensor(np.stack(found, 1) if x.ndim else found[0], _I64)


def masked_select(input: Any, mask: Any) -> Tensor:
    """The elements where mask is true, as one axis.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([1.0, 2.0, 3.0])
        >>> fastnn.masked_select(x, x > 1.5).tolist()
        [2.0, 3.0]
    """
    x, m = as_tensor(input), as_tensor(mask)
    return _getitem(x if x.shape == m.shape else expand(x, m.shape), m)


for _name, _value in {
    "chunk": chunk, "gather": gather, "index_select": index_select,
    "masked_select": masked_select, "narrow": narrow, "nonzero": nonzero,
    "scatter": scatter, "scatter_add": scatter_add, "select": select, "split": split,
    "take_along_dim": take_along_dim, "unbind": unbind,
}.items():
    add_method(_name, _value)
_core.bind(getitem=_getitem)
