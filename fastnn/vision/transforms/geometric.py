"""Transforms that move pixels: each image gets an affine map, and all are warped in one pass.

Maps are 3 x 3 matrices over (column, row, 1), pixel centres at whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from ..._core import Tensor
from ...errors import DTypeError
from ...ops.image import warp
from .base import InterpolationMode, Range, Transform, number, numbers, probability, span

Matrices = npt.NDArray[Any]
Mode = str | InterpolationMode


def maps(n: int, columns: Any, rows: Any) -> Matrices:
    """n maps with these two upper rows, each of three numbers or arrays of n."""
    m = np.zeros((n, 3, 3))
    for i, row in enumerate((columns, rows, (0, 0, 1))):
        for j, value in enumerate(row):
            m[:, i, j] = value
    return m


def moved(n: int, x: Any, y: Any) -> Matrices:
    return maps(n, (1, 0, x), (0, 1, y))


def warped(
    x: Tensor, m: Matrices, size: tuple[int, int] | None = None, **options: Any
) -> Tensor:
    """Images whose pixel at p is that of x at m p."""
    h, w = size or x.shape[2:]
    return warp(x, m[:, :2].reshape(-1, 6), (h, w), **options)


def is_nearest(name: str, interpolation: Any) -> bool:
    """Whether pixels are taken, not interpolated; torchvision's own InterpolationMode will do."""
    word = getattr(interpolation, "value", interpolation)
    if word not in ("nearest", "bilinear"):
        raise ValueError(f"{name}: interpolation: got {word!r}; need 'nearest' or 'bilinear'")
    return word == "nearest"


def filling(name: str, fill: Any) -> float:
    """What is seen where an image has no pixels."""
    if isinstance(fill, (Sequence, dict)):
        raise DTypeError(f"{name}: fill: got {fill!r}; need one number for all channels")
    return 0.0 if fill is None else number(name, "fill", fill)


class _Flip(Transform):
    def __init__(self, p: float = 0.5, generator: Any = None) -> None:
        super().__init__(generator)
        self.p = probability(type(self).__name__, p)

    def chosen(self, n: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        return rng.random(n) < self.p


class RandomHorizontalFlip(_Flip):
    """Left and right change places, with probability p for each image."""

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        n, _, _, w = x.shape
        flip = self.chosen(n, rng)
        return warped(x, maps(n, (1 - 2 * flip, 0, flip * (w - 1)), (0, 1, 0)), nearest=True)


class RandomVerticalFlip(_Flip):
    """Top and bottom change places, with probability p for each image."""

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        n, _, h, _ = x.shape
        flip = self.chosen(n, rng)
        return warped(x, maps(n, (1, 0, 0), (0, 1 - 2 * flip, flip * (h - 1))), nearest=True)


class RandomAffine(Transform):
    """Each image turned, moved, scaled and sheared about its centre.

    degrees: clockwise, d for -d to d, or (low, high); translate: largest part of (width, height);
    scale: (low, high); shear: degrees, d or (low, high) along the rows, or (..., low, high) along
    the columns as well. What comes from outside is `fill`. center: (column, row), counted from the
    corner of the image: (W / 2, H / 2) is its middle. interpolation: "nearest" (torchvision's
    default) or "bilinear".
    """

    _sense = 1.0                    # of degrees; -1: counter-clockwise

    def __init__(
        self, degrees: Range, translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None, shear: Range | None = None,
        interpolation: Mode = "nearest", fill: float | None = 0.0,
        center: Sequence[float] | None = None, generator: Any = None,
    ) -> None:
        super().__init__(generator)
        name = type(self).__name__
        self.degrees = span(name, "degrees", degrees)
        self.translate = (0.0, 0.0) if translate is None else numbers(
            name, "translate", translate, (2,))
        self.scale = span(name, "scale", (1, 1) if scale is None else scale)
        shears = (0.0, 0.0) if shear is None else span(name, "shear", shear) \
            if isinstance(shear, Real) else numbers(name, "shear", shear, (2, 4))
        self.shear = shears if len(shears) == 4 else (*shears, 0.0, 0.0)
        self.nearest = is_nearest(name, interpolation)
        self.fill = filling(name, fill)
        self.center = None if center is None else numbers(name, "center", center, (2,))
        if not all(0 <= t <= 1 for t in self.translate):
            raise ValueError(f"{name}: translate: got {translate}; need two parts from 0 to 1")
        if self.scale[0] <= 0:
            raise ValueError(f"{name}: scale: got {scale}; need positive numbers")
        if max(map(abs, self.shear)) >= 90:
            raise ValueError(f"{name}: shear: got {shear}; need angles below 90")

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        n, _, h, w = x.shape
        low = (self.degrees[0], self.shear[0], self.shear[2])
        high = (self.degrees[1], self.shear[1], self.shear[3])
        turn, along, down = np.radians(rng.uniform(low, high, (n, 3)).T)
        turn = self._sense * turn
        zoom = rng.uniform(*self.scale, n)
        tx, ty = (np.round(rng.uniform(-t * s, t * s, n))
                  for t, s in zip(self.translate, (w, h), strict=True))
        cx, cy = (c - 0.5 for c in self.center or (w / 2, h / 2))
        cos, sin = np.cos(turn), np.sin(turn)
        forward = (moved(n, cx + tx, cy + ty)
                   @ maps(n, (zoom * cos, -zoom * sin, 0), (zoom * sin, zoom * cos, 0))
                   @ maps(n, (1, 0, 0), (-np.tan(down), 1, 0))
                   @ maps(n, (1, -np.tan(along), 0), (0, 1, 0))
                   @ moved(n, -cx, -cy))
        return warped(x, np.linalg.inv(forward), nearest=self.nearest, fill=self.fill)


class RandomRotation(RandomAffine):
    """Each image turned about its centre, counter-clockwise by degrees: d for -d to d, (low, high).

    The other way round than `RandomAffine`, as in torchvision.
    """

    _sense = -1.0

    def __init__(
        self, degrees: Range, interpolation: Mode = "nearest", expand: bool = False,
        center: Sequence[float] | None = None, fill: float | None = 0.0, generator: Any = None,
    ) -> None:
        if expand:
            raise ValueError("RandomRotation: expand: got True; need False: the images of a batch "
                             "keep one size")
        super().__init__(degrees, interpolation=interpolation, fill=fill, center=center,
                         generator=generator)
