"""Pooling of images (N, C, H, W) and sequences (N, C, L), computed channels last."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .._core import (
    DTYPES,
    OPS,
    Tensor,
    all_float32,
    as_tensor,
    call,
    channels_last,
    from_channels_last,
    tensor,
    view,
)
from ..errors import LimitError, ShapeError
from .checks import need_float32, need_int
from .conv import sizes
from .indexing import index_select
from .reduce import max as largest

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d",
]

MAX_POOL, AVG_POOL = OPS["max_pool2d"], OPS["avg_pool2d"]
_PADDED, _ADAPTIVE = 1, 2
_MAX_DTYPES = (DTYPES["float32"], DTYPES["uint8"])
_MOST_TAPS = 256                # of a maximum: their numbers are bytes


def _image(op: str, input: Any, rank: int) -> Tensor:
    """A float32 tensor (N, C, *size)."""
    x = input
    if not all_float32(x):
        x = as_tensor(x)
        need_float32(op, input=x)
    if x.ndim != rank + 2 or 0 in x.shape[1:]:
        raise ShapeError(f"{op}: input: got shape {x.shape}; need {rank + 2} axes, (N, C, *size), "
                         "none but the first of size 0")
    return x


def _geometry(
    op: str, size: tuple[int, ...], kernel: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool,
) -> list[tuple[int, ...]]:
    """kernel, outputs, stride, padding, dilation along each axis."""
    rank, ceil_mode = len(size), bool(ceil_mode)
    taps = sizes(op, "kernel_size", kernel, rank, 1)
    steps = taps if stride is None else sizes(op, "stride", stride, rank, 1)
    pad = sizes(op, "padding", padding, rank, 0)
    gaps = sizes(op, "dilation", dilation, rank, 1)
    out = []
    for n, k, s, p, d in zip(size, taps, steps, pad, gaps, strict=True):
        if 2 * p > k:
            raise ShapeError(f"{op}: padding: got {pad}; need half the kernel size {taps} at most")
        room = n + 2 * p - d * (k - 1) - 1
        if room < 0:
            raise ShapeError(f"{op}: input: got {size} and padding {pad}; need a padded size of "
                             f"{d * (k - 1) + 1} at least for kernel {taps} with dilation {gaps}")
        windows = (room + (s - 1 if ceil_mode else 0)) // s + 1
        out.append(windows - (ceil_mode and (windows - 1) * s >= n + p))
    return [taps, tuple(out), steps, pad, gaps]


def _pool(
    op: int, x: Tensor, geometry: list[tuple[int, ...]], flags: int = 0, divisor: int = 0
) -> Tensor:
    """One record over x (N, C, *size), whose windows are known."""
    inner = channels_last(x)
    n, *size, channels = inner.shape
    out = geometry[1]
    if len(size) == 1:
        inner = view(inner, (n, 1, *size, channels))
        fill = (1, 1, 1, 0, 1)
        geometry = [(one, *g) for one, g in zip(fill, geometry, strict=True)]
        size = [1, *size]
    taps, outputs, stride, pad, dilation = geometry
    dim = (n, *size, channels, *taps, *outputs, *stride, *pad, *dilation, flags, divisor)
    shape = (n, *outputs, channels)
    if op == MAX_POOL:
        y = call(op, (inner,), (shape, shape), dim, (), 1, _MAX_DTYPES)
    else:
        y = call(op, (inner,), (shape,), dim)
    return from_channels_last(y if len(out) == 2 else view(y, (n, *out, channels)))


def _max_pool(
    op: str, rank: int, input: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool,
) -> Tensor:
    x = _image(op, input, rank)
    geometry = _geometry(op, x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    taps = geometry[0]
    if max(taps) > _MOST_TAPS:
        raise LimitError(f"{op}: kernel_size: got {taps}; need at most {_MOST_TAPS} along an axis")
    if taps[0] * taps[-1] <= _MOST_TAPS or rank == 1:
        return _pool(MAX_POOL, x, geometry)
    across: list[tuple[int, ...]] = [
        (one, g[1]) for one, g in zip((1, x.shape[2], 1, 0, 1), geometry, strict=True)]
    down: list[tuple[int, ...]] = [
        (g[0], one)
        for one, g in zip((1, geometry[1][1], 1, 0, 1), geometry, strict=True)]
    return _pool(MAX_POOL, _pool(MAX_POOL, x, across), down)


def max_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The maximum of each window; the gradient goes to its first pixel of that value.

    Shapes: (N, C, H, W) to (N, C, OH, OW) with OH = (H + 2 padding - dilation (KH - 1) - 1) //
    stride + 1, rounded up with ceil_mode. Every size is an integer or a pair (down, across);
    stride None means kernel_size.

    Errors: ShapeError for padding beyond half the kernel or a window larger than the padded image;
    LimitError for kernels beyond 256 pixels along an axis.

    Example:
        >>> import fastnn
        >>> x = fastnn.arange(16.0).reshape(1, 1, 4, 4)
        >>> fastnn.nn.functional.max_pool2d(x, 2).tolist()
        [[[[5.0, 7.0], [13.0, 15.0]]]]
    """
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """max_pool2d of sequences: (N, C, L) to (N, C, OL).

    Errors: as max_pool2d.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([[[1.0, 5.0, 2.0, 3.0]]])
        >>> fastnn.nn.functional.max_pool1d(x, 2, stride=1).tolist()
        [[[5.0, 5.0, 3.0]]]
    """
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode)


def _avg_pool(
    op: str, rank: int, input: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
    count_include_pad: bool, divisor: int = 0,
) -> Tensor:
    x = _image(op, input, rank)
    geometry = _geometry(op, x.shape[2:], kernel_size, stride, padding, 1, ceil_mode)
    return _pool(AVG_POOL, x, geometry, _PADDED if count_include_pad else 0, divisor)


def avg_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window, padding counted as zeros or, without count_include_pad, not at all.

    Shapes: as max_pool2d. divisor_override: what to divide sums by instead.

    Errors: as max_pool2d; ValueError for a divisor below 1.

    Example:
        >>> import fastnn
        >>> x = fastnn.arange(16.0).reshape(1, 1, 4, 4)
        >>> fastnn.nn.functional.avg_pool2d(x, 2).tolist()
        [[[[2.5, 4.5], [10.5, 12.5]]]]
    """
    divisor = 0
    if divisor_override is not None:
        divisor = need_int("avg_pool2d", "divisor_override", divisor_override)
        if not 1 <= divisor < 2**31:
            raise ValueError(f"avg_pool2d: divisor_override: got {divisor}; need 1 to {2**31 - 1}")
    return _avg_pool("avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode,
                     count_include_pad, divisor)


def avg_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """avg_pool2d of sequences: (N, C, L) to (N, C, OL).

    Errors: as avg_pool2d.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([[[1.0, 5.0, 2.0, 4.0]]])
        >>> fastnn.nn.functional.avg_pool1d(x, 2).tolist()
        [[[3.0, 3.0]]]
    """
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode,
                     count_include_pad)


def _adaptive(
    op: str, rank: int, input: Any, output_size: Any
) -> tuple[Tensor, tuple[int, ...], tuple[int, ...]]:
    """The image, and its sizes before and after."""
    x = _image(op, input, rank)
    size = x.shape[2:]
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * rank
    if len(given) != rank:
        raise ShapeError(f"{op}: output_size: got {output_size}; need one integer or {rank}")
    asked = tuple(n if o is None else o for n, o in zip(size, given, strict=True))
    return x, size, sizes(op, "output_size", asked, rank, 1)


def _adaptive_avg(op: str, rank: int, input: Any, output_size: Any) -> Tensor:
    x, _, out = _adaptive(op, rank, input, output_size)
    one, none = (1,) * rank, (0,) * rank
    return _pool(AVG_POOL, x, [one, out, one, none, one], _ADAPTIVE)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor:
    """Means of windows that share the image evenly, however large it is; 1 is the global mean.

    Shapes: (N, C, H, W) to (N, C, *output_size); None in output_size keeps that axis. Window i
    covers the rows floor(i H / OH) to ceil((i + 1) H / OH) - 1.

    Errors: ShapeError for sizes below 1.

    Example:
        >>> import fastnn
        >>> x = fastnn.arange(16.0).reshape(1, 1, 4, 4)
        >>> fastnn.nn.functional.adaptive_avg_pool2d(x, 1).tolist()
        [[[[7.5]]]]
    """
    return _adaptive_avg("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Tensor:
    """adaptive_avg_pool2d of sequences: (N, C, L) to (N, C, output_size).

    Errors: as adaptive_avg_pool2d.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([[[1.0, 5.0, 2.0]]])
        >>> fastnn.nn.functional.adaptive_avg_pool1d(x, 2).tolist()
        [[[3.0, 3.5]]]
    """
    return _adaptive_avg("adaptive_avg_pool1d", 1, input, output_size)


@lru_cache(maxsize=256)
def _shares(n: int, m: int) -> tuple[Tensor, int]:
    """The pixels of m windows that share n evenly, and how many each has: the last may repeat."""
    first, last = np.arange(m) * n // m, -(-np.arange(1, m + 1) * n // m) - 1
    longest = int((last - first).max()) + 1
    places = np.minimum(first[:, None] + np.arange(longest), last[:, None])
    return tensor(places.reshape(-1)), longest


def _adaptive_max(op: str, rank: int, input: Any, output_size: Any) -> Tensor:
    x, size, out = _adaptive(op, rank, input, output_size)
    if max(out) > 2**24:
        raise ShapeError(f"{op}: output_size: got {output_size}; need 1 to 2**24")
    taps = tuple(n // m for n, m in zip(size, out, strict=True))
    if all(n % m == 0 for n, m in zip(size, out, strict=True)) and max(taps) <= _MOST_TAPS:
        return _max_pool(op, rank, x, taps, None, 0, 1, False)
    for axis in range(rank + 1, 1, -1):     # across first: the first of equal ones in reading order
        places, each = _shares(size[axis - 2], out[axis - 2])
        x = index_select(x, axis, places)
        x = x.reshape(*x.shape[:axis], out[axis - 2], each, *x.shape[axis + 1:])
        x = largest(x, axis + 1)[0]
    return x


def adaptive_max_pool2d(input: Any, output_size: Any) -> Tensor:
    """Maxima of the windows of `adaptive_avg_pool2d`; 1 is the maximum of the image.

    Shapes: (N, C, H, W) to (N, C, *output_size); None in output_size keeps that axis.

    Errors: ShapeError for sizes below 1.

    Example:
        >>> import fastnn
        >>> x = fastnn.arange(16.0).reshape(1, 1, 4, 4)
        >>> fastnn.nn.functional.adaptive_max_pool2d(x, (2, 1)).tolist()
        [[[[7.0], [15.0]]]]
    """
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size)


def adaptive_max_pool1d(input: Any, output_size: Any) -> Tensor:
    """adaptive_max_pool2d of sequences: (N, C, L) to (N, C, output_size).

    Errors: as adaptive_max_pool2d.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([[[5.0, 1.0, 2.0]]])
        >>> fastnn.nn.functional.adaptive_max_pool1d(x, 2).tolist()
        [[[5.0, 2.0]]]
    """
    return _adaptive_max("adaptive_max_pool1d", 1, input, output_size)
