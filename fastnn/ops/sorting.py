"""Orders: ``sort``, ``argsort``, ``topk``. NumPy finds the order, a gather moves the values."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from .._core import Tensor, add_method, as_tensor, elements
from ..errors import ShapeError
from .checks import need_axis, need_int
from .indexing import gather
from .reduce import ValuesIndices

__all__ = ["argsort", "sort", "topk"]


def order(op: str, x: Tensor, dim: int, descending: bool) -> tuple[np.ndarray, int]:
    """Indices along an axis in order of value, of equal ones in order of place; NaN is largest."""
    d = need_axis(op, dim, x.ndim)
    _core.untraceable(op)
    a = elements(x).reshape(x.shape or (1,))
    if not descending:
        return np.argsort(a, axis=d, kind="stable"), d
    # Backwards, a stable order from the largest on is one from the smallest.
    backwards = np.argsort(np.flip(a, d), axis=d, kind="stable")
    return a.shape[d] - 1 - np.flip(backwards, d), d


def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Indices that put an axis in order; equal values keep theirs, NaN is the largest.

    Example:
        >>> import fastnn
        >>> fastnn.argsort(fastnn.tensor([3.0, 1.0, 2.0])).tolist()
        [1, 2, 0]
    """
    x = as_tensor(input)
    return _core.tensor(order("argsort", x, dim, descending)[0].reshape(x.shape))


def sort(input: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> ValuesIndices:
    """(values, indices) of an axis in order; equal values keep theirs, NaN is the largest.

    Example:
        >>> import fastnn
        >>> fastnn.sort(fastnn.tensor([3.0, 1.0, 2.0]), descending=True).values.tolist()
        [3.0, 2.0, 1.0]
    """
    x = as_tensor(input)
    i = _core.tensor(order("sort", x, dim, descending)[0].reshape(x.shape))
    return ValuesIndices(gather(x, dim, i) if x.ndim else x, i)


def topk(
    input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesIndices:
    """(values, indices) of the k largest (or smallest) elements of an axis, in order; of equal ones
    the first.

    Errors: ShapeError where the axis has fewer than k elements.

    Example:
        >>> import fastnn
        >>> fastnn.topk(fastnn.tensor([3.0, 1.0, 2.0]), 2).indices.tolist()
        [0, 2]
    """
    x = as_tensor(input)
    places, d = order("topk", x, dim, largest)
    n = places.shape[d]
    if not 0 <= need_int("topk", "k", k) <= n:
        raise ShapeError(f"topk: k: got {k}; need 0 to {n}")
    i = np.take(places, range(k), axis=d)
    if not x.ndim:
        return ValuesIndices(x, _core.tensor(i.reshape(()) if k else i))
    t = _core.tensor(i)
    return ValuesIndices(gather(x, d, t), t)


for _name in __all__:
    add_method(_name, globals()[_name])
