"""Checks that ops share. Every message reads `op: argument: got X; need Y`."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import Any

import numpy as np

from .._core import DType, Tensor, element, first_outside
from ..errors import DTypeError, IndexRangeError, ShapeError


def need_float32(op: str, **tensors: Tensor) -> None:
    """Refuse tensors that do not compute."""
    for name, t in tensors.items():
        if t.dtype.name != "float32":
            raise DTypeError(f"{op}: {name}: got {t.dtype.name}; need float32: use .float()")


def need_int(op: str, name: str, value: Any) -> int:
    """An integer argument as an int."""
    try:
        return index(value)
    except TypeError:
        raise DTypeError(f"{op}: {name}: got {value!r}; need an integer") from None


def need_number(op: str, name: str, value: Any) -> float:
    """A real number as a float."""
    if type(value) is float:
        return value
    try:
        if not isinstance(value, (str, bytes, bytearray)):
            return float(value)
    except (OverflowError, TypeError, ValueError):
        pass
    raise DTypeError(f"{op}: {name}: got {value!r}; need a number")


def need_sizes(op: str, name: str, value: Any) -> tuple[int, ...]:
    """One integer, or a sequence of them."""
    if hasattr(value, "__index__") and getattr(value, "ndim", 0) == 0:
        return (need_int(op, name, value),)
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise DTypeError(f"{op}: {name}: got {value!r}; need integers")
    return tuple(need_int(op, name, v) for v in value)


def need_word(op: str, name: str, value: Any, words: Iterable[str | None]) -> Any:
    """One of these words."""
    words = tuple(words)
    if not (value is None or isinstance(value, str)) or value not in words:
        raise ValueError(f"{op}: {name}: got {value!r}; need one of {', '.join(map(repr, words))}")
    return value


def need_probability(op: str, p: Any) -> float:
    """The argument p of ops that drop elements."""
    try:
        if 0.0 <= p <= 1.0:
            return float(p)
    except TypeError:
        raise DTypeError(f"{op}: p: got {p!r}; need a number from 0 to 1") from None
    raise ValueError(f"{op}: p: got {p}; need 0 to 1")


def need_value(op: str, name: str, value: Any, dtype: DType) -> np.ndarray:
    """A number as a 0-dimensional array of a dtype that can hold it."""
    try:
        array = np.asarray(value, None if isinstance(value, Tensor) else dtype.numpy)
        if array.ndim == 0 and not isinstance(value, (str, bytes, type(None))):
            return array.astype(dtype.numpy)
    except (OverflowError, TypeError, ValueError):
        pass
    raise DTypeError(f"{op}: {name}: got {value!r}; need a number that fits {dtype.name}")


def need_index(
    op: str, name: str, t: Tensor, n: int, skip: int | None = None, low: int = 0
) -> None:
    """Refuse an int64 tensor with an element other than skip outside low to n - 1."""
    at = first_outside(t, low, n, skip)
    if at < 0:
        return
    place: list[int] = []
    rest = at
    for size in reversed(t.shape):
        place.insert(0, rest % size)
        rest //= size
    value = element(t, at)
    ignored = "" if skip is None else f", or {skip} to be ignored"
    raise IndexRangeError(
        f"{op}: {name}: got {value} at {tuple(place)}; need {low} to {n - 1}{ignored}"
    )


def need_axis(op: str, dim: Any, ndim: int) -> int:
    """An axis number, negative ones counted from the end."""
    d = need_int(op, "dim", dim)
    span = max(ndim, 1)
    if not -span <= d < span:
        raise IndexRangeError(f"{op}: dim: got {d}; need {-span} to {span - 1}")
    return d % span


def need_shape(op: str, shape: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes given as f(2, 3) or f((2, 3))."""
    if len(shape) == 1 and not hasattr(shape[0], "__index__"):
        shape = tuple(shape[0])
    sizes = tuple(need_int(op, "size", s) for s in shape)
    if any(s < 0 for s in sizes):
        raise ShapeError(f"{op}: size: got {sizes}; need no negative size")
    return sizes
