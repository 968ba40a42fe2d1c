"""What all transforms share, and those that do not look at pixels' places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import _core
from ..._core import Tensor
from ...data.sampling import draw_seed
from ...data.transforms import Normalize as _Rows
from ...errors import DTypeError, ShapeError

Range = float | Sequence[float]


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
            raise DTypeError(f"{name}: images: got {x.dtype.name}; need float32: apply ToDtype() "
                             "first")
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
        self.transforms = list(transforms)

    def __call__(self, images: Any, *labels: Any) -> Any:
        images = _core.as_tensor(images)
        for t in self.transforms:
            if labels:
                images, *labels = t(images, *labels)
            else:
                images = t(images)
        return (images, *labels) if labels else images


class RandomApply(Transform):
    """Transforms, with probability p for each batch."""

    def __init__(self, transforms: Sequence[Any], p: float = 0.5, generator: Any = None) -> None:
        super().__init__(generator)
        self.transforms, self.p = list(transforms), probability("RandomApply", p)

    def __call__(self, images: Any, *labels: Any) -> Any:
        chosen = self.transforms if self.draws().random() < self.p else []
        return Compose(chosen)(images, *labels)


class ToDtype(Transform):
    """Images as float32; scale: uint8 pixels 0 to 255 become 0 to 1.

    >>> ToDtype()(np.full((1, 1, 2), 51, np.uint8)).tolist()
    [[[0.20000000298023224, 0.20000000298023224]]]
    """

    def __init__(self, dtype: Any = None, scale: bool = True) -> None:
        super().__init__()
        if dtype is not None and _core.DTYPES["float32"] is not dtype:
            raise DTypeError(f"ToDtype: dtype: got {dtype}; need float32, in which all is computed")
        self.scale = scale

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

    >>> Normalize([0.5], [0.5])(np.ones((1, 1, 2), np.float32)).tolist()
    [[[1.0, 1.0]]]
    """

    def __init__(self, mean: Range, std: Range, inplace: bool = False) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self._rows = _Rows(mean, std)

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        return self._rows.rows(x, np.arange(len(x)))


def probability(name: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p: got {p}; need 0 to 1")
    return float(p)


def span(name: str, option: str, value: Range, around: float = 0.0) -> tuple[float, float]:
    """(low, high) of an option: a number d stands for around - d to around + d."""
    low, high = (around - value, around + value) if isinstance(value, (int, float)) else value
    if not low <= high:
        raise ValueError(f"{name}: {option}: got {value}; need a number >= 0, or (low, high)")
    return float(low), float(high)
