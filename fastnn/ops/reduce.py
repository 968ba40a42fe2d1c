"""Ops that make axes into numbers: sums, means, extremes, variances, norms, orders.

``dim`` is an axis, a tuple of axes or None for all; ``axis=`` means the same, ``keepdims=`` the
same as ``keepdim=``. float32 tensors are reduced by kernels whose bits do not depend on the number
of threads; integers and booleans, which carry no gradient, mostly by NumPy.
"""

from __future__ import annotations

import builtins
from math import prod as _product
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from .._core import OPS, Tensor, add_method, as_dtype, as_tensor, call, view
from ..errors import DTypeError, ShapeError
from .checks import need_axis, need_float32
from .movement import permute

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "cumsum", "logsumexp", "max",
    "mean", "min", "norm", "prod", "std", "sum", "var", "var_mean",
]

SUM, SUM_INT, AMAX, AMIN = OPS["sum"], OPS["sum_int"], OPS["amax"], OPS["amin"]
MAX, MIN, VAR, NORM = OPS["max"], OPS["min"], OPS["var"], OPS["norm"]
LOGSUMEXP, PROD, CUMSUM = OPS["logsumexp"], OPS["prod"], OPS["cumsum"]
_F32, _I64 = as_dtype("float32"), as_dtype("int64")


class ValuesIndices(NamedTuple):
    """Values and where along the axis they stood."""

    values: Tensor
    indices: Tensor


# ---------------------------------------------------------------- geometry


def _axes(op: str, dim: Any, rank: int) -> list[int]:
    """The axes meant by dim, ascending."""
    if dim is None:
        return list(range(rank))
    if hasattr(dim, "__index__"):
        return [need_axis(op, dim, rank)] if rank else []
    axes = sorted(need_axis(op, d, rank) for d in dim)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{op}: dim: got {tuple(dim)}; need each axis at most once")
    return axes if axes and rank else list(range(rank))


def _kept(shape: tuple[int, ...], axes: list[int], keepdim: bool) -> tuple[int, ...]:
    """The shape that is left."""
    if keepdim:
        return tuple([1 if i in axes else s for i, s in enumerate(shape)])
    return tuple([s for i, s in enumerate(shape) if i not in axes])


def _span(shape: tuple[int, ...], a: int, b: int) -> tuple[int, int, int]:
    """(outer, n, inner) for the axes a to b."""
    return _product(shape[:a]), _product(shape[a:b]), _product(shape[b:])


def _gathered(x: Tensor, axes: list[int]) -> tuple[Tensor, tuple[int, int, int]]:
    """x with the reduced axes side by side, and its (outer, n, inner)."""
    shape = x.shape
    if not axes:
        return x, (x.numel(), 1, 1)
    a, b = axes[0], axes[-1] + 1
    if b - a != len(axes) and builtins.any(shape[i] != 1 for i in range(a, b) if i not in axes):
        x = permute(x, [i for i in range(len(shape)) if i not in axes] + axes)
        n = _product([shape[i] for i in axes])
        return x, (_product([s for i, s in enumerate(shape) if i not in axes]), n, 1)
    return x, _span(shape, a, b)


def _not_empty(op: str, x: Tensor, axes: list[int]) -> None:
    """Refuse the extreme or mean of nothing."""
    if x.numel() == 0 and builtins.any(x.shape[i] == 0 for i in axes):
        raise ShapeError(f"{op}: input: got shape {x.shape}; need elements along axis "
                         f"{next(i for i in axes if x.shape[i] == 0)}")


def _reduce(
    op: int, x: Tensor, axes: list[int], keepdim: bool, f: tuple[float, ...] = (), saved: int = 0,
    extra: int = 0,
) -> Tensor:
    """One record over the given axes; extra: dim[3]."""
    shape = _kept(x.shape, axes, keepdim)
    x, geometry = _gathered(x, axes)
    return call(op, (x,), (shape,) * (1 + saved), (*geometry, extra), f, saved)


# ---------------------------------------------------------------- sums


def sum(
    input: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None, *, axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    """The sum over axes; integers and booleans give int64. The sum of nothing is 0.

    Example:
        >>> import fastnn
        >>> fastnn.sum(fastnn.ones(2, 3), dim=1).tolist()
        [3.0, 3.0]
    """
    x = as_tensor(input)
    if dtype is not None:
        x = x.to(as_dtype(dtype))
    axes = _axes("sum", axis if dim is None else dim, x.ndim)
    return _sum(x, axes, keepdim or keepdims)


def _sum(x: Tensor, axes: list[int], keepdim: bool, divisor: float = 1.0) -> Tensor:
    """Sum over the axes / divisor, one run of adjacent axes after the other, the last first."""
    if x.dtype is not _F32:
        return _sum_int(x, axes, keepdim)
    shape = _kept(x.shape, axes, keepdim)
    runs = _runs(axes)
    for a, b in runs[:0:-1]:
        smaller = (*x.shape[:a], *[1] * (b - a), *x.shape[b:])
        x = call(SUM, (x,), (smaller,), _span(x.shape, a, b), (1.0,))
    return call(SUM, (x,), (shape,), _span(x.shape, *(runs[0] if runs else (0, 0))), (divisor,))


def _runs(axes: list[int]) -> list[tuple[int, int]]:
    """Ascending axes as half-open ranges."""
    runs: list[tuple[int, int]] = []
    for i in axes:
        if runs and runs[-1][1] == i:
            runs[-1] = (runs[-1][0], i + 1)
        else:
            runs.append((i, i + 1))
    return runs


def _sum_int(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    """The same for integers and booleans."""
    if x.dtype.is_floating_point:
        raise DTypeError(f"sum: input: got {x.dtype.name}; need float32 or integers: use .float()")
    shape = _kept(x.shape, axes, keepdim)
    if x.dtype.name not in ("bool", "uint8", "int64"):
        x = _core.tensor(_array("sum", x), _I64)
    x, geometry = _gathered(x, axes)
    return call(SUM_INT, (x,), (shape,), (*geometry, x.dtype.itemsize), (), 0, (_I64,))


def mean(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """The mean over axes.

    Errors: DTypeError for integers; ShapeError for the mean of nothing.

    Example:
        >>> import fastnn
        >>> fastnn.mean(fastnn.tensor([1.0, 2.0, 6.0])).item()
        3.0
    """
    x = as_tensor(input)
    need_float32("mean", input=x)
    axes = _axes("mean", axis if dim is None else dim, x.ndim)
    _not_empty("mean", x, axes)
    return _sum(x, axes, keepdim or keepdims, _product([x.shape[i] for i in axes]))


def cumsum(input: Any, dim: int | None = None, *, axis: int | None = None) -> Tensor:
    """Running sums along an axis.

    Example:
        >>> import fastnn
        >>> fastnn.cumsum(fastnn.tensor([1.0, 2.0, 3.0]), dim=0).tolist()
        [1.0, 3.0, 6.0]
    """
    x = as_tensor(input)
    d = need_axis("cumsum", axis if dim is None else dim, x.ndim)
    if x.dtype is not _F32:
        sums = np.cumsum(_array("cumsum", x), axis=d if x.ndim else None, dtype=np.int64)
        return _core.tensor(sums.reshape(x.shape))
    return call(CUMSUM, (x,), (x.shape,), _gathered(x, [d] if x.ndim else [])[1])


def prod(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """The product over axes. The product of nothing is 1.

    Example:
        >>> import fastnn
        >>> fastnn.prod(fastnn.tensor([2.0, 3.0])).item()
        6.0
    """
    x = as_tensor(input)
    axes = _axes("prod", axis if dim is None else dim, x.ndim)
    if x.dtype is not _F32:
        array = _array("prod", x)
        return _core.tensor(np.prod(array, tuple(axes), np.int64, keepdims=keepdim or keepdims))
    return _reduce(PROD, x, axes, keepdim or keepdims)


def logsumexp(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """log(sum(exp(x))) over axes, without overflow.

    Example:
        >>> import fastnn
        >>> round(fastnn.logsumexp(fastnn.tensor([1000.0, 1000.0]), 0).item(), 2)
        1000.69
    """
    x = as_tensor(input)
    need_float32("logsumexp", input=x)
    axes = _axes("logsumexp", axis if dim is None else dim, x.ndim)
    _not_empty("logsumexp", x, axes)
    return _reduce(LOGSUMEXP, x, axes, keepdim or keepdims, saved=1)


# ---------------------------------------------------------------- extremes


def _extremes(op: str, x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """amax or amin."""
    axes = _axes(op, dim, x.ndim)
    _not_empty(op, x, axes)
    if x.dtype is not _F32:
        reduce = np.max if op == "amax" else np.min
        return _core.tensor(reduce(_array(op, x), axis=tuple(axes), keepdims=keepdim), x.dtype)
    return _reduce(AMAX if op == "amax" else AMIN, x, axes, keepdim)


def amax(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """The largest values over axes; ties share the gradient evenly. NaN wins.

    Example:
        >>> import fastnn
        >>> fastnn.amax(fastnn.tensor([[1.0, 5.0], [7.0, 3.0]]), dim=(0, 1)).item()
        7.0
    """
    return _extremes("amax", as_tensor(input), axis if dim is None else dim, keepdim or keepdims)


def amin(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """The smallest values over axes; ties share the gradient evenly. NaN wins."""
    return _extremes("amin", as_tensor(input), axis if dim is None else dim, keepdim or keepdims)


def _with_indices(op: str, x: Tensor, dim: int, keepdim: bool) -> ValuesIndices:
    """max, min, argmax or argmin along one axis."""
    largest = op.endswith("max")
    d = need_axis(op, dim, x.ndim)
    axes = [d] if x.ndim else []
    _not_empty(op, x, axes)
    shape = _kept(x.shape, axes, keepdim)
    if x.dtype is not _F32:
        array = _array(op, x)
        pick = (np.argmax if largest else np.argmin)(array, axis=d if axes else None)
        values = array if not axes else np.take_along_axis(array, np.expand_dims(pick, d), d)
        return ValuesIndices(_core.tensor(values.reshape(shape), x.dtype),
                             _core.tensor(np.reshape(pick, shape)))
    _, (outer, n, inner) = _gathered(x, axes)
    if n >= 2**31:
        raise ShapeError(f"{op}: dim: got size {n}; need less than 2**31")
    out = call(MAX if largest else MIN, (x,), (shape, shape), (outer, n, inner), (), 0,
               (_F32, _I64))
    return ValuesIndices(*out)


def max(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Any:
    """The largest element, or (values, indices) along dim, or the larger elements of two tensors.

    NaN wins. Of equal elements along dim the first is named and gets the gradient; without dim they
    share it.

    Example:
        >>> import fastnn
        >>> fastnn.max(fastnn.tensor([[1.0, 5.0], [7.0, 3.0]]), dim=1).indices.tolist()
        [1, 0]
    """
    return _max_or_min("max", as_tensor(input), axis if dim is None else dim, keepdim or keepdims)


def min(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Any:
    """The smallest element, or (values, indices) along dim, or of two tensors; see ``max``."""
    return _max_or_min("min", as_tensor(input), axis if dim is None else dim, keepdim or keepdims)


def _max_or_min(op: str, x: Tensor, dim: Any, keepdim: bool) -> Any:
    if dim is None:
        return _extremes("a" + op, x, None, keepdim)
    if hasattr(dim, "__index__") and not isinstance(dim, Tensor):
        return _with_indices(op, x, dim, keepdim)
    from . import pointwise

    return (pointwise.maximum if op == "max" else pointwise.minimum)(x, dim)


def _arg(op: str, input: Any, dim: int | None, keepdim: bool) -> Tensor:
    x = as_tensor(input).detach()
    if dim is None:
        flat = _with_indices(op, view(x, (x.numel(),)), 0, False).indices
        return view(flat, (1,) * x.ndim if keepdim else ())
    return _with_indices(op, x, dim, keepdim).indices


def argmax(
    input: Any, dim: int | None = None, keepdim: bool = False, *, axis: int | None = None,
    keepdims: bool = False,
) -> Tensor:
    """Where the largest element is along dim, or in the flattened tensor; the first of equals.

    Example:
        >>> import fastnn
        >>> fastnn.argmax(fastnn.tensor([[1.0, 5.0], [7.0, 3.0]]), dim=1).tolist()
        [1, 0]
    """
    return _arg("argmax", input, axis if dim is None else dim, keepdim or keepdims)


def argmin(
    input: Any, dim: int | None = None, keepdim: bool = False, *, axis: int | None = None,
    keepdims: bool = False,
) -> Tensor:
    """Where the smallest element is along dim; see ``argmax``."""
    return _arg("argmin", input, axis if dim is None else dim, keepdim or keepdims)


# ---------------------------------------------------------------- spread and size


def _variance(
    op: str, x: Tensor, dim: Any, correction: float, keepdim: bool, root: bool
) -> tuple[Tensor, list[int]]:
    need_float32(op, input=x)
    axes = _axes(op, dim, x.ndim)
    _not_empty(op, x, axes)
    count = _product([x.shape[i] for i in axes])
    divisor = builtins.max(0.0, count - correction)
    return _reduce(VAR, x, axes, keepdim, (divisor,), 1, root), axes


def var(
    input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *,
    correction: float | None = None, axis: Any = None, keepdims: bool = False,
) -> Tensor:
    """The variance over axes: squared distances from the mean / (count - correction).

    correction defaults to 1, and to 0 with unbiased=False. One element with correction 1 gives NaN.
    The mean is taken first: a mean far larger than the spread costs no digits.

    Example:
        >>> import fastnn
        >>> fastnn.var(fastnn.tensor([1.0, 2.0, 3.0])).item()
        1.0
    """
    dim, unbiased = (None, dim) if isinstance(dim, bool) else (dim, unbiased)
    correction = int(unbiased) if correction is None else correction
    dim = axis if dim is None else dim
    return _variance("var", as_tensor(input), dim, correction, keepdim or keepdims, False)[0]


def std(
    input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *,
    correction: float | None = None, axis: Any = None, keepdims: bool = False,
) -> Tensor:
    """The standard deviation over axes, the root of ``var``; its gradient at 0 is 0.

    Example:
        >>> import fastnn
        >>> fastnn.std(fastnn.tensor([1.0, 2.0, 3.0])).item()
        1.0
    """
    dim, unbiased = (None, dim) if isinstance(dim, bool) else (dim, unbiased)
    correction = int(unbiased) if correction is None else correction
    dim = axis if dim is None else dim
    return _variance("std", as_tensor(input), dim, correction, keepdim or keepdims, True)[0]


def var_mean(
    input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Variance and mean over axes."""
    x = as_tensor(input)
    y = var(x, dim, unbiased, keepdim, correction=correction)
    return y, mean(x, None if isinstance(dim, bool) else dim, keepdim)


def norm(
    input: Any, p: Any = 2, dim: Any = None, keepdim: bool = False, *, axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    """The p-norm over axes, (sum |x|^p)^(1/p); p may be inf, -inf, or 0 (the number of nonzeros).

    The gradient of the 2-norm at 0 is 0.

    Example:
        >>> import fastnn
        >>> fastnn.norm(fastnn.tensor([3.0, 4.0])).item()
        5.0
    """
    x = as_tensor(input)
    need_float32("norm", input=x)
    dim, keepdim = axis if dim is None else dim, keepdim or keepdims
    if p in (2, "fro", None):
        return _reduce(NORM, x, _axes("norm", dim, x.ndim), keepdim)
    size = abs(x)
    if p == float("inf"):
        return amax(size, dim, keepdim)
    if p == -float("inf"):
        return amin(size, dim, keepdim)
    if p == 0:
        return sum((x != 0.0).float(), dim, keepdim)
    if p == 1:
        return sum(size, dim, keepdim)
    return sum(size**p, dim, keepdim) ** (1.0 / p)


# ---------------------------------------------------------------- by NumPy


def _array(op: str, x: Tensor) -> np.ndarray:
    """The elements of a tensor that carries no gradient."""
    if x.dtype.is_floating_point and x.dtype is not _F32:
        raise DTypeError(f"{op}: input: got {x.dtype.name}; need float32 or integers: use .float()")
    return np.asarray(memoryview(x.detach()))


def any(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """Whether any element is not 0 (NaN counts as not 0).

    Example:
        >>> import fastnn
        >>> fastnn.any(fastnn.tensor([0.0, 2.0])).item()
        True
    """
    x = as_tensor(input)
    axes = tuple(_axes("any", axis if dim is None else dim, x.ndim))
    return _core.tensor(np.any(_array("any", x), axis=axes, keepdims=keepdim or keepdims))


def all(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """Whether no element is 0.

    Example:
        >>> import fastnn
        >>> fastnn.all(fastnn.tensor([1.0, 2.0])).item()
        True
    """
    x = as_tensor(input)
    axes = tuple(_axes("all", axis if dim is None else dim, x.ndim))
    return _core.tensor(np.all(_array("all", x), axis=axes, keepdims=keepdim or keepdims))


def count_nonzero(input: Any, dim: Any = None) -> Tensor:
    """How many elements are not 0.

    Example:
        >>> import fastnn
        >>> fastnn.count_nonzero(fastnn.tensor([0.0, 2.0, -1.0])).item()
        2
    """
    x = as_tensor(input)
    axes = tuple(_axes("count_nonzero", dim, x.ndim))
    return _core.tensor(np.asarray(np.count_nonzero(_array("count_nonzero", x), axis=axes)))


for _name in __all__:
    add_method(_name, globals()[_name])
