"""Ops that make axes into numbers: sums, means, extremes, variances, norms, orders.

``dim`` is an axis, a tuple of axes or None for all; ``axis=`` means the same, ``keepdims=`` the
same as ``keepdim=``. float32 tensors are reduced by kernels whose bits do not depend on the number
of threads; extremes, products and running sums of integers, which carry no gradient, by NumPy.
"""

from __future__ import annotations

import builtins
from operator import index
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from .._core import (
    OPS,
    Tensor,
    add_method,
    as_dtype,
    as_it_lies,
    as_tensor,
    call,
    elements,
    view,
)
from ..errors import DTypeError, ShapeError
from .axes import reduction, sums, which
from .cast import cast, int_compare
from .checks import need_axis, need_float32
from .movement import permute

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "cumsum", "logsumexp", "max",
    "mean", "min", "norm", "prod", "std", "sum", "var", "var_mean",
]

SUM, SUM_INT, AMAX, AMIN = OPS["sum"], OPS["sum_int"], OPS["amax"], OPS["amin"]
MAX, MIN, VAR, NORM = OPS["max"], OPS["min"], OPS["var"], OPS["norm"]
LOGSUMEXP, PROD, CUMSUM = OPS["logsumexp"], OPS["prod"], OPS["cumsum"]
_F32, _I64, _BOOL = as_dtype("float32"), as_dtype("int64"), as_dtype("bool")


class ValuesIndices(NamedTuple):
    """Values and where along the axis they stood."""

    values: Tensor
    indices: Tensor


def _reduce(
    op: int, name: str, x: Tensor, dim: Any, keepdim: bool, saved: int = 0, of_nothing: bool = False
) -> Tensor:
    """One record without constants."""
    _, order, shape, geometry, _ = reduction(name, x.shape, dim, keepdim, of_nothing)
    if order is not None:
        x = permute(x, order)
    return call(op, (x,), (shape,) * (1 + saved), geometry, (), saved)


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
    if x.dtype is not _F32:
        return _sum_int(x, which("sum", dim, axis), keepdim or keepdims)
    axes = which("sum", dim, axis)
    if axes is None:
        x = as_it_lies(x)
    for shapes, geometry, f in sums("sum", x.shape, axes, keepdim or keepdims):
        x = call(SUM, (x,), shapes, geometry, f)
    return x


def _sum_int(x: Tensor, dim: Any, keepdim: bool, op: str = "sum") -> Tensor:
    """The sum of integers or booleans."""
    if x.dtype.is_floating_point:
        raise DTypeError(f"{op}: input: got {x.dtype.name}; need float32 or integers: use .float()")
    if x.dtype.name not in ("bool", "uint8", "int64"):
        x = x.to(_I64)
    _, order, shape, geometry, _ = reduction(op, x.shape, dim, keepdim, True)
    if order is not None:
        x = permute(x, order)
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
    if x.dtype is not _F32:
        need_float32("mean", input=x)
    axes = which("mean", dim, axis)
    if axes is None:
        x = as_it_lies(x)
    for shapes, geometry, f in sums("mean", x.shape, axes, keepdim or keepdims):
        x = call(SUM, (x,), shapes, geometry, f)
    return x


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
        y = np.cumsum(_array("cumsum", x), axis=d if x.ndim else None, dtype=np.int64)
        return _core.tensor(y.reshape(x.shape))
    return call(CUMSUM, (x,), (x.shape,), reduction("cumsum", x.shape, d, True, True).geometry)


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
    dim, keepdim = which("prod", dim, axis), keepdim or keepdims
    if x.dtype is not _F32:
        axes = reduction("prod", x.shape, dim, keepdim, True).axes
        return _core.tensor(np.prod(_array("prod", x), axes, np.int64, keepdims=keepdim))
    return _reduce(PROD, "prod", x, dim, keepdim, of_nothing=True)


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
    if x.dtype is not _F32:
        need_float32("logsumexp", input=x)
    dim = which("logsumexp", dim, axis)
    return _reduce(LOGSUMEXP, "logsumexp", x, dim, keepdim or keepdims, saved=1)


# ---------------------------------------------------------------- extremes


def _extremes(op: str, x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """amax or amin."""
    if x.dtype is not _F32:
        axes = reduction(op, x.shape, dim, keepdim).axes
        reduce = np.max if op.endswith("max") else np.min
        return _core.tensor(reduce(_array(op, x), axis=axes, keepdims=keepdim), x.dtype)
    return _reduce(AMAX if op.endswith("max") else AMIN, op, x, dim, keepdim)


def amax(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """The largest values over axes; ties share the gradient evenly. NaN wins.

    Example:
        >>> import fastnn
        >>> fastnn.amax(fastnn.tensor([[1.0, 5.0], [7.0, 3.0]]), dim=(0, 1)).item()
        7.0
    """
    return _extremes("amax", as_tensor(input), which("amax", dim, axis), keepdim or keepdims)


def amin(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """The smallest values over axes; ties share the gradient evenly. NaN wins."""
    return _extremes("amin", as_tensor(input), which("amin", dim, axis), keepdim or keepdims)


def _with_indices(op: str, x: Tensor, dim: int, keepdim: bool) -> ValuesIndices:
    """max, min, argmax or argmin along one axis."""
    largest = op.endswith("max")
    axes, _, shape, geometry, n = reduction(op, x.shape, index(dim), keepdim)
    if x.dtype is _F32:
        if n >= 2**31:
            raise ShapeError(f"{op}: dim: got size {n}; need less than 2**31")
        return ValuesIndices(*call(MAX if largest else MIN, (x,), (shape, shape), geometry, (), 0,
                                   (_F32, _I64)))
    array = _array(op, x)
    if not axes:
        return ValuesIndices(_core.tensor(array, x.dtype), _core.tensor(0))
    pick = np.expand_dims((np.argmax if largest else np.argmin)(array, axis=axes[0]), axes[0])
    values = np.take_along_axis(array, pick, axes[0])
    return ValuesIndices(_core.tensor(values.reshape(shape), x.dtype),
                         _core.tensor(pick.reshape(shape)))


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
        return _extremes(op, x, None, keepdim)
    if hasattr(dim, "__index__") and not isinstance(dim, Tensor):
        return _with_indices(op, x, dim, keepdim)
    if isinstance(dim, (tuple, list)):  # would be the elements of another tensor
        raise TypeError(f"{op}: dim: got {dim!r}; need one axis: use a{op} for several")
    from . import pointwise

    return (pointwise.maximum if op == "max" else pointwise.minimum)(x, dim)


def _arg(op: str, input: Any, dim: int | None, keepdim: bool) -> Tensor:
    x = as_tensor(input)
    if x.requires_grad:
        x = x.detach()
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
    op: str, input: Any, dim: Any, unbiased: bool, correction: float | None, keepdim: bool
) -> Tensor:
    """var, or its root where op is "std"; as in torch, the first argument after input may be
    `unbiased`."""
    x = as_tensor(input)
    if x.dtype is not _F32:
        need_float32(op, input=x)
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    _, order, shape, geometry, n = reduction(op, x.shape, dim, keepdim)
    divisor = builtins.max(0.0, n - (int(unbiased) if correction is None else correction))
    if order is not None:
        x = permute(x, order)
    return call(VAR, (x,), (shape, shape), (*geometry, op == "std"), (divisor,), 1)


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
    dim = dim if isinstance(dim, bool) else which("var", dim, axis)
    return _variance("var", input, dim, unbiased, correction, keepdim or keepdims)


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
    dim = dim if isinstance(dim, bool) else which("std", dim, axis)
    return _variance("std", input, dim, unbiased, correction, keepdim or keepdims)


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
    if x.dtype is not _F32:
        need_float32("norm", input=x)
    dim, keepdim = which("norm", dim, axis), keepdim or keepdims
    if p in (2, "fro", None):
        return _reduce(NORM, "norm", x, dim, keepdim, of_nothing=True)
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


# ---------------------------------------------------------------- truth


def _count(op: str, x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """How many elements are not 0 (NaN is not)."""
    return _sum_int(cast(x.detach(), _BOOL), dim, keepdim, op)


def any(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """Whether any element is not 0 (NaN counts as not 0); over no axes, dim=(), of each element.

    Example:
        >>> import fastnn
        >>> fastnn.any(fastnn.tensor([0.0, 2.0])).item()
        True
    """
    x, dim = as_tensor(input), which("any", dim, axis)
    return cast(x.detach() if dim == () else _count("any", x, dim, keepdim or keepdims), _BOOL)


def all(
    input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """Whether no element is 0; over no axes, dim=(), of each element.

    Example:
        >>> import fastnn
        >>> fastnn.all(fastnn.tensor([1.0, 2.0])).item()
        True
    """
    x, dim = as_tensor(input), which("all", dim, axis)
    if dim == ():
        return cast(x.detach(), _BOOL)
    size = reduction("all", x.shape, dim, keepdim, True).size
    return int_compare("eq", _count("all", x, dim, keepdim or keepdims), size)


def count_nonzero(input: Any, dim: Any = None) -> Tensor:
    """How many elements are not 0.

    Example:
        >>> import fastnn
        >>> fastnn.count_nonzero(fastnn.tensor([0.0, 2.0, -1.0])).item()
        2
    """
    return _count("count_nonzero", as_tensor(input), which("count_nonzero", dim), False)


# ---------------------------------------------------------------- by NumPy


def _array(op: str, x: Tensor) -> np.ndarray:
    """The elements of a tensor of integers, for what has no kernel."""
    _core.untraceable(op)
    if x.dtype.is_floating_point:
        raise DTypeError(f"{op}: input: got {x.dtype.name}; need float32 or integers: use .float()")
    return elements(x)


for _name in __all__:
    add_method(_name, globals()[_name])
