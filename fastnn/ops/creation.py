"""Tensors from a size or a rule: ``zeros``, ``full``, ``arange``, ``eye`` and their kin.

All take ``dtype=`` (float32 unless said otherwise), ``device=`` (only the CPU is there) and
``requires_grad=``; sizes are given as ``f(2, 3)`` or ``f((2, 3))``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, isfinite
from typing import Any

import numpy as np

from .. import _core
from .._core import (
    DTYPES,
    OPS,
    DType,
    Tensor,
    add_method,
    as_dtype,
    as_tensor,
    call_into,
    check_device,
    elements,
)
from ..errors import ShapeError
from .checks import need_int, need_shape, need_value

__all__ = [
    "arange", "empty", "empty_like", "eye", "full", "full_like", "linspace", "ones", "ones_like",
    "zeros", "zeros_like",
]

_F32 = DTYPES["float32"]


def _empty(op: str, shape: tuple[int, ...], dtype: Any) -> Tensor:
    """A tensor with undefined contents; errors name the op."""
    try:
        return _core.empty(shape, dtype)
    except (MemoryError, ShapeError) as e:
        text = str(e).removeprefix("tensor: ").replace("memory: got", f"size: got {shape},", 1)
        raise type(e)(f"{op}: {text}") from None


def _filled(
    op: str, shape: tuple[int, ...], value: Any, dtype: Any, device: Any, grad: bool
) -> Tensor:
    """A new tensor full of a value that fits its dtype."""
    if device is not None:
        check_device(device)
    x = _empty(op, shape, dtype)
    if x.dtype is _F32:
        call_into(OPS["fill"], (x,), x, (x.numel(),), (float(value),))
    else:
        elements(x).fill(value)
    if grad:
        x.requires_grad = True
    return x


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with undefined contents."""
    check_device(device)
    return _empty("empty", need_shape("empty", size), dtype).requires_grad_(requires_grad)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor full of 0.

    Example:
        >>> import fastnn
        >>> fastnn.zeros(2, 3).shape
        (2, 3)
    """
    return _filled("zeros", need_shape("zeros", size), 0, dtype, device, requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor full of 1.

    Example:
        >>> import fastnn
        >>> fastnn.ones(3, dtype=fastnn.int64).tolist()
        [1, 1, 1]
    """
    return _filled("ones", need_shape("ones", size), 1, dtype, device, requires_grad)


def full(
    size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor full of fill_value; its dtype follows the value: bool, int64 or float32.

    Example:
        >>> import fastnn
        >>> fastnn.full((2,), 7).dtype
        fastnn.int64
    """
    dtype = _dtype_of(fill_value) if dtype is None else as_dtype(dtype)
    value = need_value("full", "fill_value", fill_value, dtype)
    return _filled("full", need_shape("full", (size,)), value, dtype, device, requires_grad)


def _dtype_of(*values: Any) -> DType:
    """What Python numbers mean: bool, int64 or float32."""
    kinds = {type(v.item() if isinstance(v, Tensor) else v) for v in values}
    if kinds == {bool}:
        return as_dtype("bool")
    return as_dtype("int64" if kinds <= {int, bool} else "float32")


def _like(op: str, input: Any, value: Any, dtype: Any, device: Any, grad: bool) -> Tensor:
    x = as_tensor(input)
    dtype = x.dtype if dtype is None else as_dtype(dtype)
    value = need_value(op, "fill_value", value, dtype)
    return _filled(op, x.shape, value, dtype, device, grad)


def empty_like(
    input: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with undefined contents, of the shape and dtype of another."""
    x = as_tensor(input)
    return empty(x.shape, dtype=x.dtype if dtype is None else dtype, device=device,
                 requires_grad=requires_grad)


def zeros_like(
    input: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor full of 0, of the shape and dtype of another."""
    return _like("zeros_like", input, 0, dtype, device, requires_grad)


def ones_like(
    input: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor full of 1, of the shape and dtype of another."""
    return _like("ones_like", input, 1, dtype, device, requires_grad)


def full_like(
    input: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor full of fill_value, of the shape and dtype of another."""
    return _like("full_like", input, fill_value, dtype, device, requires_grad)


def _number(op: str, name: str, value: Any) -> Any:
    """A finite Python number below 2**63."""
    value = value.item() if isinstance(value, (Tensor, np.generic)) else value
    need_value(op, name, value, DTYPES["int64" if isinstance(value, int) else "float64"])
    if not isfinite(value):
        raise ShapeError(f"{op}: {name}: got {value}; need a finite number")
    return value


def arange(
    start: Any, end: Any = None, step: Any = 1, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below end; arange(end) starts at 0. int64 where all are integers.

    Errors: ShapeError where step is 0 or leads away from end.

    Example:
        >>> import fastnn
        >>> fastnn.arange(2, 8, 2).tolist()
        [2, 4, 6]
    """
    start, end = (0, start) if end is None else (start, end)
    start, end, step = (_number("arange", name, v)
                        for name, v in (("start", start), ("end", end), ("step", step)))
    if step == 0 or (end - start) / step < 0:
        raise ShapeError(f"arange: step: got {step} from {start} to {end}; "
                         "need one that leads there")
    whole = isinstance(start, int) and isinstance(end, int) and isinstance(step, int)
    size = -((start - end) // step) if whole else ceil((end - start) / step)
    dtype = _dtype_of(start, end, step, 0) if dtype is None else dtype
    return _from_rule("arange", (size,), lambda: np.arange(start, end, step), dtype, device,
                      requires_grad)


def linspace(
    start: float, end: float, steps: int, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` numbers at equal distances from start to end, both included.

    Example:
        >>> import fastnn
        >>> fastnn.linspace(0, 1, 5).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    n = need_int("linspace", "steps", steps)
    if n < 0:
        raise ShapeError(f"linspace: steps: got {steps}; need no negative number")
    return _from_rule("linspace", (n,), lambda: np.linspace(start, end, steps), dtype, device,
                      requires_grad)


def _from_rule(
    op: str, shape: tuple[int, ...], rule: Callable[[], np.ndarray], dtype: Any, device: Any,
    grad: bool,
) -> Tensor:
    """A new tensor with the elements of an array, made once there is room for them."""
    x = _filled(op, shape, 0, dtype, device, False)
    elements(x)[...] = rule()
    return x.requires_grad_(grad)


def eye(
    n: int, m: int | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The n by m matrix (square without m) with 1 on the diagonal and 0 elsewhere.

    Example:
        >>> import fastnn
        >>> fastnn.eye(2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    shape = need_shape("eye", (n, n if m is None else m))
    x = _filled("eye", shape, 0, dtype, device, False)
    np.fill_diagonal(elements(x), 1)
    return x.requires_grad_(requires_grad)


def _new(make: Any) -> Any:
    """The method that makes a tensor of another's dtype."""

    def method(
        self: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> Tensor:
        dtype = self.dtype if dtype is None else dtype
        return make(*size, dtype=dtype, device=device, requires_grad=requires_grad)

    return method


def _new_full(
    self: Tensor, size: Any, fill_value: Any, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    dtype = self.dtype if dtype is None else dtype
    return full(size, fill_value, dtype, device, requires_grad)


def _new_tensor(
    self: Tensor, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    return _core.tensor(data, self.dtype if dtype is None else dtype, device, requires_grad)


for _name, _value in {
    "new_empty": _new(empty), "new_full": _new_full, "new_ones": _new(ones),
    "new_tensor": _new_tensor, "new_zeros": _new(zeros),
}.items():
    add_method(_name, _value)
