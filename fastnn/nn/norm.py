"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _core, ops
from .._core import DTYPES, Tensor
from ..errors import ShapeError
from ..ops.checks import need_int, need_number, need_sizes
from ..ops.norm import _batch_norm
from . import init
from .module import Module
from .parameter import Buffer, Parameter


def _affine(module: Module, shape: tuple[int, ...], weight: bool, bias: bool, dtype: Any) -> None:
    """Register weight and bias, or None in their place."""
    for name, wanted in (("weight", weight), ("bias", bias)):
        module.register_parameter(name, Parameter(_core.empty(shape, dtype)) if wanted else None)


class _Affine(Module):
    """weight starts at 1, bias at 0."""

    weight: Parameter | None
    bias: Parameter | None

    def reset_parameters(self) -> None:
        """Start anew: no scaling, no offset."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class LayerNorm(_Affine):
    """(x - mean) / sqrt(variance + eps) · weight + bias over the last axes.

    Shapes: (..., *normalized_shape) -> the same; weight and bias normalized_shape.

    Source: Ba, Kiros and Hinton, "Layer normalization", 2016.

    Example:
        >>> import fastnn
        >>> fastnn.nn.LayerNorm(2, eps=0.0)(fastnn.tensor([1.0, 3.0])).tolist()
        [-1.0, 1.0]
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-05,
        elementwise_affine: bool = True, bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:
        super().__init__()
        _core.check_device(device)
        self.normalized_shape = need_sizes("layer_norm", "normalized_shape", normalized_shape)
        self.eps = need_number("layer_norm", "eps", eps)
        self.elementwise_affine = elementwise_affine
        _affine(self, self.normalized_shape, elementwise_affine, elementwise_affine and bias, dtype)
        self.reset_parameters()

    def forward(self, input: Any) -> Tensor:
        return ops.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (f"{self.normalized_shape}, eps={self.eps}, "
                f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}")


class RMSNorm(_Affine):
    """x / sqrt(mean of x² + eps) · weight over the last axes; eps None = 2⁻²³.

    Shapes: (..., *normalized_shape) -> the same; weight normalized_shape.

    Source: Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019.

    Example:
        >>> import fastnn
        >>> fastnn.nn.RMSNorm(2, eps=0.0)(fastnn.tensor([2.0, -2.0])).tolist()
        [1.0, -1.0]
    """

    bias = None

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None,
        elementwise_affine: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:
        super().__init__()
        _core.check_device(device)
        self.normalized_shape = need_sizes("rms_norm", "normalized_shape", normalized_shape)
        self.eps = None if eps is None else need_number("rms_norm", "eps", eps)
        self.elementwise_affine = elementwise_affine
        self.weight = (Parameter(_core.empty(self.normalized_shape, dtype))
                       if elementwise_affine else None)
        self.reset_parameters()

    def forward(self, input: Any) -> Tensor:
        return ops.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (f"{self.normalized_shape}, eps={self.eps}, "
                f"elementwise_affine={self.elementwise_affine}")


class GroupNorm(_Affine):
    """Normalises each group of neighbouring channels of each item.

    Shapes: (n, num_channels, ...) -> the same; weight and bias (num_channels).

    Errors: ValueError where num_channels is not a multiple of num_groups.

    Source: Wu and He, "Group normalization", ECCV 2018.

    Example:
        >>> import fastnn
        >>> fastnn.nn.GroupNorm(2, 6)(fastnn.ones(4, 6, 3, 3)).shape
        (4, 6, 3, 3)
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-05, affine: bool = True,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:
        super().__init__()
        _core.check_device(device)
        num_groups = need_int("group_norm", "num_groups", num_groups)
        num_channels = need_int("group_norm", "num_channels", num_channels)
        if num_groups < 1 or num_channels < 0 or num_channels % num_groups:
            raise ValueError(f"group_norm: num_groups: got {num_groups} for {num_channels} "
                             "channels; need a divisor of the channels")
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = need_number("group_norm", "eps", eps), affine
        _affine(self, (num_channels,), affine, affine and bias, dtype)
        self.reset_parameters()

    def forward(self, input: Any) -> Tensor:
        return ops.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
                f"bias={self.bias is not None}")


# ---------------------------------------------------------------- with running statistics

class _Running(_Affine):
    """What batch and instance normalisation share: weight, bias and running statistics."""

    running_mean: Buffer | None
    running_var: Buffer | None
    num_batches_tracked: Buffer | None
    ranks: tuple[int, ...]          # of an input
    kind: str

    def __init__(
        self, num_features: int, eps: float = 1e-05, momentum: float | None = 0.1,
        affine: bool = True, track_running_stats: bool = True, device: Any = None,
        dtype: Any = None, *, bias: bool = True,
    ) -> None:
        super().__init__()
        _core.check_device(device)
        num_features = need_int(self.kind, "num_features", num_features)
        if num_features < 0:
            raise ShapeError(f"{self.kind}: num_features: got {num_features}; need 0 or more")
        self.num_features, self.eps = num_features, need_number(self.kind, "eps", eps)
        self.momentum = None if momentum is None else need_number(self.kind, "momentum", momentum)
        self.affine, self.track_running_stats = affine, track_running_stats
        _affine(self, (num_features,), affine, affine and bias, dtype)
        for name, shape, kind in (("running_mean", (num_features,), dtype),
                                  ("running_var", (num_features,), dtype),
                                  ("num_batches_tracked", (), DTYPES["int64"])):
            self.register_buffer(name, _core.empty(shape, kind) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the batches seen: mean 0, variance 1."""
        if self.running_mean is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1.0)             # type: ignore[union-attr]
            self.num_batches_tracked.zero_()        # type: ignore[union-attr]

    def reset_parameters(self) -> None:
        """Start anew: no scaling, no offset, no batches seen."""
        super().reset_parameters()
        self.reset_running_stats()

    def _check(self, input: Any) -> Tensor:
        x = _core.as_tensor(input)
        batched = x.ndim == max(self.ranks)
        c = x.shape[1 if batched or self.kind == "batch_norm" else 0] if x.ndim > 1 else None
        if x.ndim not in self.ranks or c != self.num_features:
            need = " or ".join(_names(rank, max(self.ranks), self.num_features, self.kind)
                               for rank in self.ranks)
            raise ShapeError(f"{self.kind}: input: got shape {x.shape}; need {need}")
        return x

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
                f"affine={self.affine}, bias={self.bias is not None}, "
                f"track_running_stats={self.track_running_stats}")


def _names(rank: int, most: int, c: int, kind: str) -> str:
    """(n, 8, h, w)"""
    place = ["h", "w"] if most == 4 else ["l"]
    batch = rank == most or kind == "batch_norm"
    return "(" + ", ".join((["n"] if batch else []) + [str(c)] + place[: rank - 1 - batch]) + ")"


class _BatchNorm(_Running):
    kind = "batch_norm"

    def forward(self, input: Any) -> Tensor:
        x = self._check(input)
        tracks = self.training and self.track_running_stats
        mean = self.running_mean if tracks or not self.training else None
        var = self.running_var if tracks or not self.training else None
        return _batch_norm(x, mean, var, self.num_batches_tracked if tracks else None, self.weight,
                           self.bias, self.training or self.running_mean is None, self.momentum,
                           self.eps)


class BatchNorm1d(_BatchNorm):
    """Normalises each channel by its mean and variance over the batch; evaluated, by running ones.

    Shapes: (n, num_features) or (n, num_features, l) -> the same. momentum=None averages all
    batches seen; track_running_stats=False always takes the batch's own statistics.

    Errors: ShapeError for one value per channel in training.

    Source: Ioffe and Szegedy, "Batch normalization", ICML 2015.

    Example:
        >>> import fastnn
        >>> bn = fastnn.nn.BatchNorm1d(1, eps=0.0)
        >>> bn(fastnn.tensor([[1.0], [3.0]])).tolist(), bn.running_mean.tolist()
        ([[-1.0], [1.0]], [0.20000000298023224])
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """BatchNorm1d for images: (n, num_features, h, w) -> the same.

    Example:
        >>> import fastnn
        >>> fastnn.nn.BatchNorm2d(3)(fastnn.ones(2, 3, 4, 4)).shape
        (2, 3, 4, 4)
    """

    ranks = (4,)


class _InstanceNorm(_Running):
    kind = "instance_norm"

    def __init__(
        self, num_features: int, eps: float = 1e-05, momentum: float | None = 0.1,
        affine: bool = False, track_running_stats: bool = False, device: Any = None,
        dtype: Any = None, *, bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype,
                         bias=bias)

    def forward(self, input: Any) -> Tensor:
        x = self._check(input)
        alone = x.ndim < max(self.ranks)
        y = ops.instance_norm(
            _core.view(x, (1, *x.shape)) if alone else x, self.running_mean, self.running_var,
            self.weight, self.bias, self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum, self.eps)
        return _core.view(y, x.shape) if alone else y


class InstanceNorm1d(_InstanceNorm):
    """Normalises each channel of each item by its own mean and variance.

    Shapes: (n, num_features, l) or (num_features, l) -> the same.

    Errors: ShapeError where a channel of an item has one value.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance normalization", 2016.

    Example:
        >>> import fastnn
        >>> fastnn.nn.InstanceNorm1d(1, eps=0.0)(fastnn.tensor([[1.0, 3.0]])).tolist()
        [[-1.0, 1.0]]
    """

    ranks = (3, 2)


class InstanceNorm2d(_InstanceNorm):
    """InstanceNorm1d for images: (n, num_features, h, w) or (num_features, h, w) -> the same."""

    ranks = (4, 3)
