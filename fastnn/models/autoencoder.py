"""A convolutional autoencoder."""

from __future__ import annotations

from typing import Any

from .. import nn
from .._core import Tensor


class Autoencoder(nn.Module):
    """Images as a code of a few numbers, and back.

    Shapes: (N, in_channels, size, size) -> the same, values from 0 to 1; `encoder` gives the codes
    (N, code). size is a multiple of 4; width: channels at half the size.

    Source: Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks",
    Science 313, 2006.

    Example:
        >>> import fastnn
        >>> net = fastnn.models.Autoencoder(code=8, width=4)
        >>> net.encoder(fastnn.zeros(2, 1, 28, 28)).shape, net(fastnn.zeros(2, 1, 28, 28)).shape
        ((2, 8), (2, 1, 28, 28))
    """

    def __init__(self, code: int = 32, in_channels: int = 1, size: int = 28,
                 width: int = 16) -> None:
        super().__init__()
        if size % 4 or size < 4:
            raise ValueError(f"Autoencoder: size: got {size}; need a multiple of 4")
        small = size // 4
        self.encoder = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(2 * width * small * small, 256), nn.ReLU(), nn.Linear(256, code),
        )
        self.decoder = nn.Sequential(
            nn.Linear(code, 256), nn.ReLU(),
            nn.Linear(256, 2 * width * small * small), nn.ReLU(),
            nn.Unflatten(1, (2 * width, small, small)),
            nn.ConvTranspose2d(2 * width, width, 2, 2), nn.ReLU(),
            nn.ConvTranspose2d(width, in_channels, 2, 2), nn.Sigmoid(),
        )

    def forward(self, x: Any) -> Tensor:
        return self.decoder(self.encoder(x))
