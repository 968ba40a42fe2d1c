"""What is done to samples as they are read; a whole batch at a time where the dataset can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..errors import DTypeError, ShapeError
from ..ops.checks import need_index, need_number
from ..ops.indexing import scaled_rows

__all__ = ["Normalize"]


class Normalize:
    """(x - mean) / std as float32, for uint8 and float32 samples.

    mean and std are numbers, or sequences of one for each channel, the first axis of a sample; as
    in torchvision. Given to `TensorDataset` or to a ready set as `transform`, the batch is picked,
    converted and normalised in one pass over memory, by all threads.

    Raises `ValueError` for a std of 0, `ShapeError` for a sample with another number of channels,
    `DTypeError` for samples of other types.

    >>> Normalize(128, 64)(np.array([0, 192], np.uint8)).tolist()
    [-2.0, 1.0]
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean, self.std = mean, std
        low, by = _each("mean", mean), _each("std", std)
        n = max(len(low), len(by))
        if not {len(low), len(by)} <= {1, max(1, n)} or 0.0 in by:
            raise ValueError(f"Normalize: got mean {mean} and std {std}; need numbers, or one "
                             "of each for every channel, and no std of 0")
        self._mean, self._std = (
            _core.tensor(np.resize(np.array(a, np.float32), n)) for a in (low, by))

    def __call__(self, x: Any) -> Any:
        """One sample, a Tensor or array of any shape."""
        x = _core.as_tensor(x)
        return self.rows(_core.view(x, (1, *x.shape)), _FIRST, x.shape)

    def rows(self, data: Any, indices: Any, shape: Any = None) -> Any:
        """The samples of these indices of a Tensor of samples."""
        if data.dtype.name not in ("uint8", "float32"):
            raise DTypeError(f"Normalize: x: got {data.dtype.name}; need uint8 or float32")
        channels = self._mean.numel()
        if channels > 1 and (data.ndim < 2 or data.shape[1] != channels):
            raise ShapeError(f"Normalize: x: got samples of shape {data.shape[1:]}; "
                             f"need {channels} channels first")
        indices = _core.as_tensor(indices)
        need_index("Normalize", "indices", indices, data.shape[0])
        y = scaled_rows(data, indices, self._mean, self._std)
        return y if shape is None else _core.view(y, shape)

    def of_units(self, unit: float) -> Normalize:
        """The same for samples in other units: stored pixels 0 to `unit` instead of 0 to 1."""
        mean, std = np.multiply(self.mean, unit), np.multiply(self.std, unit)
        return Normalize(mean.tolist(), std.tolist())

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


def _each(option: str, value: Any) -> list[float]:
    """One number, or one for each channel."""
    if isinstance(value, (str, bytes)) or getattr(value, "ndim", 1) == 0 or (
            not hasattr(value, "__len__")):
        value = [value]
    return [need_number("Normalize", option, v) for v in value]


_FIRST = _core.tensor(np.zeros(1, np.int64))
