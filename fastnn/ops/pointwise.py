"""Arithmetic and elementary functions, with broadcasting and torch's dtype promotion."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from .. import _core
from .._core import (
    OPS,
    Tensor,
    add_method,
    all_float32,
    as_tensor,
    elements,
    elementwise,
    elementwise_into,
    pointwise,
)
from ..errors import DTypeError
from .cast import (
    BOOL,
    F32,
    I64,
    all_int64,
    as_operand,
    cast,
    common_dtype,
    integer,
    is_integer,
    operand,
)
from .checks import need_float32

__all__ = [
    "abs", "add", "addcdiv", "addcmul", "ceil", "clamp", "clip", "cos", "div", "erf", "exp",
    "expm1", "floor", "floor_divide", "lerp", "log", "log10", "log1p", "log2", "maximum", "minimum",
    "mul", "neg", "pow", "reciprocal", "remainder", "round", "rsqrt", "sign", "sin", "sqrt",
    "square", "sub",
]


def _arithmetic(op: int, name: str, a: Any, b: Any) -> Tensor:
    """A float32 op, or the int64 one of the same name, on promoted operands."""
    if all_float32(a, b):
        return pointwise(op, a, b)
    if all_int64(a, b):
        return integer(name, a, b, I64)
    a, b = operand(a), operand(b)
    dtype = common_dtype(name, a, b)
    if dtype is F32:
        return pointwise(op, as_operand(a, F32), as_operand(b, F32))
    return integer(name, a, b, dtype)


_NAMES = {i: name for name, i in OPS.items()}


def unary(op: int, input: Any, f: tuple[float, ...] = ()) -> Tensor:
    """A float32 function of each element; integers are converted first."""
    x = input
    if not all_float32(x):
        x = as_tensor(x)
        common_dtype(_NAMES[op], x)
        x = cast(x, F32)
    return elementwise(op, x, f)


def unary_(op: int, x: Tensor, f: tuple[float, ...] = ()) -> Tensor:
    """The same in x's own memory."""
    need_float32(_NAMES[op] + "_", input=x)
    return elementwise_into(op, x, f)


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
    if is_integer(input) and is_integer(other) and input.dtype is other.dtype is BOOL:
        raise DTypeError("sub: got two bool tensors; need numbers, or input ^ other")
    return _arithmetic(OPS["sub"], "sub", input, other if alpha == 1 else mul(other, alpha))


def mul(input: Any, other: Any) -> Tensor:
    """input · other.

    Example:
        >>> import fastnn
        >>> fastnn.mul(fastnn.tensor([1.0, 2.0]), 3.0).tolist()
        [3.0, 6.0]
    """
    return _arithmetic(OPS["mul"], "mul", input, other)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other as float32; rounding_mode "floor" or "trunc" rounds the quotient.

    Example:
        >>> import fastnn
        >>> fastnn.div(fastnn.tensor([1, 3]), 2).tolist()
        [0.5, 1.5]
    """
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if not all_float32(input, other):
        a, b = operand(input), operand(other)
        common_dtype("div", a, b)
        input, other = as_operand(a, F32), as_operand(b, F32)
    y = pointwise(OPS["div"], input, other)
    if rounding_mode is None:
        return y
    if rounding_mode != "trunc":
        raise ValueError(f"div: rounding_mode: got {rounding_mode!r}; need None, 'floor', 'trunc'")
    return mul(sign(y), floor(abs(y)))


def floor_divide(input: Any, other: Any) -> Tensor:
    """input / other rounded down; of integers by 0: 0. Its gradient is 0.

    Example:
        >>> import fastnn
        >>> fastnn.floor_divide(fastnn.tensor([7.0, -7.0]), 2.0).tolist()
        [3.0, -4.0]
    """
    return _arithmetic(OPS["floor_divide"], "floor_divide", input, other)


def remainder(input: Any, other: Any) -> Tensor:
    """What floor division leaves, with the sign of other; of integers by 0: 0.

    Example:
        >>> import fastnn
        >>> fastnn.remainder(fastnn.tensor([7.0, -7.0]), 4.0).tolist()
        [3.0, 1.0]
    """
    return _arithmetic(OPS["remainder"], "remainder", input, other)


def pow(input: Any, exponent: Any) -> Tensor:
    """input to the power exponent; NaN for a negative base and a fractional exponent.

    Example:
        >>> import fastnn
        >>> fastnn.pow(fastnn.tensor([1.0, 3.0]), 2).tolist()
        [1.0, 9.0]
    """
    if type(exponent) in (int, float) and all_float32(input):
        op = _POWERS.get(exponent)
        if op is not None:
            return unary(op, input)
        return pointwise(OPS["pow"], input, as_tensor(float(exponent)))
    a, b = operand(input), operand(exponent)
    dtype = common_dtype("pow", a, b)
    if dtype is F32:
        return pointwise(OPS["pow"], as_operand(a, F32), as_operand(b, F32))
    _core.untraceable("pow")
    base, power = elements(as_operand(a, I64)), elements(as_operand(b, I64))
    if (power < 0).any():
        raise ValueError("pow: exponent: got a negative integer; need a float base: use .float()")
    return cast(as_tensor(np.power(base, power)), dtype)


# Powers that have a kernel of their own.
_POWERS = {2: OPS["square"], 0.5: OPS["sqrt"], -0.5: OPS["rsqrt"], -1: OPS["reciprocal"]}


def maximum(input: Any, other: Any) -> Tensor:
    """The larger of two; NaN if either is. Each gets half the gradient where they are equal.

    Example:
        >>> import fastnn
        >>> fastnn.maximum(fastnn.tensor([1.0, 3.0]), 2.0).tolist()
        [2.0, 3.0]
    """
    return _arithmetic(OPS["maximum"], "maximum", input, other)


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of two; NaN if either is. Each gets half the gradient where they are equal.

    Example:
        >>> import fastnn
        >>> fastnn.minimum(fastnn.tensor([1.0, 3.0]), 2.0).tolist()
        [1.0, 2.0]
    """
    return _arithmetic(OPS["minimum"], "minimum", input, other)


def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """input + weight · (end - input).

    Example:
        >>> import fastnn
        >>> fastnn.lerp(fastnn.tensor([1.0, 2.0]), fastnn.tensor([3.0, 4.0]), 0.5).tolist()
        [2.0, 3.0]
    """
    return add(input, mul(weight, sub(end, input)))


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """input + value · tensor1 · tensor2.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([1.0, 2.0])
        >>> fastnn.addcmul(x, x, x).tolist()
        [2.0, 6.0]
    """
    return add(input, mul(tensor1, tensor2), alpha=value)


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """input + value · tensor1 / tensor2.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([1.0, 2.0])
        >>> fastnn.addcdiv(x, x, x).tolist()
        [2.0, 3.0]
    """
    return add(input, div(tensor1, tensor2), alpha=value)


# ---------------------------------------------------------------- one operand


def neg(input: Any) -> Tensor:
    """-input.

    Example:
        >>> import fastnn
        >>> fastnn.neg(fastnn.tensor([1.0, -2.0])).tolist()
        [-1.0, 2.0]
    """
    if is_integer(input):
        return sub(0, input)
    return unary(OPS["neg"], input)


def abs(input: Any) -> Tensor:
    """The absolute value; its gradient at 0 is 0.

    Example:
        >>> import fastnn
        >>> fastnn.abs(fastnn.tensor([1.0, -2.0])).tolist()
        [1.0, 2.0]
    """
    if is_integer(input):
        return maximum(input, neg(input))
    return unary(OPS["abs"], input)


def sign(input: Any) -> Tensor:
    """-1, 0 or 1; its gradient is 0.

    Example:
        >>> import fastnn
        >>> fastnn.sign(fastnn.tensor([3.0, -2.0])).tolist()
        [1.0, -1.0]
    """
    if is_integer(input):
        return input if input.dtype is BOOL else minimum(maximum(input, -1), 1)
    return unary(OPS["sign"], input)


def exp(input: Any) -> Tensor:
    """e to the power of each element; within 1 ULP.

    Example:
        >>> import fastnn
        >>> fastnn.exp(fastnn.tensor([0.0])).tolist()
        [1.0]
    """
    return unary(OPS["exp"], input)


def expm1(input: Any) -> Tensor:
    """exp(input) - 1, accurate near 0; within 1 ULP.

    Example:
        >>> import fastnn
        >>> fastnn.expm1(fastnn.tensor([0.0])).tolist()
        [0.0]
    """
    return unary(OPS["expm1"], input)


def log(input: Any) -> Tensor:
    """The natural logarithm; -inf at 0, NaN below. Within 1 ULP.

    Example:
        >>> import fastnn
        >>> fastnn.log(fastnn.tensor([1.0])).tolist()
        [0.0]
    """
    return unary(OPS["log"], input)


def log1p(input: Any) -> Tensor:
    """log(1 + input), accurate near 0; within 1 ULP.

    Example:
        >>> import fastnn
        >>> fastnn.log1p(fastnn.tensor([0.0])).tolist()
        [0.0]
    """
    return unary(OPS["log1p"], input)


def log2(input: Any) -> Tensor:
    """The logarithm to base 2; -inf at 0, NaN below.

    Example:
        >>> import fastnn
        >>> fastnn.log2(fastnn.tensor([8.0])).tolist()
        [3.0]
    """
    return unary(OPS["log2"], input)


def log10(input: Any) -> Tensor:
    """The logarithm to base 10; -inf at 0, NaN below.

    Example:
        >>> import fastnn
        >>> fastnn.log10(fastnn.tensor([1000.0])).tolist()
        [3.0]
    """
    return unary(OPS["log10"], input)


def erf(input: Any) -> Tensor:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t²) from 0 to input. 2 ULP.

    Example:
        >>> import fastnn
        >>> f"{fastnn.erf(fastnn.tensor([1.0])).item():.4f}"
        '0.8427'
    """
    return unary(OPS["erf"], input)


def sqrt(input: Any) -> Tensor:
    """The square root; NaN below 0.

    Example:
        >>> import fastnn
        >>> fastnn.sqrt(fastnn.tensor([4.0])).tolist()
        [2.0]
    """
    return unary(OPS["sqrt"], input)


def rsqrt(input: Any) -> Tensor:
    """1 / sqrt(input).

    Example:
        >>> import fastnn
        >>> fastnn.rsqrt(fastnn.tensor([4.0])).tolist()
        [0.5]
    """
    return unary(OPS["rsqrt"], input)


def reciprocal(input: Any) -> Tensor:
    """1 / input.

    Example:
        >>> import fastnn
        >>> fastnn.reciprocal(fastnn.tensor([4.0])).tolist()
        [0.25]
    """
    return unary(OPS["reciprocal"], input)


def square(input: Any) -> Tensor:
    """input · input.

    Example:
        >>> import fastnn
        >>> fastnn.square(fastnn.tensor([3.0])).tolist()
        [9.0]
    """
    if is_integer(input):
        return mul(input, input)
    return unary(OPS["square"], input)


def sin(input: Any) -> Tensor:
    """The sine of an angle in radians.

    Example:
        >>> import fastnn
        >>> fastnn.sin(fastnn.tensor([0.0])).tolist()
        [0.0]
    """
    return unary(OPS["sin"], input)


def cos(input: Any) -> Tensor:
    """The cosine of an angle in radians.

    Example:
        >>> import fastnn
        >>> fastnn.cos(fastnn.tensor([0.0])).tolist()
        [1.0]
    """
    return unary(OPS["cos"], input)


def floor(input: Any) -> Tensor:
    """The largest integer not above each element; its gradient is 0.

    Example:
        >>> import fastnn
        >>> fastnn.floor(fastnn.tensor([1.5, -1.5])).tolist()
        [1.0, -2.0]
    """
    if is_integer(input):
        return input
    return unary(OPS["floor"], input)


def ceil(input: Any) -> Tensor:
    """The smallest integer not below each element; its gradient is 0.

    Example:
        >>> import fastnn
        >>> fastnn.ceil(fastnn.tensor([1.5, -1.5])).tolist()
        [2.0, -1.0]
    """
    if is_integer(input):
        return input
    return unary(OPS["ceil"], input)


def round(input: Any) -> Tensor:
    """The nearest integer, the even one of two; its gradient is 0.

    Example:
        >>> import fastnn
        >>> fastnn.round(fastnn.tensor([0.5, 1.5])).tolist()
        [0.0, 2.0]
    """
    if is_integer(input):
        return input
    return unary(OPS["round"], input)


def clamp(input: Any, min: Any = None, max: Any = None) -> Tensor:
    """input, but no less than min and no more than max (numbers, tensors or None); NaN stays.

    Example:
        >>> import fastnn
        >>> fastnn.clamp(fastnn.tensor([-1.0, 0.5, 3.0]), 0, 1).tolist()
        [0.0, 0.5, 1.0]
    """
    if min is None and max is None:
        raise ValueError("clamp: min, max: got None for both; need at least one")
    numbers = not isinstance(min, Tensor) and not isinstance(max, Tensor)
    if numbers and all_float32(input):
        limits = (-inf if min is None else float(min), inf if max is None else float(max))
        return unary(OPS["clamp"], input, limits)
    y = input if min is None else maximum(input, min)
    return y if max is None else minimum(y, max)


clip = clamp

for _name in ("add", "sub", "mul", "div"):
    _core.bind_operator(_name, globals()[_name], op=_name)
for _name in ("pow", "floor_divide", "remainder"):  # pow has shortcuts, the others are rare
    _core.bind_operator(_name, globals()[_name])
_core.bind(neg=neg, abs=abs)
for _name in __all__:
    add_method(_name, globals()[_name])
