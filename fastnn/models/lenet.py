"""LeNet-5, the first convolutional network of its kind."""

from __future__ import annotations

from typing import Any

from .. import nn
from .._core import Tensor


class LeNet5(nn.Module):
    """Two convolutions, each followed by means of 2×2 pixels, and three affine layers, with tanh.

    Shapes: (N, in_channels, 28, 28) to (N, num_classes) logits; 32×32 images with padding 0.

    Source: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86, 1998; its last layer measured distances to drawn
    digits, here it is affine.

    Example:
        >>> import fastnn
        >>> fastnn.models.LeNet5()(fastnn.zeros(2, 1, 28, 28)).shape
        (2, 10)
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, padding: int = 2) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=padding), nn.Tanh(), nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(),
            nn.Linear(84, num_classes),
        )

    def forward(self, input: Any) -> Tensor:
        return self.classifier(self.features(input))
