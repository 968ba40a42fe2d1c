"""Arithmetic and comparisons of elements, with broadcasting and torch's dtype promotion."""

from __future__ import annotations

from typing import Any

from .. import _core
from .._core import DTYPES, OPS, Tensor, add_method, all_float32, as_tensor, elementwise, pointwise
from ..errors import DTypeError

__all__ = [
    "abs", "add", "div", "eq", "exp", "ge", "gt", "le", "log", "lt", "maximum", "minimum", "mul",
    "ne", "neg", "pow", "sqrt", "square", "sub",
]

F32, I64, BOOL = DTYPES["float32"], DTYPES["int64"], DTYPES["bool"]

# ---------------------------------------------------------------- which dtype computes

_RANK = {"bool": 0, "uint8": 1, "int32": 2, "int64": 3, "float32": 4}
_NUMBERS = {bool: BOOL, int: I64, float: F32}


def _kind(dtype: Any) -> int:
    """0 bool, 1 integer, 2 float."""
    return (0, 1, 1, 1, 2)[_RANK[dtype.name]]


def result_type(op: str, *operands: Any) -> Any:
    """The dtype that operands compute in.

    Tensors with axes decide; 0-dimensional ones, and after them Python numbers, only where they
    are of a higher kind (bool < integer < float).
    """
    levels: list[Any] = [None, None, None]
    for x in operands:
        number = _NUMBERS.get(type(x))
        level, dtype = (2, number) if number else (not x.ndim, x.dtype)
        if dtype.name not in _RANK:
            raise DTypeError(f"{op}: got {dtype.name}; need float32 or an integer type: use .float()")
        best = levels[level]
        if best is None or _RANK[dtype.name] > _RANK[best.name]:
            levels[level] = dtype
    result = None
    for dtype in levels:
        if dtype is not None and (result is None or _kind(dtype) > _kind(result)):
            result = dtype
    return result


def _operand(x: Any) -> Any:
    """A tensor, or a Python number that adapts to the other operand."""
    return x if isinstance(x, Tensor) or type(x) in _NUMBERS else as_tensor(x)


def _promote(op: str, *operands: Any) -> tuple[Any, ...]:
    """The operands as tensors of the dtype they compute in."""
    xs = [_operand(x) for x in operands]
    dtype = result_type(op, *xs)
    return tuple([as_tensor(x, dtype) for x in xs])


def _arithmetic(op: int, name: str, a: Any, b: Any) -> Tensor:
    if not all_float32(a, b):
        a, b = _promote(name, a, b)
    return pointwise(op, a, b)


def _compare(op: int, name: str, a: Any, b: Any) -> Tensor:
    if not all_float32(a, b):
        a, b = _promote(name, a, b)
    return pointwise(op, a, b, (), BOOL)


# ---------------------------------------------------------------- two operands


def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input + alpha · other.

    Example:
        >>> import fastnn
        >>> fastnn.add(fastnn.tensor([1.0, 2.0]), 3.0).tolist()
        [4.0, 5.0]
    """
    return _arithmetic(OPS["add"], "add", input, other if alpha == 1 else mul(other, alpha))


def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input - alpha · other.

    Example:
        >>> import fastnn
        >>> fastnn.sub(fastnn.tensor([1.0, 2.0]), 3.0).tolist()
        [-2.0, -1.0]
    """
    return _arithmetic(OPS["sub"], "sub", input, other if alpha == 1 else mul(other, alpha))


def mul(input: Any, other: Any) -> Tensor:
    """input · other, element by element.

    Example:
        >>> import fastnn
        >>> fastnn.mul(fastnn.tensor([1.0, 2.0]), 3.0).tolist()
        [3.0, 6.0]
    """
    return _arithmetic(OPS["mul"], "mul", input, other)


def div(input: Any, other: Any) -> Tensor:
    """input / other.

    Example:
        >>> import fastnn
        >>> fastnn.div(fastnn.tensor([1.0, 3.0]), 2.0).tolist()
        [0.5, 1.5]
    """
    return _arithmetic(OPS["div"], "div", input, other)


def pow(input: Any, exponent: Any) -> Tensor:
    """input to the power exponent; NaN for a negative base and an exponent that is no integer.

    Example:
        >>> import fastnn
        >>> fastnn.pow(fastnn.tensor([1.0, 3.0]), 2).tolist()
        [1.0, 9.0]
    """
    return _arithmetic(OPS["pow"], "pow", input, exponent)


def maximum(input: Any, other: Any) -> Tensor:
    """The larger of two elements; NaN if either is. The gradient is shared where they are equal.

    Example:
        >>> import fastnn
        >>> fastnn.maximum(fastnn.tensor([1.0, 3.0]), fastnn.tensor([2.0, 2.0])).tolist()
        [2.0, 3.0]
    """
    return _arithmetic(OPS["maximum"], "maximum", input, other)


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of two elements; NaN if either is. The gradient is shared where they are equal.

    Example:
        >>> import fastnn
        >>> fastnn.minimum(fastnn.tensor([1.0, 3.0]), fastnn.tensor([2.0, 2.0])).tolist()
        [1.0, 2.0]
    """
    return _arithmetic(OPS["minimum"], "minimum", input, other)


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


# ---------------------------------------------------------------- one operand


def unary(op: int, name: str, x: Any, f: tuple[float, ...] = ()) -> Tensor:
    """A float32 function of each element; other dtypes are converted first."""
    if not all_float32(x):
        x = as_tensor(x).to(F32)
    return elementwise(op, x, f)


def neg(input: Any) -> Tensor:
    """-input.

    Example:
        >>> import fastnn
        >>> fastnn.neg(fastnn.tensor([1.0, -2.0])).tolist()
        [-1.0, 2.0]
    """
    return unary(OPS["neg"], "neg", input)


def abs(input: Any) -> Tensor:
    """The absolute value; its gradient at 0 is 0.

    Example:
        >>> import fastnn
        >>> fastnn.abs(fastnn.tensor([1.0, -2.0])).tolist()
        [1.0, 2.0]
    """
    return unary(OPS["abs"], "abs", input)


def exp(input: Any) -> Tensor:
    """e to the power of each element.

    Example:
        >>> import fastnn
        >>> fastnn.exp(fastnn.tensor([0.0])).tolist()
        [1.0]
    """
    return unary(OPS["exp"], "exp", input)


def log(input: Any) -> Tensor:
    """The natural logarithm; -inf at 0, NaN below.

    Example:
        >>> import fastnn
        >>> fastnn.log(fastnn.tensor([1.0])).tolist()
        [0.0]
    """
    return unary(OPS["log"], "log", input)


def sqrt(input: Any) -> Tensor:
    """The square root; NaN below 0.

    Example:
        >>> import fastnn
        >>> fastnn.sqrt(fastnn.tensor([4.0])).tolist()
        [2.0]
    """
    return unary(OPS["sqrt"], "sqrt", input)


def square(input: Any) -> Tensor:
    """input · input.

    Example:
        >>> import fastnn
        >>> fastnn.square(fastnn.tensor([3.0])).tolist()
        [9.0]
    """
    return unary(OPS["square"], "square", input)


# ---------------------------------------------------------------- operators and methods

for _name in ("add", "sub", "mul", "div", "pow"):
    _core.bind_operator(_name, globals()[_name], op=_name)
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    _core.bind_operator(_name, globals()[_name], op=_name, dtype=BOOL)
_core.bind(neg=neg, abs=abs)
for _name in __all__:
    add_method(_name, globals()[_name])
