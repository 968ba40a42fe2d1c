"""From a list of samples to one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import _core
from ..errors import DTypeError, ShapeError

__all__ = ["default_collate"]


def default_collate(samples: Sequence[Any]) -> Any:
    """Stack samples along a new first dimension, inside tuples, lists and dicts.

    Tensors, arrays and numbers become one Tensor, strings stay; a tuple or list of fields
    becomes a list of batches, a named tuple or dict keeps its type and names, as in torch.
    Raises `ShapeError` where samples differ in shape or length, `DTypeError` for other objects.

    >>> x, y = default_collate([(np.zeros(3), 1), (np.ones(3), 2)])
    >>> x.shape, y.tolist()
    ((2, 3), [1, 2])
    """
    first = samples[0]
    if isinstance(first, (str, bytes)):
        return samples
    if isinstance(first, _core.Tensor):
        return _stack([sample.numpy() for sample in samples])
    if isinstance(first, (np.ndarray, np.generic, int, float)):
        return _stack([np.asarray(sample) for sample in samples])
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, Sequence):
        lengths = {len(sample) for sample in samples}
        if len(lengths) > 1:
            raise ShapeError(
                f"default_collate: samples: got {sorted(lengths)} fields; need equally many"
            )
        fields = [default_collate(field) for field in zip(*samples, strict=True)]
        return type(first)(*fields) if hasattr(first, "_fields") else fields
    raise DTypeError(
        f"default_collate: samples: got {type(first).__name__}; need Tensors, arrays, numbers, "
        "strings, or tuples, lists and dicts of them, or pass collate_fn="
    )


def _stack(arrays: Sequence[np.ndarray]) -> Any:
    shapes = list(dict.fromkeys(array.shape for array in arrays))
    if len(shapes) > 1:
        raise ShapeError(
            f"default_collate: samples: got shapes {shapes[0]} and {shapes[1]}; need one shape, "
            "or pass collate_fn= that pads"
        )
    return _core.as_tensor(np.stack(arrays))
