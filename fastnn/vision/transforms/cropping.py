"""Transforms that change sizes: parts of images, resized ones, images with a border."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import _core, ops
from ..._core import Tensor
from ...errors import DTypeError, ShapeError
from ...ops.checks import need_int
from .base import Transform, span
from .geometric import Mode, filling, is_nearest, maps, moved, warped

TRIES = 10              # draws of a box, as torchvision; then it is left out, or whole
Size = int | Sequence[int]


def sizes(name: str, size: Size) -> tuple[int, int]:
    """(rows, columns); one number stands for both"""
    each = integers(name, "size", size, (1, 2))
    if min(each) < 1:
        raise ShapeError(f"{name}: size: got {size}; need at least one pixel")
    return each[0], each[-1]


def integers(name: str, option: str, value: Any, lengths: tuple[int, ...]) -> list[int]:
    """An integer, or a sequence of them of one of these lengths."""
    several = isinstance(value, (list, tuple)) or isinstance(value, np.ndarray) and value.ndim
    given = value if several else [value]
    if len(given) not in lengths:
        raise ShapeError(f"{name}: {option}: got {value}; need an integer, or "
                         f"{' or '.join(map(str, lengths))} of them")
    found = [need_int(name, option, v) for v in given]
    if max(map(abs, found)) > 2**24:
        raise ShapeError(f"{name}: {option}: got {value}; need at most 2**24 pixels")
    return found


# ---------------------------------------------------------------- resized

class Resize(Transform):
    """Images of size (rows, columns), or with a shorter side of `size`, the shape kept.

    max_size: the most the longer side may become; with size None, what it becomes. interpolation:
    "nearest" or "bilinear"; with antialias, each pixel of a smaller image is the mean of all it
    covers, weighted by a tent, not of four.

    >>> Resize(4)(np.ones((1, 12, 8), np.float32)).shape
    (1, 6, 4)
    """

    def __init__(
        self, size: Size | None, interpolation: Mode = "bilinear", max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        self.size = None if size is None else integers("Resize", "size", size, (1, 2))
        self.max_size = None if max_size is None else need_int("Resize", "max_size", max_size)
        self.nearest = is_nearest("Resize", interpolation)
        self.antialias = bool(antialias)
        if self.size is None and self.max_size is None:
            raise ValueError("Resize: size: got None without max_size; need one of them")
        if self.max_size is not None and self.size is not None and (
                len(self.size) == 2 or self.max_size <= self.size[0]):
            raise ValueError(f"Resize: max_size: got {max_size} for size {size}; need one number "
                             "as size, and more than that")
        if min(self.size or [1]) < 1 or self.max_size is not None and self.max_size < 1:
            raise ShapeError(f"Resize: size: got {size}; need at least one pixel")

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        h, w = x.shape[2:]
        if h * w == 0:
            raise ShapeError(f"Resize: images: got shape {x.shape}; need pixels")
        size = self.target(h, w)
        if self.nearest or not self.antialias:
            return ops.interpolate(x, size, mode="nearest" if self.nearest else "bilinear")
        return _averaged(x, np.array([[0.0, 0.0, w, h]]), size)

    def target(self, h: int, w: int) -> tuple[int, int]:
        """The size of an image of h x w pixels."""
        if self.size is not None and len(self.size) == 2:
            return self.size[0], self.size[1]
        short, long = min(h, w), max(h, w)
        small, large = (0, long) if self.size is None else (
            self.size[0], int(self.size[0] * long / short))
        if self.max_size is not None and (self.size is None or large > self.max_size):
            small, large = int(self.max_size * (small or short) / large), self.max_size
        if small < 1:
            raise ShapeError(f"Resize: max_size: got {self.max_size} for images of {h} x {w}; need "
                             "more: a side would have no pixel")
        return (large, small) if w <= h else (small, large)


class RandomResizedCrop(Transform):
    """A box of each image, resized: scale is its part of the area, ratio its width / height."""

    def __init__(
        self, size: Size, scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3), interpolation: Mode = "bilinear",
        antialias: bool | None = True, generator: Any = None,
    ) -> None:
        super().__init__(generator)
        self.size = sizes("RandomResizedCrop", size)
        self.scale = span("RandomResizedCrop", "scale", scale)
        self.ratio = span("RandomResizedCrop", "ratio", ratio)
        self.nearest = is_nearest("RandomResizedCrop", interpolation)
        self.antialias = bool(antialias)
        if self.scale[0] < 0 or self.ratio[0] <= 0:
            raise ValueError(f"RandomResizedCrop: got scale {scale} and ratio {ratio}; "
                             "need positive numbers")

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        n, _, h, w = x.shape
        if h * w == 0:
            raise ShapeError(f"RandomResizedCrop: images: got shape {x.shape}; need pixels")
        boxes, found = draw_boxes(rng, n, h, w, self.scale, self.ratio)
        low, high = self.ratio                  # else: as much of the middle as the ratio allows
        wide, tall = (w, min(h, round(w / low))), (min(w, round(h * high)), h)
        cw, ch = wide if w / h < low else tall if w / h > high else (w, h)
        boxes[~found] = (w - cw) // 2, (h - ch) // 2, cw, ch
        resized = _averaged if self.antialias and not self.nearest else _sampled
        return resized(x, boxes.astype(float), self.size, nearest=self.nearest)


def draw_boxes(
    rng: np.random.Generator, n: int, h: int, w: int, scale: tuple[float, float],
    ratio: tuple[float, float], room: int = 0,
) -> tuple[npt.NDArray[np.int64], Any]:
    """Boxes (left, top, width, height) of n images, and for which of them a try fitted.

    scale: their part of the area; ratio: width / height, both (low, high); room: pixels that the
    image must be longer than the box, in both directions.
    """
    area = h * w * rng.uniform(*scale, (n, TRIES))
    aspect = np.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1]), (n, TRIES)))
    bw, bh = (np.round(np.sqrt(a)).astype(np.int64) for a in (area * aspect, area / aspect))
    fits = (bw > 0) & (bw <= w - room) & (bh > 0) & (bh <= h - room)
    first = (np.arange(n), fits.argmax(1))
    bw, bh = np.minimum(bw[first], w), np.minimum(bh[first], h)
    left, top = (np.floor(rng.random(n) * (s + 1)).astype(np.int64) for s in (w - bw, h - bh))
    return np.stack([left, top, bw, bh], 1), np.any(fits, 1)


def _sampled(x: Tensor, boxes: Any, size: tuple[int, int], nearest: bool) -> Tensor:
    """Boxes (left, top, width, height) of the images, resized; nothing else is looked at.

    The nearest pixel of i is floor(i s), as in torch: half a step of these fractions more keeps
    the whole numbers among them away from the edge between two pixels.
    """
    left, top, w, h = boxes.T
    sx, sy = w / size[1], h / size[0]
    at = [0.5 / size[1], 0.5 / size[0]] if nearest else [sx / 2, sy / 2]
    m = maps(len(boxes), (sx, 0, left + at[0] - 0.5), (0, sy, top + at[1] - 0.5))
    limits = np.stack([left, left + w - 1, top, top + h - 1], 1)
    return warped(x, m, size, boxes=limits, border=True, nearest=nearest)


def _averaged(x: Tensor, boxes: Any, size: tuple[int, int], nearest: bool = False) -> Tensor:
    """As `_sampled`, by two matrix products for each image; one box stands for all images."""
    left, top, w, h = boxes.T
    across, down = _tents(left, w, x.shape[3], size[1]), _tents(top, h, x.shape[2], size[0])
    return _core.tensor(down[:, None]) @ (x @ _core.tensor(across[:, None].swapaxes(2, 3)))


def _tents(start: Any, length: Any, n: int, m: int) -> npt.NDArray[np.float32]:
    """(boxes, m, n): how much of each of n pixels is in each of m that share a box along an axis.

    Tents around the m centres, as wide as the distance to the next, of two pixels at least.
    """
    step = (length / m)[:, None, None]
    pixels = np.arange(n) + 0.5 - start[:, None, None]
    far = np.abs(pixels - step * (np.arange(m) + 0.5)[:, None]) / np.maximum(step, 1)
    inside = (pixels > 0) & (pixels < length[:, None, None])
    share = np.where(inside, np.maximum(1 - far, 0), 0)
    return (share / share.sum(2, keepdims=True)).astype(np.float32)


# ---------------------------------------------------------------- parts, and borders

class CenterCrop(Transform):
    """The middle of each image; what lies outside an image is 0."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = sizes("CenterCrop", size)

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        n, _, h, w = x.shape
        top, left = (round((s - t) / 2) if s >= t else -((t - s) // 2)
                     for s, t in zip((h, w), self.size, strict=True))
        return warped(x, moved(n, left, top), self.size, nearest=True)


_MODES = ("constant", "edge", "reflect", "symmetric")


def _padding(name: str, padding: Any, mode: str) -> tuple[int, int, int, int]:
    """(left, top, right, bottom), from one number, (left and right, top and bottom), or all."""
    if mode not in _MODES:
        raise ValueError(f"{name}: padding_mode: got {mode!r}; need one of "
                         f"{', '.join(map(repr, _MODES))}")
    each = integers(name, "padding", padding, (1, 2, 4))
    if min(each) < 0:
        raise ShapeError(f"{name}: padding: got {padding}; need 0 or more pixels")
    left, top, right, bottom = each * (4 // len(each))
    return left, top, right, bottom


def _padded(
    name: str, x: Tensor, padding: tuple[int, int, int, int], fill: float, mode: str
) -> Tensor:
    left, top, right, bottom = padding
    if mode == "constant":
        return ops.pad(x, (left, right, top, bottom), value=fill)
    for axis, before, after in ((3, left, right), (2, top, bottom)):
        n = x.shape[axis]
        if n < 1 or mode != "edge" and n < max(before, after) + (mode == "reflect"):
            raise ShapeError(f"{name}: padding: got {before} and {after} in mode {mode!r} for a "
                             f"side of {n} pixels; need fewer")
        if before or after:
            places = np.pad(np.arange(n), (before, after), mode)        # type: ignore[call-overload]
            x = ops.index_select(x, axis, places)
    return x


class Pad(Transform):
    """Images with pixels around: a number of them, (left and right, top and bottom), or
    (left, top, right, bottom).

    padding_mode: "constant" puts `fill` there, "edge" the outermost pixel, "reflect" the image
    mirrored at that pixel, "symmetric" mirrored behind it.

    >>> Pad((1, 0), padding_mode="edge")(np.float32([[[1, 2]]])).tolist()
    [[[1.0, 1.0, 2.0, 2.0]]]
    """

    def __init__(
        self, padding: Size, fill: float | None = 0, padding_mode: str = "constant"
    ) -> None:
        super().__init__()
        self.padding = _padding("Pad", padding, padding_mode)
        self.fill, self.padding_mode = filling("Pad", fill), padding_mode

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        return _padded("Pad", x, self.padding, self.fill, self.padding_mode)


class RandomCrop(Transform):
    """A part of each image, after `padding` was put around it as by `Pad`.

    pad_if_needed: on both sides as much more, where the image is smaller than the part.
    """

    def __init__(
        self, size: Size, padding: Size | None = None, pad_if_needed: bool = False,
        fill: float | None = 0, padding_mode: str = "constant", generator: Any = None,
    ) -> None:
        super().__init__(generator)
        if not isinstance(pad_if_needed, (bool, np.bool_)):
            raise DTypeError(f"RandomCrop: pad_if_needed: got {pad_if_needed!r}; need True or "
                             "False; fill is the fourth argument")
        self.size = sizes("RandomCrop", size)
        self.padding = _padding("RandomCrop", 0 if padding is None else padding, padding_mode)
        self.pad_if_needed = bool(pad_if_needed)
        self.fill, self.padding_mode = filling("RandomCrop", fill), padding_mode

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        n, _, h, w = x.shape
        left, top, right, bottom = self.padding
        if self.pad_if_needed:
            more_down = max(0, self.size[0] - h - top - bottom)
            more_across = max(0, self.size[1] - w - left - right)
            top, bottom = top + more_down, bottom + more_down
            left, right = left + more_across, right + more_across
        down, across = h + top + bottom - self.size[0], w + left + right - self.size[1]
        if min(down, across) < 0:
            raise ShapeError(f"RandomCrop: images: got {h} x {w} pixels and padding "
                             f"{self.padding}; need at least {self.size[0]} x {self.size[1]}, or "
                             "pad_if_needed=True")
        x0, y0 = rng.integers(0, across + 1, n), rng.integers(0, down + 1, n)
        if self.padding_mode == "constant":             # the crop fills what lies outside
            x0, y0 = x0 - left, y0 - top
        else:
            x = _padded("RandomCrop", x, (left, top, right, bottom), 0.0, self.padding_mode)
        return warped(x, moved(n, x0, y0), self.size, nearest=True, fill=self.fill)
