"""NumPy twins of op_pointwise.h."""

from __future__ import annotations

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


def broadcast_grad(rules: list[Callable[..., Any]], axes: int) -> Callable[..., Any]:
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

exp = unary(lambda x, f: np.exp(x))
exp_grad = unary_grad(lambda dy, x, y, f: dy * y)

log = unary(lambda x, f: np.log(x))
log_grad = unary_grad(lambda dy, x, y, f: dy / x)

sqrt = unary(lambda x, f: np.sqrt(x))
sqrt_grad = unary_grad(lambda dy, x, y, f: dy / (2 * y))

square = unary(lambda x, f: x * x)
square_grad = unary_grad(lambda dy, x, y, f: dy * 2 * x)
