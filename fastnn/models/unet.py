"""U-Net: a label for every pixel."""

from __future__ import annotations

from typing import Any

from .. import nn, ops
from .._core import Tensor
from ..errors import ShapeError


def _double(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(),
                         nn.Conv2d(b, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


class UNet(nn.Module):
    """Down by poolings, up by transposed convolutions, seeing again what the way down saw.

    Shapes: (N, in_channels, H, W) -> (N, num_classes, H, W) logits; H and W multiples of 2**depth.
    width: channels at full size, doubled at each of the `depth` halvings.

    Source: Ronneberger et al., "U-Net: convolutional networks for biomedical image segmentation",
    MICCAI 2015; with padding and batch normalisation.

    Example:
        >>> import fastnn
        >>> fastnn.models.UNet(1, 11, width=4, depth=2)(fastnn.zeros(2, 1, 32, 48)).shape
        (2, 11, 32, 48)
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 2, width: int = 16,
                 depth: int = 3) -> None:
        super().__init__()
        sizes = [width * 2**k for k in range(depth + 1)]
        before = [in_channels, *sizes[:-1]]
        self.down = nn.ModuleList(
            [_double(a, b) for a, b in zip(before[:-1], sizes[:-1], strict=True)])
        self.pool = nn.MaxPool2d(2)
        self.bottom = _double(before[-1], sizes[-1])
        self.up = nn.ModuleList([nn.ConvTranspose2d(2 * b, b, 2, 2) for b in sizes[-2::-1]])
        self.merge = nn.ModuleList([_double(2 * b, b) for b in sizes[-2::-1]])
        self.head = nn.Conv2d(width, num_classes, 1)
        self.depth = depth

    def forward(self, x: Any) -> Tensor:
        if x.ndim != 4 or x.shape[2] % 2**self.depth or x.shape[3] % 2**self.depth:
            raise ShapeError(f"UNet: x: got {x.shape}; need (N, C, H, W) with sides that are "
                             f"multiples of {2**self.depth}")
        seen = []
        for block in self.down:
            seen.append(block(x))
            x = self.pool(seen[-1])
        x = self.bottom(x)
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(ops.cat([seen.pop(), up(x)], 1))
        return self.head(x)
