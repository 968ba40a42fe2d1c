"""A small convolutional network in today's manner: convolution, batch norm, ReLU, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from .._core import Tensor


def _block(inp: int, out: int, kernel: int) -> list[nn.Module]:
    return [nn.Conv2d(inp, out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(out),
            nn.ReLU(), nn.MaxPool2d(2)]


class CNN(nn.Module):
    """Blocks of convolution, batch norm, ReLU and 2×2 pooling, then two linear layers.

    Shapes: (N, in_channels, size, size) to (N, num_classes) logits. channels: those of each block,
    which halves the image; the first has 5×5 kernels, the others 3×3. hidden: units between the
    linear layers; dropout before either.

    Errors: ValueError where an image of this size has no pixel left behind the blocks.

    Example:
        >>> import fastnn
        >>> fastnn.models.CNN()(fastnn.zeros(2, 1, 28, 28)).shape
        (2, 10)
    """

    def __init__(
        self, num_classes: int = 10, *, in_channels: int = 1, size: int = 28,
        channels: Sequence[int] = (32, 64, 128), hidden: int = 256, dropout: float = 0.3,
    ) -> None:
        super().__init__()
        side = size >> len(channels)
        if not channels or side < 1:
            raise ValueError(f"CNN: channels: got {len(channels)} blocks for images of {size} "
                             "pixels; need at least one, and a pixel left behind them")
        layers = _block(in_channels, channels[0], 5)
        for inp, out in zip(channels[:-1], channels[1:], strict=True):
            layers += _block(inp, out, 3)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Dropout(dropout),
            nn.Linear(channels[-1] * side * side, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, input: Any) -> Tensor:
        return self.classifier(self.features(input))
