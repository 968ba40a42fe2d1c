"""The numbers that every library gets."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Array:
    """Standard normal float32, or int64 below `high`, or, if positive, uniform in 1/2 to 3/2."""

    shape: Shape
    high: int | None = None
    positive: bool = False

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        if self.positive:
            return rng.random(self.shape, np.float32) + np.float32(0.5)
        if self.high is None:
            return rng.standard_normal(self.shape, np.float32)
        return rng.integers(0, self.high, self.shape)


def weight(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Normal, its variance 1 / (the terms of an output): products keep the size of numbers."""
    terms = prod(shape[1:]) if len(shape) > 1 else shape[0]
    return rng.standard_normal(shape, np.float32) / np.float32(terms**0.5)
