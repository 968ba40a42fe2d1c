"""AlexNet, in the one-column form of torchvision."""

from __future__ import annotations

from typing import Any

from .. import nn
from .._core import Tensor


class AlexNet(nn.Module):
    """Five convolutions and three linear layers.

    Shapes: (N, in_channels, H, W) -> (N, num_classes) logits, H and W at least 63; small = True is
    for images of 28 pixels and more: the first convolution has stride 1, and what stands behind the
    convolutions 1 x 1 positions and 16 width units instead of 6 x 6 and 4,096. width: channels of
    the first convolution, to which the others stand as 3, 6, 4 and 4. Parameters have
    torchvision's names.

    Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
    arXiv:1404.5997, 2014.

    Example:
        >>> import fastnn
        >>> net = fastnn.models.alexnet(num_classes=10, in_channels=1, small=True)
        >>> net(fastnn.zeros(2, 1, 28, 28)).shape
        (2, 10)
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5, *, in_channels: int = 3,
                 width: int = 64, small: bool = False) -> None:
        super().__init__()
        stem = nn.Conv2d(in_channels, width, 3, padding=1) if small else \
            nn.Conv2d(in_channels, width, 11, stride=4, padding=2)
        self.features = nn.Sequential(
            stem, nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(width, 3 * width, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(3 * width, 6 * width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(6 * width, 4 * width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )
        side, units = (1, 16 * width) if small else (6, 4096)
        self.avgpool = nn.AdaptiveAvgPool2d((side, side))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(4 * width * side * side, units), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(units, units), nn.ReLU(),
            nn.Linear(units, num_classes),
        )

    def forward(self, x: Any) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def alexnet(**options: Any) -> AlexNet:
    """`AlexNet` under torchvision's name."""
    return AlexNet(**options)
