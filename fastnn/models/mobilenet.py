"""MobileNetV2: depthwise convolutions between narrow layers."""

from __future__ import annotations

from typing import Any

from .. import nn
from .._core import Tensor
from ..nn import init

STAGES = (                              # expansion, channels, blocks, stride of the first
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _eighths(channels: float) -> int:
    """The multiple of 8 next to channels, at most a tenth below."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


def _convolution(a: int, b: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    border = (kernel - 1) // 2
    return nn.Sequential(nn.Conv2d(a, b, kernel, stride, border, groups=groups, bias=False),
                         nn.BatchNorm2d(b), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Widen by 1 x 1, convolve each channel by 3 x 3, narrow by 1 x 1 without an activation."""

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: int) -> None:
        super().__init__()
        hidden = inp * expand_ratio
        layers: list[nn.Module] = [] if expand_ratio == 1 else [_convolution(inp, hidden, 1)]
        layers += [_convolution(hidden, hidden, 3, stride, hidden),
                   nn.Conv2d(hidden, oup, 1, bias=False), nn.BatchNorm2d(oup)]
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and inp == oup

    def forward(self, x: Any) -> Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2; width_mult scales its channels. Parameters have torchvision's names.

    Shapes: (N, in_channels, H, W) -> (N, num_classes) logits.

    Source: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018.

    Example:
        >>> import fastnn
        >>> net = fastnn.models.mobilenet_v2(num_classes=10, width_mult=0.25)
        >>> net(fastnn.zeros(1, 3, 64, 64)).shape
        (1, 10)
    """

    def __init__(self, num_classes: int = 1000, width_mult: float = 1.0, dropout: float = 0.2, *,
                 in_channels: int = 3) -> None:
        super().__init__()
        channels = _eighths(32 * width_mult)
        layers: list[nn.Module] = [_convolution(in_channels, channels, 3, 2)]
        for expand, c, blocks, stride in STAGES:
            for i in range(blocks):
                out = _eighths(c * width_mult)
                layers.append(InvertedResidual(channels, out, stride if i == 0 else 1, expand))
                channels = out
        last = _eighths(1280 * max(1.0, width_mult))
        self.features = nn.Sequential(*layers, _convolution(channels, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                init.kaiming_normal_(m.weight, mode="fan_out")
            elif isinstance(m, nn.Linear):
                init.normal_(m.weight, 0, 0.01)
            if isinstance(m, nn.Linear) and m.bias is not None:
                init.zeros_(m.bias)

    def forward(self, x: Any) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def mobilenet_v2(**options: Any) -> MobileNetV2:
    """`MobileNetV2` under torchvision's name."""
    return MobileNetV2(**options)
