"""Layers that only change the shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._core import Tensor
from ..ops import flatten, unflatten
from .module import Module


class Flatten(Module):
    """Axes start_dim to end_dim as one; by default all but the batch.

    Example:
        >>> import fastnn
        >>> fastnn.nn.Flatten()(fastnn.zeros(2, 1, 8, 8)).shape
        (2, 64)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Any) -> Tensor:
        return flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Axis dim split into sizes, one of which may be -1.

    Example:
        >>> import fastnn
        >>> fastnn.nn.Unflatten(1, (8, 8))(fastnn.zeros(2, 64)).shape
        (2, 8, 8)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Any) -> Tensor:
        return unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
