"""x[key] = value: in x's own memory, and in the graph where gradients are recorded."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .. import _core
from .._core import Tensor, as_tensor, elements
from ..errors import DTypeError, ShapeError
from .compare import where
from .indexing import checked_picks, key_plan, take
from .inplace import copy_
from .movement import expand, reshape

__all__: list[str] = []


def _place(array: np.ndarray, key: Any) -> tuple[np.ndarray, tuple[Any, ...]]:
    """A view of array, and what in it the key names."""
    basic, picks = key_plan(array.shape, key)
    part = array[tuple(
        [slice(k[0], k[0] + k[1] * k[2], k[1]) if isinstance(k, tuple) else k for k in basic]
    ) + (...,)]
    named: list[Any] = [slice(None)] * part.ndim
    for (axis, _), t in zip(picks, checked_picks("setitem", part.shape, picks), strict=True):
        named[axis] = elements(t)
    return part, (*named, ...)


def _refuse_shape(value: tuple[int, ...], place: tuple[int, ...]) -> ShapeError:
    return ShapeError(f"setitem: value: got shape {value}; need one that broadcasts to {place}")


def _setitem(x: Tensor, key: Any, value: Any) -> None:
    """x[key] = value"""
    _core.check_writable("setitem", x)
    if _core.is_recording() and _replayed(x, key, value):
        return
    _core.untraceable("setitem")
    v = elements(value) if isinstance(value, Tensor) else np.asarray(value)
    if v.dtype.kind not in "iub" and not (v.dtype.kind == "f" and x.dtype.is_floating_point):
        raise DTypeError(f"setitem: value: got {v.dtype} for {x.dtype.name}; need .to({x.dtype!r})")
    if (x.requires_grad or getattr(value, "requires_grad", False)) and _core.grad_enabled():
        _recorded(x, key, as_tensor(value))
        return
    part, named = _place(elements(x), key)
    try:
        part[named] = v
    except ValueError:
        raise _refuse_shape(v.shape, part[named].shape) from None
    _core.bump_version(x)


def _replayed(x: Tensor, key: Any, value: Any) -> bool:
    """The same by records, as a compiled step needs it: to places that Python knows, or one value
    wherever a mask is true. False where the places are values of a tensor."""
    if x.dtype.name not in ("float32", "int64"):
        return False
    value = as_tensor(value).to(x.dtype)
    if isinstance(key, Tensor) and key.dtype.name == "bool" and value.numel() == 1:
        if key.shape != x.shape[:key.ndim]:
            return False                # as an error
        mask = reshape(key, key.shape + (1,) * (x.ndim - key.ndim))
        copy_(x, where(mask, reshape(value, ()), x))
        return True
    if any(isinstance(k, Tensor) for k in (key if isinstance(key, tuple) else (key,))):
        return False
    _recorded(x, key, value)
    return True


def _recorded(x: Tensor, key: Any, value: Tensor) -> None:
    """The same as a choice between x and the elements of value, which then overwrites x."""
    number = np.full(x.shape, -1)  # of the element of value that goes to each place
    part, named = _place(number, key)
    shape = part[named].shape
    extra = max(0, value.ndim - len(shape))
    if prod(value.shape[:extra]) != 1:
        raise _refuse_shape(value.shape, shape)
    try:
        spread = expand(reshape(value, value.shape[extra:]), shape)
    except ShapeError:
        raise _refuse_shape(value.shape, shape) from None
    if spread.numel():
        part[named] = np.arange(spread.numel()).reshape(shape)
        taken = take(reshape(spread, -1), 0, 1, _core.tensor(np.maximum(number, 0)))
        copy_(x, where(_core.tensor(number >= 0), taken, x))


_core.bind(setitem=_setitem)
