"""VGG: stacks of 3 x 3 convolutions between poolings."""

from __future__ import annotations

from typing import Any

from .. import nn
from .._core import Tensor
from ..nn import init

STACKS = {                              # convolutions of 64, 128, 256, 512 and 512 channels
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
    """A VGG of 11, 13, 16 or 19 layers, with batch normalisation or without.

    Shapes: (N, in_channels, H, W) -> (N, num_classes) logits, H and W at least 32. small = True is
    for images of 32 pixels: 1 x 1 positions and 512 units stand behind the convolutions instead of
    7 x 7 and 4,096. width: channels of the first stack. Parameters have torchvision's names.

    Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image
    recognition", ICLR 2015.

    Example:
        >>> import fastnn
        >>> net = fastnn.models.vgg11(num_classes=10, small=True, width=8)
        >>> net(fastnn.zeros(2, 3, 32, 32)).shape
        (2, 10)
    """

    def __init__(
        self, depth: int, batch_norm: bool = False, num_classes: int = 1000, dropout: float = 0.5,
        *, in_channels: int = 3, width: int = 64, small: bool = False,
    ) -> None:
        super().__init__()
        if depth not in STACKS:
            raise ValueError(f"VGG: depth: got {depth}; need one of {', '.join(map(str, STACKS))}")
        layers: list[nn.Module] = []
        channels = in_channels
        for k, convolutions in enumerate(STACKS[depth]):
            for _ in range(convolutions):
                out = width * min(2**k, 8)
                layers.append(nn.Conv2d(channels, out, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(out))
                layers.append(nn.ReLU())
                channels = out
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        side, units = (1, 8 * width) if small else (7, 4096)
        self.avgpool = nn.AdaptiveAvgPool2d((side, side))
        self.classifier = nn.Sequential(
            nn.Linear(channels * side * side, units), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(units, units), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(units, num_classes),
        )
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, nn.Linear):
                init.normal_(m.weight, 0, m.in_features**-0.5 if small else 0.01)
            if isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None:
                init.zeros_(m.bias)

    def forward(self, x: Any) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def vgg11(**options: Any) -> VGG:
    """`VGG` of 11 layers."""
    return VGG(11, **options)


def vgg11_bn(**options: Any) -> VGG:
    """`VGG` of 11 layers with batch normalisation."""
    return VGG(11, True, **options)


def vgg13(**options: Any) -> VGG:
    """`VGG` of 13 layers."""
    return VGG(13, **options)


def vgg13_bn(**options: Any) -> VGG:
    """`VGG` of 13 layers with batch normalisation."""
    return VGG(13, True, **options)


def vgg16(**options: Any) -> VGG:
    """`VGG` of 16 layers."""
    return VGG(16, **options)


def vgg16_bn(**options: Any) -> VGG:
    """`VGG` of 16 layers with batch normalisation."""
    return VGG(16, True, **options)


def vgg19(**options: Any) -> VGG:
    """`VGG` of 19 layers."""
    return VGG(19, **options)


def vgg19_bn(**options: Any) -> VGG:
    """`VGG` of 19 layers with batch normalisation."""
    return VGG(19, True, **options)
