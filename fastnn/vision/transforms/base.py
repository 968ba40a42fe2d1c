"""What all transforms share, and those that do not look at pixels' places."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from enum import Enum
from numbers import Real
from typing import Any

import numpy as np

from ... import _core
from ..._core import Tensor
from ...data.sampling import draw_seed
from ...data.transforms import Normalize as _Rows
from ...errors import DTypeError, ShapeError

Range = float | Sequence[float]
_LARGEST = sys.float_info.max


class InterpolationMode(Enum):
    """What lies between pixels: the nearest one, or all four, weighted."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"


class Transform:
    """Base of transforms: define ``apply(x, rng)``, from images (N, C, H, W) float32 to others.

    rng is a `numpy.random.Generator`, seeded anew for every call from `generator`, or from the
    stream of `fastnn.manual_seed`.
    """

    def __init__(self, generator: Any = None) -> None:
        self.generator = generator

    def __call__(self, images: Any, *labels: Any) -> Any:
        x = self.check(_core.as_tensor(images))
        one = x.ndim == 3
        y = self.apply(_core.view(x, (1, *x.shape)) if one else x, self.draws())
        y = _core.view(y, y.shape[1:]) if one else y
        return (y, *labels) if labels else y

    def draws(self) -> np.random.Generator:
        return np.random.default_rng(draw_seed(self.generator))

    def check(self, x: Tensor) -> Tensor:
        """x if it is an image or a batch of them."""
        name = type(self).__name__
        if x.ndim not in (3, 4):
            raise ShapeError(f"{name}: images: got shape {x.shape}; need (N, C, H, W) or (C, H, W)")
        if x.dtype.name != "float32":
            raise DTypeError(f"{name}: images: got {x.dtype.name}; need float32: apply "
                             "ToDtype(fastnn.float32, scale=True) first")
        return x.detach()

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}: need an apply(x, rng) method")

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v!r}" for k, v in vars(self).items()
                            if k != "generator" and not k.startswith("_"))
        return f"{type(self).__name__}({options})"


class Compose(Transform):
    """Transforms one after the other."""

    def __init__(self, transforms: Sequence[Any]) -> None:
        super().__init__()
        self.transforms = steps("Compose", transforms)

    def __call__(self, images: Any, *labels: Any) -> Any:
        return one_after_the_other(self.transforms, images, labels)


class RandomApply(Transform):
    """Transforms, with probability p for each batch."""

    def __init__(self, transforms: Sequence[Any], p: float = 0.5, generator: Any = None) -> None:
        super().__init__(generator)
        self.transforms, self.p = steps("RandomApply", transforms), probability("RandomApply", p)

    def __call__(self, images: Any, *labels: Any) -> Any:
        chosen = self.transforms if self.draws().random() < self.p else []
        return one_after_the_other(chosen, images, labels)


def steps(name: str, transforms: Sequence[Any]) -> list[Any]:
    if not isinstance(transforms, Sequence) or not all(map(callable, transforms)):
        raise DTypeError(f"{name}: transforms: got {transforms!r}; need a sequence of transforms")
    if not transforms:
        raise ValueError(f"{name}: transforms: got none; need at least one")
    return list(transforms)


def one_after_the_other(transforms: Sequence[Any], images: Any, labels: Sequence[Any]) -> Any:
    images = _core.as_tensor(images)
    for t in transforms:
        if labels:
            images, *labels = t(images, *labels)
        else:
            images = t(images)
    return (images, *labels) if labels else images


class ToDtype(Transform):
    """Images as float32, the only dtype here; scale: uint8 pixels 0 to 255 become 0 to 1.

    >>> import fastnn
    >>> ToDtype(fastnn.float32, scale=True)(np.full((1, 1, 2), 51, np.uint8)).tolist()
    [[[0.20000000298023224, 0.20000000298023224]]]
    """

    def __init__(self, dtype: Any, scale: bool = False) -> None:
        super().__init__()
        if dtype is not _core.DTYPES["float32"]:
            raise DTypeError(f"ToDtype: dtype: got {dtype}; need fastnn.float32, in which all is "
                             "computed")
        self.dtype, self.scale = dtype, bool(scale)

    def check(self, x: Tensor) -> Tensor:
        if x.dtype.name == "float32":
            return super().check(x)
        if x.dtype.name != "uint8":
            raise DTypeError(f"ToDtype: images: got {x.dtype.name}; need uint8 or float32")
        y = x.float()
        return super().check(y / 255 if self.scale else y)

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        return x


class Normalize(Transform):
    """(x - mean) / std for each channel.

    `fastnn.data.Normalize` does it while a batch is read, for nothing; this one follows others.
    inplace is accepted; the result is a new tensor.

    >>> Normalize([0.5], [0.5])(np.ones((1, 1, 2), np.float32)).tolist()
    [[[1.0, 1.0]]]
    """

    def __init__(self, mean: Range, std: Range, inplace: bool = False) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self._rows = _Rows(mean, std)

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        return self._rows.rows(x, np.arange(len(x)))


def number(name: str, option: str, value: Any, low: float = -_LARGEST) -> float:
    """A finite number of at least `low`."""
    if not isinstance(value, Real):
        raise DTypeError(f"{name}: {option}: got {value!r}; need a number")
    if not low <= float(value) < math.inf:
        need = "a finite number" if low < 0 else f"{low:g} or more"
        raise ValueError(f"{name}: {option}: got {value}; need {need}")
    return float(value)


def numbers(name: str, option: str, values: Any, lengths: tuple[int, ...]) -> tuple[float, ...]:
    """A sequence of one of these lengths."""
    if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, np.ndarray)) or (
            isinstance(values, np.ndarray) and not values.ndim):
        raise DTypeError(f"{name}: {option}: got {values!r}; need numbers")
    if len(values) not in lengths:
        raise ValueError(f"{name}: {option}: got {values}; need "
                         f"{' or '.join(map(str, lengths))} numbers")
    return tuple(number(name, option, v) for v in values)


def probability(name: str, p: float) -> float:
    if not 0 <= number(name, "p", p) <= 1:
        raise ValueError(f"{name}: p: got {p}; need 0 to 1")
    return float(p)


def span(name: str, option: str, value: Range, around: float = 0.0) -> tuple[float, float]:
    """(low, high) of an option: a number d stands for around - d to around + d."""
    if isinstance(value, Real):
        d = number(name, option, value, 0)
        return around - d, around + d
    low, high = numbers(name, option, value, (2,))
    if low > high:
        raise ValueError(f"{name}: {option}: got {value}; need a number >= 0, or (low, high)")
    return low, high
