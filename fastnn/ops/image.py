"""Images: resizing, sliding windows, and what `fastnn.vision.transforms` is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .. import _core
from .._core import (
    OPS,
    Tensor,
    as_tensor,
    call,
    channels_last,
    from_channels_last,
    is_channels_last,
)
from ..errors import LimitError, ShapeError
from .checks import need_float32, need_int, need_number, need_probability
from .conv import sizes
from .creation import full
from .random import dropout

__all__ = ["dropout1d", "dropout2d", "fold", "interpolate", "pixel_shuffle", "pixel_unshuffle",
           "unfold"]

INTERPOLATE, UNFOLD, FOLD = OPS["interpolate"], OPS["unfold"], OPS["fold"]
WARP, PASTE = OPS["warp"], OPS["paste"]
Pair = int | Sequence[int]


# ---------------------------------------------------------------- resizing

def interpolate(
    input: Any, size: Pair | None = None, scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest", align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Tensor:
    """Images of another size, or scale_factor times as large.

    Shapes: (N, C, H, W) -> (N, C, *size); (N, C, L) -> (N, C, size). mode: "nearest", or
    "bilinear" ("linear" for three axes) between pixel centres, with align_corners between those of
    the corner pixels.

    Errors: ShapeError for sizes below 1, ValueError for both or none of size and scale_factor.

    Example:
        >>> import fastnn, fastnn.nn.functional as F
        >>> F.interpolate(fastnn.tensor([[[[1.0, 2.0]]]]), scale_factor=2).tolist()
        [[[[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]]
    """
    x = as_tensor(input)
    need_float32("interpolate", input=x)
    if x.ndim not in (3, 4):
        raise ShapeError(f"interpolate: input: got shape {x.shape}; need (N, C, L) or (N, C, H, W)")
    linear = "linear" if x.ndim == 3 else "bilinear"
    if not isinstance(mode, str) or mode not in ("nearest", linear):
        raise ValueError(f"interpolate: mode: got {mode!r} for {x.ndim} axes; need 'nearest' or "
                         f"{linear!r}")
    if align_corners is not None and mode == "nearest":
        raise ValueError("interpolate: align_corners: got it with mode 'nearest'; need mode "
                         f"{linear!r}")
    sides = x.shape[2:]
    sizes, steps = _target(sides, size, scale_factor, bool(recompute_scale_factor))
    if 0 in sides:
        raise ShapeError(f"interpolate: input: got shape {x.shape}; need pixels")
    kind = "nearest" if mode == "nearest" else "corners" if align_corners else "centres"
    tables = [t for axis in zip(sides, sizes, steps, strict=True) for t in _taps(kind, *axis)]
    if x.ndim == 3:
        tables = [*_taps("nearest", 1, 1, 1.0), *tables]
    h, w = (1, *sides)[-2:]
    rows, columns = (1, *sizes)[-2:]
    n, c = x.shape[:2]
    if x.ndim == 4 and is_channels_last(x):
        y = call(INTERPOLATE, (channels_last(x), *tables), ((n, *sizes, c),),
                 (n, h, w, c, rows, columns))
        return from_channels_last(y)
    return call(INTERPOLATE, (x, *tables), ((n, c, *sizes),), (n * c, h, w, 1, rows, columns))


def _target(
    sides: tuple[int, ...], size: Any, factor: Any, recompute: bool
) -> tuple[list[int], list[float]]:
    """Sizes after, and how many pixels before lie in one after, of each axis."""
    if (size is None) == (factor is None):
        raise ValueError(f"interpolate: got size {size} and scale_factor {factor}; need one of "
                         "them")
    given = size if factor is None else factor
    several = isinstance(given, Sequence) and not isinstance(given, str)
    each = list(given) if several else [given] * len(sides)
    if len(each) != len(sides):
        raise ShapeError(f"interpolate: size: got {given}; need one number, or {len(sides)}")
    if factor is None:
        sizes = [need_int("interpolate", "size", s) for s in each]
    else:
        each = [need_number("interpolate", "scale_factor", f) for f in each]
        if not all(math.isfinite(f) and f > 0 for f in each):
            raise ShapeError(f"interpolate: scale_factor: got {factor}; need positive numbers")
        sizes = [math.floor(s * f) for s, f in zip(sides, each, strict=True)]
    if min(sizes) < 1 or max(*sizes, *sides) > 2**24:
        raise ShapeError(f"interpolate: size: got {tuple(sizes)}; need 1 to 2**24")
    if factor is not None and not recompute:
        return sizes, [1 / f for f in each]
    return sizes, [s / t for s, t in zip(sides, sizes, strict=True)]


@lru_cache(maxsize=256)
def _taps(kind: str, n: int, m: int, step: float) -> tuple[Tensor, Tensor]:
    """For each of m pixels after: the two of n before (2, m), and the weight of the second (m)."""
    at = np.arange(m, dtype=np.float32)
    if kind == "nearest":
        place = np.floor(at * np.float32(step))
    elif kind == "corners":
        place = at * np.float32((n - 1) / (m - 1) if m > 1 else 0)
    else:
        place = np.maximum((at + np.float32(0.5)) * np.float32(step) - np.float32(0.5), 0)
    first = np.minimum(place.astype(np.int64), n - 1)
    second = np.minimum(first + 1, n - 1)
    weight = np.where(second > first, place - first, 0).astype(np.float32)
    return _core.tensor(np.stack([first, second])), _core.tensor(weight)


def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """(..., C r r, H, W) -> (..., C, H r, W r): channels become pixels, r = upscale_factor.

    Source: Shi et al., "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network", CVPR 2016.

    Example:
        >>> import fastnn, fastnn.nn.functional as F
        >>> F.pixel_shuffle(fastnn.tensor([[[1.0]], [[2.0]], [[3.0]], [[4.0]]]), 2).tolist()
        [[[1.0, 2.0], [3.0, 4.0]]]
    """
    x, r = as_tensor(input), need_int("pixel_shuffle", "upscale_factor", upscale_factor)
    if x.ndim < 3 or r < 1 or x.shape[-3] % (r * r):
        raise ShapeError(f"pixel_shuffle: input: got shape {x.shape} and upscale_factor {r}; need "
                         "(..., C, H, W) with C a multiple of its square")
    *lead, c, h, w = x.shape
    n, k = math.prod(lead), c // (r * r)
    y = x.reshape(n, k, r, r, h, w).permute(0, 1, 4, 2, 5, 3)
    return y.reshape(*lead, k, h * r, w * r)


def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """(..., C, H r, W r) -> (..., C r r, H, W): pixels become channels, r = downscale_factor.

    Example:
        >>> import fastnn, fastnn.nn.functional as F
        >>> F.pixel_unshuffle(fastnn.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2).tolist()
        [[[1.0]], [[2.0]], [[3.0]], [[4.0]]]
    """
    x, r = as_tensor(input), need_int("pixel_unshuffle", "downscale_factor", downscale_factor)
    if x.ndim < 3 or r < 1 or x.shape[-1] % r or x.shape[-2] % r:
        raise ShapeError(f"pixel_unshuffle: input: got shape {x.shape} and downscale_factor {r}; "
                         "need (..., C, H, W) with H and W multiples of it")
    *lead, c, h, w = x.shape
    y = x.reshape(math.prod(lead), c, h // r, r, w // r, r).permute(0, 1, 3, 5, 2, 4)
    return y.reshape(*lead, c * r * r, h // r, w // r)


# ---------------------------------------------------------------- sliding windows

def unfold(
    input: Any, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1
) -> Tensor:
    """The windows of each image as columns.

    Shapes: (N, C, H, W) -> (N, C KH KW, windows), or both without N. Sizes are integers or pairs
    (down, across); windows go row by row.

    Errors: ShapeError where no window fits.

    Example:
        >>> import fastnn, fastnn.nn.functional as F
        >>> F.unfold(fastnn.arange(4.0).reshape(1, 1, 2, 2), (1, 2)).tolist()
        [[[0.0, 2.0], [1.0, 3.0]]]
    """
    x = as_tensor(input)
    need_float32("unfold", input=x)
    if x.ndim not in (3, 4):
        raise ShapeError(f"unfold: input: got shape {x.shape}; need (N, C, H, W) or (C, H, W)")
    *n, c, h, w = x.shape
    kernel, dim = _windows("unfold", (h, w), kernel_size, dilation, padding, stride)
    shape = (*n, c * kernel[0] * kernel[1], dim[4] * dim[5])
    return call(UNFOLD, (x,), (shape,), (math.prod(n) * c, *dim))


def fold(
    input: Any, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0,
    stride: Pair = 1,
) -> Tensor:
    """Images of output_size in which windows, given as columns, add up: the transpose of unfold.

    Shapes: (N, C KH KW, windows) -> (N, C, *output_size), or both without N.

    Errors: ShapeError where input does not have the rows and columns of such windows.

    Example:
        >>> import fastnn, fastnn.nn.functional as F
        >>> columns = F.unfold(fastnn.ones(1, 1, 1, 3), (1, 2))
        >>> F.fold(columns, (1, 3), (1, 2)).tolist()
        [[[[1.0, 2.0, 1.0]]]]
    """
    x = as_tensor(input)
    need_float32("fold", input=x)
    size = sizes("fold", "output_size", output_size, 2, 1)
    (kh, kw), dim = _windows("fold", size, kernel_size, dilation, padding, stride)
    columns = dim[4] * dim[5]
    if x.ndim not in (2, 3) or x.shape[-2] % (kh * kw) or x.shape[-1] != columns:
        raise ShapeError(f"fold: input: got shape {x.shape}; need (N, C * {kh * kw}, {columns}) "
                         f"for output_size {size}")
    *n, k, _ = x.shape
    c = k // (kh * kw)
    return call(FOLD, (x,), ((*n, c, *size),), (math.prod(n) * c, *dim))


def _windows(
    op: str, size: Sequence[int], kernel_size: Pair, dilation: Pair, padding: Pair, stride: Pair
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The window's size, and the sizes of a record from H on."""
    kernel, step = sizes(op, "kernel_size", kernel_size, 2, 1), sizes(op, "stride", stride, 2, 1)
    apart, border = sizes(op, "dilation", dilation, 2, 1), sizes(op, "padding", padding, 2, 0)
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1
           for n, k, s, d, p in zip(size, kernel, step, apart, border, strict=True)]
    if min(out) < 1:
        raise ShapeError(f"{op}: kernel_size: got {kernel} with dilation {apart} and padding "
                         f"{border} for images of {tuple(size)}; need at least one window")
    return kernel, (*size, *kernel, *out, *step, *border, *apart)


# ---------------------------------------------------------------- whole channels

def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels set to zero with probability p, the others divided by 1 - p.

    Shapes: (N, C, ...) as given. inplace is accepted; the result is a new tensor.

    Source: Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.

    Example:
        >>> import fastnn, fastnn.nn.functional as F
        >>> y = F.dropout2d(fastnn.ones(1, 100, 2, 2))
        >>> sorted({tuple(c.flatten().tolist()) for c in y[0]})
        [(0.0, 0.0, 0.0, 0.0), (2.0, 2.0, 2.0, 2.0)]
    """
    return _drop_channels("dropout2d", input, p, training)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout2d` for (N, C, L), or (C, L).

    Example:
        >>> import fastnn, fastnn.nn.functional as F
        >>> F.dropout1d(fastnn.ones(3, 2), training=False).tolist()
        [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    x = as_tensor(input)
    if x.ndim not in (2, 3):
        raise ShapeError(f"dropout1d: input: got shape {x.shape}; need (N, C, L) or (C, L)")
    if x.ndim == 2:
        x = _core.view(x, (1, *x.shape))
        return _core.view(_drop_channels("dropout1d", x, p, training), x.shape[1:])
    return _drop_channels("dropout1d", x, p, training)


def _drop_channels(name: str, input: Any, p: float, training: bool) -> Tensor:
    x = as_tensor(input)
    if x.ndim < 2:
        raise ShapeError(f"{name}: input: got shape {x.shape}; need (N, C, ...)")
    p = need_probability(name, p)
    if not training or p == 0.0:
        return x
    return x * dropout(full((*x.shape[:2], *[1] * (x.ndim - 2)), 1.0), p, True)


# ---------------------------------------------------------------- augmentation


def warp(
    x: Tensor, maps: np.ndarray, size: tuple[int, int], *, boxes: np.ndarray | None = None,
    nearest: bool = False, border: bool = False, fill: float = 0.0,
) -> Tensor:
    """Images whose pixel (row i, column j) is x at column a j + b i + e and row d j + f i + g.

    x: (N, C, H, W) float32; maps: (N, 6), a b e d f g; size: rows and columns of the result; boxes:
    (N, 4), the first and last column and row of each image that count, the whole image if None.
    Between pixels four are interpolated, or the nearest is taken. Beyond the box is `fill`, or with
    `border` the nearest pixel of the box.
    """
    n, c, h, w = x.shape
    if max(h, w, *size) > 2**24 or h * w >= 2**31:      # places are float32, addresses int32
        raise LimitError(f"warp: got images of {h} x {w} pixels for {size[0]} x {size[1]}; "
                         "need at most 2**24 a side and 2**31 - 1 in all")
    if boxes is None:
        boxes = np.tile([0, w - 1, 0, h - 1], (n, 1))
    tables = [as_tensor(np.ascontiguousarray(a, np.float32)) for a in (maps, boxes)]
    return call(WARP, (x, *tables), ((n, c, *size),),
                (n, c, h, w, *size, int(nearest), int(border)), (fill,))


def paste(x: Tensor, other: Tensor, boxes: np.ndarray) -> Tensor:
    """x with other inside the box of each image.

    x: (N, C, H, W); other: the same shape, or one number; boxes: (N, 4) integers, the first column
    and the one after the last, the first row and the one after the last; no area = nothing.
    """
    n, c, h, w = x.shape
    table = as_tensor(np.ascontiguousarray(boxes, np.int64))
    return call(PASTE, (x, other, table), (x.shape,), (n, c, h, w, int(other.numel() == 1)))
