"""Methods that change a tensor in its own memory; their names end in an underscore.

Gradients follow float32 tensors through them. A leaf that requires grad may only be changed
under no_grad, and a tensor that shares memory with another not while gradients are recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import iadd, imul, isub, itruediv
from typing import Any

import numpy as np

from .. import _core
from .._core import OPS, Tensor, add_method, as_tensor, call_into, pointwise_into
from ..errors import DTypeError, ShapeError
from . import compare, indexing, pointwise
from .cast import CODES, F32, kind
from .checks import need_value
from .movement import expand
from .pointwise import unary_

__all__: list[str] = []

CAST, FILL = OPS["cast"], OPS["fill"]


def copy_(input: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Overwrite with src, converted to this dtype and broadcast to this shape.

    Example:
        >>> import fastnn
        >>> fastnn.zeros(2).copy_(fastnn.tensor([1, 2])).tolist()
        [1.0, 2.0]
    """
    x, y = input, as_tensor(src)
    if y is x:
        return x
    if y.shape != x.shape:
        y = expand(y, x.shape)
    if _core.shares_memory(x, y):
        y = y.clone()
    return call_into(CAST, (y,), x, (x.numel(), CODES[y.dtype], CODES[x.dtype]))


def fill_(input: Tensor, value: Any) -> Tensor:
    """Overwrite every element with a number.

    Example:
        >>> import fastnn
        >>> fastnn.zeros(2).fill_(3).tolist()
        [3.0, 3.0]
    """
    if isinstance(value, Tensor):
        return copy_(input, value)
    if input.dtype is F32:
        return unary_(FILL, input, (float(value),))
    return copy_(input, as_tensor(need_value("fill_", "value", value, input.dtype), input.dtype))


def zero_(input: Tensor) -> Tensor:
    """Overwrite every element with 0."""
    return fill_(input, 0)


def assign(name: str, input: Tensor, result: Tensor) -> Tensor:
    """Put the result of an op into input's memory, where its shape and kind of dtype fit."""
    if result.shape != input.shape:
        raise ShapeError(f"{name}: other: got a result of shape {result.shape}; need one that "
                         f"broadcasts to {input.shape}")
    if kind(result.dtype) > kind(input.dtype):
        raise DTypeError(f"{name}: other: got a {result.dtype.name} result; need one that fits "
                         f"{input.dtype.name}: use the op without _")
    _core.check_writable(name, input)
    return copy_(input, result)


def add_(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """input += alpha · other."""
    return iadd(input, other if alpha == 1 else pointwise.mul(other, alpha))


def sub_(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """input -= alpha · other."""
    return isub(input, other if alpha == 1 else pointwise.mul(other, alpha))


def _pair_(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The in-place form of a binary op without an operator of its own."""

    def method(input: Tensor, other: Any) -> Tensor:
        y = as_tensor(other) if isinstance(other, (Tensor, np.ndarray)) else None
        if input.dtype is F32 and (y is None or y.dtype is F32):
            return pointwise_into(OPS[name], input, as_tensor(float(other)) if y is None else y)
        return assign(name + "_", input, function(input, other))

    method.__doc__ = f"``{name}`` in place."
    return method


def clamp_(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """``clamp`` in place."""
    numbers = not isinstance(min, Tensor) and not isinstance(max, Tensor)
    if input.dtype is F32 and numbers and not (min is None and max is None):
        low, high = -np.inf if min is None else min, np.inf if max is None else max
        return unary_(OPS["clamp"], input, (float(low), float(high)))
    return assign("clamp_", input, pointwise.clamp(input, min, max))


def masked_fill_(input: Tensor, mask: Any, value: Any) -> Tensor:
    """``masked_fill`` in place."""
    return assign("masked_fill_", input, compare.masked_fill(input, mask, value))


def scatter_(input: Tensor, dim: int, index: Any, src: Any = None, **options: Any) -> Tensor:
    """``scatter`` in place."""
    return assign("scatter_", input, indexing.scatter(input, dim, index, src, **options))


def scatter_add_(input: Tensor, dim: int, index: Any, src: Any) -> Tensor:
    """``scatter_add`` in place."""
    return assign("scatter_add_", input, indexing.scatter_add(input, dim, index, src))


def _unary_(name: str) -> Callable[[Tensor], Tensor]:
    """The in-place form of a function of one tensor."""
    op, function = OPS[name], getattr(pointwise, name, None)

    def method(input: Tensor) -> Tensor:
        if input.dtype is not F32 and function is not None:
            return assign(name + "_", input, function(input))
        return unary_(op, input)

    method.__doc__ = f"``{name}`` in place."
    return method


for _name in (
    "abs", "ceil", "cos", "erf", "exp", "expm1", "floor", "log", "log10", "log1p", "log2", "neg",
    "reciprocal", "relu", "round", "rsqrt", "sigmoid", "sign", "silu", "sin", "sqrt", "square",
    "tanh",
):
    add_method(_name + "_", _unary_(_name))
for _name in ("floor_divide", "pow", "remainder"):
    add_method(_name + "_", _pair_(_name, getattr(pointwise, _name)))
for _name, _value in {
    "add_": add_, "clamp_": clamp_, "clip_": clamp_, "copy_": copy_, "fill_": fill_,
    "masked_fill_": masked_fill_, "scatter_": scatter_, "scatter_add_": scatter_add_,
    "sub_": sub_, "zero_": zero_,
    "mul_": lambda input, other: imul(input, other),
    "div_": lambda input, other: itruediv(input, other),
}.items():
    add_method(_name, _value)
_core.bind(assign=assign, copy_=copy_)
