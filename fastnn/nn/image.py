"""Layers that resize, pad, fold or drop the planes of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from .._core import Tensor
from ..ops.checks import need_sizes
from .dropout import Dropout
from .module import Module

Pair = int | Sequence[int]


class Upsample(Module):
    """Images resized by `functional.interpolate`."""

    def __init__(
        self, size: Pair | None = None, scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest", align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        self.size, self.scale_factor = size, scale_factor
        self.mode, self.align_corners = mode, align_corners

    def forward(self, input: Any) -> Tensor:
        return ops.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        given = f"scale_factor={self.scale_factor}" if self.size is None else f"size={self.size}"
        return f"{given}, mode={self.mode!r}"


class PixelShuffle(Module):
    """(N, C r r, H, W) -> (N, C, H r, W r)."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Tensor:
        return ops.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """(N, C, H r, W r) -> (N, C r r, H, W)."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Tensor:
        return ops.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class Unfold(Module):
    """The windows of images as columns: (N, C, H, W) -> (N, C KH KW, windows)."""

    def __init__(self, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0,
                 stride: Pair = 1) -> None:
        super().__init__()
        self.windows = (kernel_size, dilation, padding, stride)

    def forward(self, input: Any) -> Tensor:
        return ops.unfold(input, *self.windows)

    def extra_repr(self) -> str:
        return "kernel_size={}, dilation={}, padding={}, stride={}".format(*self.windows)


class Fold(Module):
    """Windows, given as columns, added up: (N, C KH KW, windows) -> (N, C, *output_size)."""

    def __init__(self, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0,
                 stride: Pair = 1) -> None:
        super().__init__()
        self.output_size, self.windows = output_size, (kernel_size, dilation, padding, stride)

    def forward(self, input: Any) -> Tensor:
        return ops.fold(input, self.output_size, *self.windows)

    def extra_repr(self) -> str:
        words = "output_size={}, kernel_size={}, dilation={}, padding={}, stride={}"
        return words.format(self.output_size, *self.windows)


class Dropout1d(Dropout):
    """In training, whole channels of (N, C, L) dropped with probability p."""

    def forward(self, input: Any) -> Tensor:
        return ops.dropout1d(input, self.p, self.training)


class Dropout2d(Dropout):
    """In training, whole channels of (N, C, H, W) dropped with probability p.

    Source: Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.
    """

    def forward(self, input: Any) -> Tensor:
        return ops.dropout2d(input, self.p, self.training)


class _Pad2d(Module):
    mode = "constant"

    def __init__(self, padding: Pair) -> None:
        super().__init__()
        each = need_sizes(type(self).__name__, "padding", padding)
        self.padding = each * 4 if len(each) == 1 else each

    def forward(self, input: Any) -> Tensor:
        return ops.composed.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class ZeroPad2d(_Pad2d):
    """Zeros around images; padding is one number, or (left, right, top, bottom)."""


class ReflectionPad2d(_Pad2d):
    """What lies mirrored at the border, around images."""

    mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """The pixels of the border, around images."""

    mode = "replicate"
