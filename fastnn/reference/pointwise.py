"""NumPy twins of op_pointwise.h."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Arrays = list[Any]


def binary(y: Callable[..., Any]) -> Callable[..., Any]:
    """The forward twin of y(a, b)."""
    return lambda ins, dim, f: (y(*ins),)


def binary_grad(da: Callable[..., Any], db: Callable[..., Any]) -> Callable[..., Any]:
    """The backward twin of da(dy, a, b) and db(dy, a, b)."""
    return broadcast_grad([da, db], axes=5)


def broadcast_grad(rules: list[Callable[..., Any] | None], axes: int) -> Callable[..., Any]:
    """rules[j](dy, *operands), summed over the axes along which operand j was broadcast."""

    def grad(
        ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
    ) -> Arrays:
        sizes = dim[:axes]
        dy = gouts[0].reshape(sizes)
        stretched = [[s == 0 for s in dim[axes * (j + 1):axes * (j + 2)]] for j in range(len(ins))]
        ins = [None if x is None else
               x.reshape([1 if s else n for n, s in zip(sizes, st, strict=True)])
               for x, st in zip(ins, stretched, strict=True)]
        return [np.broadcast_to(rule(dy, *ins), sizes).sum(tuple(np.flatnonzero(st)))
                if w and rule else None
                for rule, st, w in zip(rules, stretched, want, strict=True)]

    return grad


def unary(y: Callable[..., Any]) -> Callable[..., Any]:
    """The forward twin of y(x, constants)."""
    return lambda ins, dim, f: (y(ins[0], f),)


def unary_grad(dx: Callable[..., Any]) -> Callable[..., Any]:
    """The backward twin of dx(dy, x, y, constants)."""
    return lambda ins, outs, gouts, want, dim, f: [dx(gouts[0], ins[0], outs[0], f)]


error_function = np.vectorize(math.erf, otypes=[float])

# ---------------------------------------------------------------- float32 (a, b) -> float32

add = binary(lambda a, b: a + b)
add_grad = binary_grad(lambda dy, a, b: dy, lambda dy, a, b: dy)

sub = binary(lambda a, b: a - b)
sub_grad = binary_grad(lambda dy, a, b: dy, lambda dy, a, b: -dy)

mul = binary(lambda a, b: a * b)
mul_grad = binary_grad(lambda dy, a, b: dy * b, lambda dy, a, b: dy * a)

div = binary(lambda a, b: a / b)
div_grad = binary_grad(lambda dy, a, b: dy / b, lambda dy, a, b: -dy * a / b**2)

pow = binary(lambda a, b: a**b)
pow_grad = binary_grad(
    lambda dy, a, b: np.where(b == 0, 0, dy * b * a ** (b - 1)),
    lambda dy, a, b: np.where((a == 0) & (b >= 0), 0, dy * a**b * np.log(a)),
)


def _winner(dy: np.ndarray, lost: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """The larger side gets the gradient; both get half of it where they are equal."""
    return np.where(tie, dy / 2, np.where(lost, 0, dy))


maximum = binary(np.maximum)
maximum_grad = binary_grad(lambda dy, a, b: _winner(dy, a < b, a == b),
                           lambda dy, a, b: _winner(dy, a > b, a == b))

minimum = binary(np.minimum)
minimum_grad = binary_grad(lambda dy, a, b: _winner(dy, a > b, a == b),
                           lambda dy, a, b: _winner(dy, a < b, a == b))

remainder = binary(np.mod)
remainder_grad = binary_grad(lambda dy, a, b: dy, lambda dy, a, b: -dy * np.floor_divide(a, b))

floor_divide = binary(np.floor_divide)
floor_divide_grad = binary_grad(lambda dy, a, b: 0.0, lambda dy, a, b: 0.0)

# ---------------------------------------------------------------- float32 (a, b) -> bool

eq = binary(lambda a, b: a == b)
ne = binary(lambda a, b: a != b)
lt = binary(lambda a, b: a < b)
le = binary(lambda a, b: a <= b)
gt = binary(lambda a, b: a > b)
ge = binary(lambda a, b: a >= b)

# ---------------------------------------------------------------- float32 x -> float32

neg = unary(lambda x, f: -x)
neg_grad = unary_grad(lambda dy, x, y, f: -dy)

abs = unary(lambda x, f: np.abs(x))
abs_grad = unary_grad(lambda dy, x, y, f: dy * np.sign(x))

sign = unary(lambda x, f: np.sign(x))
sign_grad = unary_grad(lambda dy, x, y, f: np.zeros_like(dy))

exp = unary(lambda x, f: np.exp(x))
exp_grad = unary_grad(lambda dy, x, y, f: dy * y)

expm1 = unary(lambda x, f: np.expm1(x))
expm1_grad = unary_grad(lambda dy, x, y, f: dy * (y + 1))

log = unary(lambda x, f: np.log(x))
log_grad = unary_grad(lambda dy, x, y, f: dy / x)

log1p = unary(lambda x, f: np.log1p(x))
log1p_grad = unary_grad(lambda dy, x, y, f: dy / (1 + x))

log2 = unary(lambda x, f: np.log2(x))
log2_grad = unary_grad(lambda dy, x, y, f: dy / (x * np.log(2)))

log10 = unary(lambda x, f: np.log10(x))
log10_grad = unary_grad(lambda dy, x, y, f: dy / (x * np.log(10)))

erf = unary(lambda x, f: error_function(x).astype(x.dtype))
erf_grad = unary_grad(lambda dy, x, y, f: dy * 2 / np.sqrt(np.pi) * np.exp(-x * x))

sqrt = unary(lambda x, f: np.sqrt(x))
sqrt_grad = unary_grad(lambda dy, x, y, f: dy / (2 * y))

rsqrt = unary(lambda x, f: 1 / np.sqrt(x))
rsqrt_grad = unary_grad(lambda dy, x, y, f: -dy / 2 * y**3)

reciprocal = unary(lambda x, f: 1 / x)
reciprocal_grad = unary_grad(lambda dy, x, y, f: -dy * y * y)

square = unary(lambda x, f: x * x)
square_grad = unary_grad(lambda dy, x, y, f: dy * 2 * x)

sin = unary(lambda x, f: np.sin(x))
sin_grad = unary_grad(lambda dy, x, y, f: dy * np.cos(x))

cos = unary(lambda x, f: np.cos(x))
cos_grad = unary_grad(lambda dy, x, y, f: -dy * np.sin(x))

floor = unary(lambda x, f: np.floor(x))
floor_grad = unary_grad(lambda dy, x, y, f: np.zeros_like(dy))

ceil = unary(lambda x, f: np.ceil(x))
ceil_grad = unary_grad(lambda dy, x, y, f: np.zeros_like(dy))

round = unary(lambda x, f: np.rint(x))
round_grad = unary_grad(lambda dy, x, y, f: np.zeros_like(dy))

clamp = unary(lambda x, f: np.minimum(np.maximum(x, x.dtype.type(f[0])), x.dtype.type(f[1])))
clamp_grad = unary_grad(lambda dy, x, y, f: np.where((x >= f[0]) & (x <= f[1]), dy, 0))

fill = unary(lambda x, f: np.full_like(x, f[0]))
fill_grad = unary_grad(lambda dy, x, y, f: np.zeros_like(dy))

# ---------------------------------------------------------------- where, integers, cast


def where(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (np.where(*ins),)


where_grad = broadcast_grad(
    [None, lambda dy, cond, a, b: np.where(cond, dy, 0),
     lambda dy, cond, a, b: np.where(cond, 0, dy)], axes=4)


def int_where(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (np.where(*ins),)


_INT_ARITHMETIC = (np.add, np.subtract, np.multiply, np.floor_divide, np.remainder, np.maximum,
                   np.minimum, np.bitwise_and, np.bitwise_or, np.bitwise_xor)
_INT_COMPARE = (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal)


def int_arithmetic(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (_INT_ARITHMETIC[int(f[0])](*ins),)


def int_compare(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (_INT_COMPARE[int(f[0])](*ins),)


def as_type(x: np.ndarray, dtype: Any) -> np.ndarray:
    """x.astype(dtype), where float to integer stops at the ends of the range and NaN becomes 0."""
    to = np.dtype(dtype)
    if x.dtype.kind != "f" or to.kind not in "iu":
        return x.astype(to)
    ends, wide = np.iinfo(to), np.nan_to_num(x.astype(np.float64))
    beyond = float(ends.max) + 1  # exact, where the largest int64 itself is not
    y = np.where((wide > ends.min) & (wide < beyond), wide, 0).astype(to)
    y[wide <= ends.min], y[wide >= beyond] = ends.min, ends.max
    return y


_CAST_TYPES = ("float32", "int64", "int32", "uint8", "bool", "float64", "float16", "int8", "int16")


def cast(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, to = ins[0], _CAST_TYPES[dim[2]]
    return (x if to == "float32" and x.dtype.name == "float64" else as_type(x, to),)


def cast_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    return [gouts[0]]
