"""Transforms that move pixels: each image gets an affine map, and all are warped in one pass.

Maps are 3 x 3 matrices over (column, row, 1), pixel centres at whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..._core import Tensor
from ...errors import ShapeError
from ...ops.image import warp
from .base import Range, Transform, probability, span

Matrices = npt.NDArray[Any]
TRIES = 10              # draws of a box, as torchvision; then it is left out, or whole


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
    """Whether pixels are taken, not interpolated; torchvision's InterpolationMode is a string."""
    word = getattr(interpolation, "value", interpolation)
    if word not in ("nearest", "bilinear"):
        raise ValueError(f"{name}: interpolation: got {word!r}; need 'nearest' or 'bilinear'")
    return word == "nearest"


def sizes(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    """(rows, columns)"""
    h, w = (size, size) if isinstance(size, int) else size
    if h < 1 or w < 1:
        raise ShapeError(f"{name}: size: got {size}; need at least one pixel")
    return int(h), int(w)


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
    the columns as well. What comes from outside is `fill`. `center` is (column, row).
    interpolation: "nearest" (torchvision's default) or "bilinear".
    """

    def __init__(
        self, degrees: Range, translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None, shear: Range | None = None,
        interpolation: str = "nearest", fill: float = 0.0, center: Sequence[float] | None = None,
        generator: Any = None,
    ) -> None:
        super().__init__(generator)
        name = type(self).__name__
        self.degrees = span(name, "degrees", degrees)
        self.translate = tuple(translate or (0.0, 0.0))
        self.scale = span(name, "scale", scale or (1.0, 1.0))
        shears = (0.0, 0.0) if shear is None else span(name, "shear", shear) \
            if isinstance(shear, (int, float)) else tuple(shear)
        self.shear = shears if len(shears) == 4 else (*shears, 0.0, 0.0)
        self.nearest = is_nearest(name, interpolation)
        self.fill, self.center = float(fill), center
        if not all(0 <= t <= 1 for t in self.translate) or len(self.translate) != 2:
            raise ValueError(f"{name}: translate: got {translate}; need two parts from 0 to 1")
        if self.scale[0] <= 0:
            raise ValueError(f"{name}: scale: got {scale}; need positive numbers")
        if len(self.shear) != 4 or max(map(abs, self.shear)) >= 90:
            raise ValueError(f"{name}: shear: got {shear}; need two or four angles below 90")

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        n, _, h, w = x.shape
        low = (self.degrees[0], self.shear[0], self.shear[2])
        high = (self.degrees[1], self.shear[1], self.shear[3])
        turn, along, down = np.radians(rng.uniform(low, high, (n, 3)).T)
        zoom = rng.uniform(*self.scale, n)
        tx, ty = (np.round(rng.uniform(-t * s, t * s, n))
                  for t, s in zip(self.translate, (w, h), strict=True))
        cx, cy = self.center or ((w - 1) / 2, (h - 1) / 2)
        cos, sin = np.cos(turn), np.sin(turn)
        forward = (moved(n, cx + tx, cy + ty)
                   @ maps(n, (zoom * cos, -zoom * sin, 0), (zoom * sin, zoom * cos, 0))
                   @ maps(n, (1, 0, 0), (-np.tan(down), 1, 0))
                   @ maps(n, (1, -np.tan(along), 0), (0, 1, 0))
                   @ moved(n, -cx, -cy))
        return warped(x, np.linalg.inv(forward), nearest=self.nearest, fill=self.fill)


class RandomRotation(RandomAffine):
    """Each image turned about its centre by degrees, d for -d to d, or (low, high)."""

    def __init__(
        self, degrees: Range, interpolation: str = "nearest", expand: bool = False,
        center: Sequence[float] | None = None, fill: float = 0.0, generator: Any = None,
    ) -> None:
        if expand:
            raise ValueError("RandomRotation: expand: got True; need False: the images of a batch "
                             "keep one size")
        super().__init__(degrees, interpolation=interpolation, fill=fill, center=center,
                         generator=generator)


class Resize(Transform):
    """Images of size (rows, columns), or of rows = columns = size.

    Bilinear between pixels, without antialiasing: shrinking below half the size loses detail.
    """

    def __init__(self, size: int | Sequence[int], interpolation: str = "bilinear") -> None:
        super().__init__()
        self.size, self.nearest = sizes("Resize", size), is_nearest("Resize", interpolation)

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        n, _, h, w = x.shape
        boxes = np.tile([0.0, 0.0, w, h], (n, 1))
        return _cropped(x, boxes, self.size, self.nearest)


def _cropped(x: Tensor, boxes: Any, size: tuple[int, int], nearest: bool = False) -> Tensor:
    """Boxes (left, top, width, height) of the images, resized; nothing else is looked at."""
    left, top, w, h = boxes.T
    sx, sy = w / size[1], h / size[0]
    m = maps(len(boxes), (sx, 0, left + sx / 2 - 0.5), (0, sy, top + sy / 2 - 0.5))
    limits = np.stack([left, left + w - 1, top, top + h - 1], 1)
    return warped(x, m, size, boxes=limits, border=True, nearest=nearest)


class RandomResizedCrop(Transform):
    """A box of each image, resized: scale is its part of the area, ratio its width / height."""

    def __init__(
        self, size: int | Sequence[int], scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3), interpolation: str = "bilinear",
        antialias: bool | None = None, generator: Any = None,
    ) -> None:
        super().__init__(generator)
        self.size = sizes("RandomResizedCrop", size)
        self.scale = span("RandomResizedCrop", "scale", scale)
        self.ratio = span("RandomResizedCrop", "ratio", ratio)
        self.nearest = is_nearest("RandomResizedCrop", interpolation)
        if self.scale[0] < 0 or self.ratio[0] <= 0:
            raise ValueError(f"RandomResizedCrop: got scale {scale} and ratio {ratio}; "
                             "need positive numbers")

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        n, _, h, w = x.shape
        boxes, found = draw_boxes(rng, n, h, w, self.scale, self.ratio)
        low, high = self.ratio                  # else: as much of the middle as the ratio allows
        wide, tall = (w, min(h, round(w / low))), (min(w, round(h * high)), h)
        cw, ch = wide if w / h < low else tall if w / h > high else (w, h)
        boxes[~found] = (w - cw) // 2, (h - ch) // 2, cw, ch
        return _cropped(x, boxes.astype(float), self.size, self.nearest)


def draw_boxes(
    rng: np.random.Generator, n: int, h: int, w: int, scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[npt.NDArray[np.int64], Any]:
    """Boxes (left, top, width, height) of n images, and for which of them a try fitted."""
    area = h * w * rng.uniform(*scale, (n, TRIES))
    aspect = np.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1]), (n, TRIES)))
    bw, bh = (np.round(np.sqrt(a)).astype(np.int64) for a in (area * aspect, area / aspect))
    fits = (bw > 0) & (bw <= w) & (bh > 0) & (bh <= h)
    first = (np.arange(n), fits.argmax(1))
    bw, bh = np.minimum(bw[first], w), np.minimum(bh[first], h)
    left, top = (np.floor(rng.random(n) * (room + 1)).astype(np.int64) for room in (w - bw, h - bh))
    return np.stack([left, top, bw, bh], 1), np.any(fits, 1)


class CenterCrop(Transform):
    """The middle of each image; what lies outside an image is 0."""

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__()
        self.size = sizes("CenterCrop", size)

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        n, _, h, w = x.shape
        m = moved(n, round((w - self.size[1]) / 2), round((h - self.size[0]) / 2))
        return warped(x, m, self.size, nearest=True)


class RandomCrop(Transform):
    """A part of each image, after `padding` pixels of `fill` were put around it."""

    def __init__(
        self, size: int | Sequence[int], padding: int = 0, fill: float = 0.0, generator: Any = None
    ) -> None:
        super().__init__(generator)
        self.size, self.padding, self.fill = sizes("RandomCrop", size), int(padding), float(fill)
        if self.padding < 0:
            raise ShapeError(f"RandomCrop: padding: got {padding}; need 0 or more pixels")

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        n, _, h, w = x.shape
        rooms = [s + 2 * self.padding - t for s, t in zip((w, h), self.size[::-1], strict=True)]
        if min(rooms) < 0:
            raise ShapeError(f"RandomCrop: images: got {h} x {w} pixels and padding "
                             f"{self.padding}; need at least {self.size[0]} x {self.size[1]}")
        left, top = (rng.integers(0, room + 1, n) - self.padding for room in rooms)
        return warped(x, moved(n, left, top), self.size, nearest=True, fill=self.fill)
