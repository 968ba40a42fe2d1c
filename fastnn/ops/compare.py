"""Comparisons, logic, and choosing between tensors by a condition."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from .. import _core
from .._core import OPS, Tensor, add_method, all_float32, as_tensor, call, elements, pointwise
from ..errors import DTypeError, ShapeError
from .cast import (
    BOOL,
    F32,
    I64,
    all_int64,
    as_operand,
    cast,
    common_dtype,
    int_compare,
    integer,
    is_integer,
    kind,
    operand,
)
from .movement import expand
from .pointwise import abs, add, mul, sub

__all__ = [
    "allclose", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "eq", "equal", "ge",
    "gt", "isclose", "isfinite", "isinf", "isnan", "le", "logical_and", "logical_not",
    "logical_or", "logical_xor", "lt", "masked_fill", "ne", "where",
]


def _compare(op: int, name: str, a: Any, b: Any) -> Tensor:
    """A comparison of promoted operands."""
    if all_float32(a, b):
        return pointwise(op, a, b, (), BOOL)
    if not all_int64(a, b):
        a, b = operand(a), operand(b)
        if common_dtype(name, a, b) is F32:
            return pointwise(op, as_operand(a, F32), as_operand(b, F32), (), BOOL)
    return int_compare(name, a, b)


def _bits(name: str, a: Any, b: Any) -> Tensor:
    """A bitwise op on integers or booleans."""
    a, b = operand(a), operand(b)
    dtype = common_dtype("bitwise_" + name, a, b)
    if dtype is F32:
        raise DTypeError(f"bitwise_{name}: got float32; need integers or booleans")
    return integer(name, a, b, dtype)


# ---------------------------------------------------------------- comparisons


def eq(input: Any, other: Any) -> Tensor:
    """input == other, as booleans.

    Example:
        >>> import fastnn
        >>> fastnn.eq(fastnn.tensor([1.0, 2.0]), 2.0).tolist()
        [False, True]
    """
    return _compare(OPS["eq"], "eq", input, other)


def ne(input: Any, other: Any) -> Tensor:
    """input != other, as booleans.

    Example:
        >>> import fastnn
        >>> fastnn.ne(fastnn.tensor([1.0, 2.0]), 2.0).tolist()
        [True, False]
    """
    return _compare(OPS["ne"], "ne", input, other)


def lt(input: Any, other: Any) -> Tensor:
    """input < other, as booleans.

    Example:
        >>> import fastnn
        >>> fastnn.lt(fastnn.tensor([1.0, 2.0]), 2.0).tolist()
        [True, False]
    """
    return _compare(OPS["lt"], "lt", input, other)


def le(input: Any, other: Any) -> Tensor:
    """input <= other, as booleans.

    Example:
        >>> import fastnn
        >>> fastnn.le(fastnn.tensor([1.0, 2.0]), 1.0).tolist()
        [True, False]
    """
    return _compare(OPS["le"], "le", input, other)


def gt(input: Any, other: Any) -> Tensor:
    """input > other, as booleans.

    Example:
        >>> import fastnn
        >>> fastnn.gt(fastnn.tensor([1.0, 2.0]), 1.0).tolist()
        [False, True]
    """
    return _compare(OPS["gt"], "gt", input, other)


def ge(input: Any, other: Any) -> Tensor:
    """input >= other, as booleans.

    Example:
        >>> import fastnn
        >>> fastnn.ge(fastnn.tensor([1.0, 2.0]), 2.0).tolist()
        [False, True]
    """
    return _compare(OPS["ge"], "ge", input, other)


def logical_and(input: Any, other: Any) -> Tensor:
    """Whether both are not 0.

    Example:
        >>> import fastnn
        >>> fastnn.logical_and(fastnn.tensor([True, False]), fastnn.tensor([True, True])).tolist()
        [True, False]
    """
    return integer("and", ne(input, 0), ne(other, 0), BOOL)


def logical_or(input: Any, other: Any) -> Tensor:
    """Whether either is not 0.

    Example:
        >>> import fastnn
        >>> fastnn.logical_or(fastnn.tensor([True, False]), fastnn.tensor([True, True])).tolist()
        [True, True]
    """
    return integer("or", ne(input, 0), ne(other, 0), BOOL)


def logical_xor(input: Any, other: Any) -> Tensor:
    """Whether one of them is not 0.

    Example:
        >>> import fastnn
        >>> fastnn.logical_xor(fastnn.tensor([True, False]), fastnn.tensor([True, True])).tolist()
        [False, True]
    """
    return integer("xor", ne(input, 0), ne(other, 0), BOOL)


def logical_not(input: Any) -> Tensor:
    """Whether input is 0.

    Example:
        >>> import fastnn
        >>> fastnn.logical_not(fastnn.tensor([True, False])).tolist()
        [False, True]
    """
    return eq(input, 0)


def bitwise_and(input: Any, other: Any) -> Tensor:
    """input & other, of integers or booleans.

    Example:
        >>> import fastnn
        >>> fastnn.bitwise_and(fastnn.tensor([6]), fastnn.tensor([3])).tolist()
        [2]
    """
    return _bits("and", input, other)


def bitwise_or(input: Any, other: Any) -> Tensor:
    """input | other, of integers or booleans.

    Example:
        >>> import fastnn
        >>> fastnn.bitwise_or(fastnn.tensor([6]), fastnn.tensor([3])).tolist()
        [7]
    """
    return _bits("or", input, other)


def bitwise_xor(input: Any, other: Any) -> Tensor:
    """input ^ other, of integers or booleans.

    Example:
        >>> import fastnn
        >>> fastnn.bitwise_xor(fastnn.tensor([6]), fastnn.tensor([3])).tolist()
        [5]
    """
    return _bits("xor", input, other)


def bitwise_not(input: Any) -> Tensor:
    """~input, of integers or booleans.

    Example:
        >>> import fastnn
        >>> fastnn.bitwise_not(fastnn.tensor([True, False])).tolist()
        [False, True]
    """
    x = as_tensor(input)
    return logical_not(x) if x.dtype is BOOL else _bits("xor", x, -1)


def isnan(input: Any) -> Tensor:
    """Whether an element is NaN.

    Example:
        >>> import fastnn
        >>> fastnn.isnan(fastnn.tensor([1.0, float('nan')])).tolist()
        [False, True]
    """
    x = as_tensor(input)
    return ne(x, x)


def isinf(input: Any) -> Tensor:
    """Whether an element is infinite.

    Example:
        >>> import fastnn
        >>> fastnn.isinf(fastnn.tensor([1.0, float('inf')])).tolist()
        [False, True]
    """
    x = as_tensor(input)
    return ne(x, x) if is_integer(x) else eq(abs(x), inf)


def isfinite(input: Any) -> Tensor:
    """Whether an element is neither infinite nor NaN.

    Example:
        >>> import fastnn
        >>> fastnn.isfinite(fastnn.tensor([1.0, float('inf')])).tolist()
        [True, False]
    """
    x = as_tensor(input)
    return eq(x, x) if is_integer(x) else lt(abs(x), inf)


def isclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Whether |input - other| <= atol + rtol · |other|, element by element.

    Example:
        >>> import fastnn
        >>> fastnn.isclose(fastnn.tensor([1.0, 2.0]), fastnn.tensor([1.0, 2.1])).tolist()
        [True, False]
    """
    a, b = as_tensor(input).detach(), as_tensor(other).detach()
    if not all_float32(a, b):  # by NumPy in float64
        _core.untraceable("isclose")
        return as_tensor(np.isclose(elements(a), elements(b), rtol, atol, equal_nan))
    near = logical_and(le(abs(sub(a, b)), add(mul(abs(b), rtol), atol)), isfinite(b))
    same = logical_or(near, eq(a, b))
    return logical_or(same, logical_and(isnan(a), isnan(b))) if equal_nan else same


def allclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether isclose holds everywhere.

    Example:
        >>> import fastnn
        >>> fastnn.allclose(fastnn.tensor([1.0, 2.0]), fastnn.tensor([1.0, 2.1]))
        False
    """
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Any, other: Any) -> bool:
    """Whether two tensors have the same shape and the same elements.

    Example:
        >>> import fastnn
        >>> fastnn.equal(fastnn.tensor([1.0, 2.0]), fastnn.tensor([1.0, 2.0]))
        True
    """
    _core.untraceable("equal")
    return np.array_equal(elements(as_tensor(input)), elements(as_tensor(other)))


# ---------------------------------------------------------------- choosing


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """input where condition holds, other elsewhere; all three broadcast.

    A condition alone gives one tensor of indices for each axis, as ``nonzero(as_tuple=True)``.

    Errors: DTypeError where condition is not bool; ShapeError where the shapes do not broadcast.

    Example:
        >>> import fastnn
        >>> fastnn.where(fastnn.tensor([True, False]), fastnn.tensor([1.0, 2.0]), 0.0).tolist()
        [1.0, 0.0]
    """
    cond = as_tensor(condition)
    if input is None and other is None:
        return cond.nonzero(as_tuple=True)
    if cond.dtype is not BOOL:
        raise DTypeError(f"where: condition: got {cond.dtype.name}; need bool")
    a, b = operand(input), operand(other)
    dtype = common_dtype("where", a, b)
    compute = F32 if dtype is F32 else I64
    xs = [cond, as_operand(a, compute), as_operand(b, compute)]
    shape = _broadcast_shape("where", xs)
    axes = _merged_axes(shape, xs)
    if len(axes) > 4:  # more alternations than a record holds
        xs = [expand(x, shape) for x in xs]
        axes = _merged_axes(shape, xs)
    axes = [(1, 0, 0, 0)] * (4 - len(axes)) + axes
    dim = tuple([axis[j] for j in range(4) for axis in axes])
    op = OPS["where"] if dtype is F32 else OPS["int_where"]
    return cast(call(op, tuple(xs), (shape,), dim, (), 0, (compute,)), dtype)


def _broadcast_shape(op: str, xs: list[Tensor]) -> tuple[int, ...]:
    """The common shape of several tensors."""
    try:
        return np.broadcast_shapes(*[x.shape for x in xs])
    except ValueError:
        shapes = " and ".join(str(x.shape) for x in xs)
        raise ShapeError(f"{op}: shapes: got {shapes}; need equal sizes or 1, aligned at the "
                         "last axis") from None


def _merged_axes(shape: tuple[int, ...], xs: list[Tensor]) -> list[tuple[int, ...]]:
    """(size, stride of each operand) of the axes left when those that all walk alike are merged."""
    rank = len(shape)
    sizes = [(1,) * (rank - x.ndim) + x.shape for x in xs]
    steps = [1] * len(xs)
    axes: list[tuple[int, ...]] = []
    for i in range(rank - 1, -1, -1):
        n = shape[i]
        if n != 1:
            strides = tuple(0 if s[i] == 1 else step for s, step in zip(sizes, steps, strict=True))
            if axes and strides == tuple(axes[0][0] * s for s in axes[0][1:]):
                axes[0] = (axes[0][0] * n, *axes[0][1:])
            else:
                axes.insert(0, (n, *strides))
        steps = [step * s[i] for s, step in zip(sizes, steps, strict=True)]
    return axes


def masked_fill(input: Any, mask: Any, value: Any) -> Tensor:
    """value where mask holds, input elsewhere.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([1.0, 2.0])
        >>> fastnn.masked_fill(x, x > 1, 0.0).tolist()
        [1.0, 0.0]
    """
    x = as_tensor(input)
    y = where(mask, value, x)
    if kind(y.dtype) > kind(x.dtype):
        raise DTypeError(f"masked_fill: value: got {value!r}; need one that fits {x.dtype.name}")
    return y


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    _core.bind_operator(_name, globals()[_name], op=_name, dtype=BOOL)
for _name in ("and", "or", "xor"):
    _core.bind_operator(_name, globals()["bitwise_" + _name])
_core.bind(invert=bitwise_not)
for _name in __all__:
    add_method(_name, globals()[_name])
add_method("where", lambda input, condition, other: where(condition, input, other))
