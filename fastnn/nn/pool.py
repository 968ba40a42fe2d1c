"""Layers that pool sequences and images."""

from __future__ import annotations

from typing import Any

from .._core import Tensor
from ..ops import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    max_pool1d,
    max_pool2d,
)
from .module import Module


class _MaxPool(Module):
    function: Any = None

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, input: Any) -> Tensor:
        return type(self).function(input, self.kernel_size, self.stride, self.padding,
                                   self.dilation, self.ceil_mode)

    def extra_repr(self) -> str:
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
                f"dilation={self.dilation}, ceil_mode={self.ceil_mode}")


class MaxPool1d(_MaxPool):
    """The maximum of each window of a sequence: (N, C, L) to (N, C, OL).

    Example:
        >>> import fastnn
        >>> fastnn.nn.MaxPool1d(2)(fastnn.ones(2, 3, 8)).shape
        (2, 3, 4)
    """

    function = staticmethod(max_pool1d)


class MaxPool2d(_MaxPool):
    """The maximum of each window of an image: (N, C, H, W) to (N, C, OH, OW).

    Example:
        >>> import fastnn
        >>> fastnn.nn.MaxPool2d(3, stride=2, padding=1)(fastnn.ones(2, 3, 8, 8)).shape
        (2, 3, 4, 4)
    """

    function = staticmethod(max_pool2d)


class _AvgPool(Module):
    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad = count_include_pad

    def _windows(self) -> tuple[Any, Any, Any, bool, bool]:
        return (self.kernel_size, self.stride, self.padding, self.ceil_mode,
                self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The mean of each window of a sequence: (N, C, L) to (N, C, OL).

    Example:
        >>> import fastnn
        >>> fastnn.nn.AvgPool1d(2)(fastnn.ones(2, 3, 8)).shape
        (2, 3, 4)
    """

    def forward(self, input: Any) -> Tensor:
        return avg_pool1d(input, *self._windows())


class AvgPool2d(_AvgPool):
    """The mean of each window of an image: (N, C, H, W) to (N, C, OH, OW).

    Example:
        >>> import fastnn
        >>> fastnn.nn.AvgPool2d(2)(fastnn.ones(2, 3, 8, 8)).shape
        (2, 3, 4, 4)
    """

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def forward(self, input: Any) -> Tensor:
        return avg_pool2d(input, *self._windows(), self.divisor_override)


class _AdaptivePool(Module):
    function: Any = None

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Any) -> Tensor:
        return type(self).function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptivePool):
    """Means of windows that share a sequence evenly: (N, C, L) to (N, C, output_size).

    Example:
        >>> import fastnn
        >>> fastnn.nn.AdaptiveAvgPool1d(3)(fastnn.ones(2, 3, 8)).shape
        (2, 3, 3)
    """

    function = staticmethod(adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptivePool):
    """Means of windows that share an image evenly: (N, C, H, W) to (N, C, *output_size).

    Example:
        >>> import fastnn
        >>> fastnn.nn.AdaptiveAvgPool2d((1, 2))(fastnn.ones(2, 3, 8, 8)).shape
        (2, 3, 1, 2)
    """

    function = staticmethod(adaptive_avg_pool2d)


class AdaptiveMaxPool1d(_AdaptivePool):
    """Maxima of windows that share a sequence evenly: (N, C, L) to (N, C, output_size).

    Example:
        >>> import fastnn
        >>> fastnn.nn.AdaptiveMaxPool1d(3)(fastnn.ones(2, 3, 8)).shape
        (2, 3, 3)
    """

    function = staticmethod(adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptivePool):
    """Maxima of windows that share an image evenly: (N, C, H, W) to (N, C, *output_size).

    Example:
        >>> import fastnn
        >>> fastnn.nn.AdaptiveMaxPool2d((1, 2))(fastnn.ones(2, 3, 8, 8)).shape
        (2, 3, 1, 2)
    """

    function = staticmethod(adaptive_max_pool2d)
