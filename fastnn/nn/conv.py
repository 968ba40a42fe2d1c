"""Layers that convolve sequences and images."""

from __future__ import annotations

import math
from typing import Any

from .. import _core
from .._core import Tensor
from ..errors import ShapeError
from ..ops import conv1d, conv2d, conv_transpose1d, conv_transpose2d, pad
from ..ops.checks import need_int
from ..ops.conv import sizes
from . import init
from .module import Module
from .parameter import Parameter

_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """What the layers of any number of axes have in common."""

    weight: Parameter
    bias: Parameter | None
    rank = 0

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
        padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True,
        padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:
        super().__init__()
        _core.check_device(device)
        name, rank = type(self).__name__, self.rank
        self.in_channels = need_int(name, "in_channels", in_channels)
        self.out_channels = need_int(name, "out_channels", out_channels)
        self.groups = need_int(name, "groups", groups)
        if min(self.in_channels, self.out_channels) < 1:
            raise ShapeError(f"{name}: channels: got {in_channels} and {out_channels}; need at "
                             "least 1 each")
        if self.groups < 1 or self.in_channels % self.groups or self.out_channels % self.groups:
            raise ShapeError(f"{name}: groups: got {groups}; need a divisor of {in_channels} and "
                             f"{out_channels}")
        if padding_mode not in _MODES:
            raise ValueError(f"{name}: padding_mode: got {padding_mode!r}; need one of {_MODES}")
        self.kernel_size = sizes(name, "kernel_size", kernel_size, rank, 1)
        self.stride = sizes(name, "stride", stride, rank, 1)
        self.dilation = sizes(name, "dilation", dilation, rank, 1)
        self.padding: Any = padding
        if not isinstance(padding, str):
            self.padding = sizes(name, "padding", padding, rank, 0)
        self.padding_mode = padding_mode
        self.weight = Parameter(_core.empty(self._weight_shape(), dtype))
        self.bias = Parameter(_core.empty((self.out_channels,), dtype)) if bias else None
        self.reset_parameters()

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            terms = self.weight.numel() // self.weight.shape[0]
            init.uniform_(self.bias, -1 / math.sqrt(terms), 1 / math.sqrt(terms))

    def forward(self, input: Any) -> Tensor:
        padding: Any = self.padding
        x = input
        if self.padding_mode != "zeros":
            x, padding = pad(x, self._around(), self.padding_mode), 0
        conv = conv1d if self.rank == 1 else conv2d
        return conv(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _around(self) -> tuple[int, ...]:
        """The padding as `pad` wants it: last axis first, in front and behind."""
        both: list[tuple[int, int]] = []
        for i, (k, d) in enumerate(zip(self.kernel_size, self.dilation, strict=True)):
            total = d * (k - 1) if self.padding == "same" else 0
            p = (total // 2, total - total // 2)
            both.append(p if isinstance(self.padding, str) else (self.padding[i],) * 2)
        return tuple(n for p in reversed(both) for n in p)

    def extra_repr(self) -> str:
        text = (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
                f"stride={self.stride}")
        if self.padding not in ((0,) * self.rank, "valid"):
            text += f", padding={self.padding!r}"
        if self.dilation != (1,) * self.rank:
            text += f", dilation={self.dilation}"
        text += self._more()
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode!r}"
        return text

    def _more(self) -> str:
        """What a layer adds to its description."""
        return ""


class Conv1d(_Conv):
    """Cross-correlation of sequences with a bank of kernels, see `nn.functional.conv1d`.

    Shapes: (N, in_channels, L) to (N, out_channels, OL); weight (out_channels, in_channels /
    groups, kernel_size), bias (out_channels). Both start uniform in ±1/sqrt(terms of an output).

    Source of the initialisation: He et al., "Delving deep into rectifiers", ICCV 2015, with slope
    sqrt(5), as in PyTorch.

    Example:
        >>> import fastnn
        >>> fastnn.nn.Conv1d(3, 4, 5, padding=2)(fastnn.ones(2, 3, 9)).shape
        (2, 4, 9)
    """

    rank = 1


class Conv2d(_Conv):
    """Cross-correlation of images with a bank of kernels, see `nn.functional.conv2d`.

    Shapes: (N, in_channels, H, W) to (N, out_channels, OH, OW); weight (out_channels, in_channels /
    groups, KH, KW), bias (out_channels). Both start uniform in ±1/sqrt(terms of an output).

    Source of the initialisation: He et al., "Delving deep into rectifiers", ICCV 2015, with slope
    sqrt(5), as in PyTorch.

    Example:
        >>> import fastnn
        >>> fastnn.nn.Conv2d(3, 4, 3, stride=2, padding=1)(fastnn.ones(2, 3, 9, 9)).shape
        (2, 4, 5, 5)
    """

    rank = 2


class _ConvTranspose(_Conv):
    """What the transposed layers of any number of axes have in common."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
        padding: Any = 0, output_padding: Any = 0, groups: int = 1, bias: bool = True,
        dilation: Any = 1, padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:
        name = type(self).__name__
        if padding_mode != "zeros":
            raise ValueError(f"{name}: padding_mode: got {padding_mode!r}; need 'zeros'")
        around = sizes(name, "padding", padding, self.rank, 0)
        extra = sizes(name, "output_padding", output_padding, self.rank, 0)
        super().__init__(in_channels, out_channels, kernel_size, stride, around, dilation, groups,
                         bias, padding_mode, device, dtype)
        self.output_padding = extra

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    def forward(self, input: Any, output_size: Any = None) -> Tensor:
        extra = self.output_padding
        if output_size is not None:
            extra = self._padding_for(input.shape[2:], tuple(output_size)[-self.rank:])
        conv = conv_transpose1d if self.rank == 1 else conv_transpose2d
        return conv(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups,
                    self.dilation)

    def _padding_for(self, size: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
        """The output_padding that makes outputs of the wanted size."""
        least = tuple((n - 1) * s + d * (k - 1) + 1 - 2 * p for n, s, p, d, k in zip(
            size, self.stride, self.padding, self.dilation, self.kernel_size, strict=True))
        if len(wanted) != self.rank or not all(
                n <= w < n + s for n, w, s in zip(least, wanted, self.stride, strict=True)):
            most = tuple(n + s - 1 for n, s in zip(least, self.stride, strict=True))
            raise ShapeError(f"{type(self).__name__}: output_size: got {wanted}; need {least} to "
                             f"{most} for input {size}")
        return tuple(w - n for w, n in zip(wanted, least, strict=True))

    def _more(self) -> str:
        extra = self.output_padding
        return f", output_padding={extra}" if extra != (0,) * self.rank else ""


class ConvTranspose1d(_ConvTranspose):
    """The transpose of a `Conv1d` as a linear map, see `nn.functional.conv_transpose1d`.

    Shapes: (N, in_channels, L) to (N, out_channels, OL); weight (in_channels, out_channels /
    groups, kernel_size), bias (out_channels). Both start uniform in ±1/sqrt(kernel_size
    out_channels / groups), as in PyTorch. output_size, as an argument of the call, takes
    output_padding's place.

    Example:
        >>> import fastnn
        >>> fastnn.nn.ConvTranspose1d(3, 4, 2, stride=2)(fastnn.ones(2, 3, 9)).shape
        (2, 4, 18)
    """

    rank = 1


class ConvTranspose2d(_ConvTranspose):
    """The transpose of a `Conv2d` as a linear map, see `nn.functional.conv_transpose2d`.

    Shapes: (N, in_channels, H, W) to (N, out_channels, OH, OW); weight (in_channels, out_channels /
    groups, KH, KW), bias (out_channels). Both start uniform in ±1/sqrt(KH KW out_channels /
    groups), as in PyTorch. output_size, as an argument of the call, takes output_padding's place.

    Example:
        >>> import fastnn
        >>> up = fastnn.nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1)
        >>> up(fastnn.ones(2, 3, 5, 5), output_size=(10, 10)).shape
        (2, 4, 10, 10)
    """

    rank = 2
