"""Transforms that change values: colours of RGB images from 0 to 1, and noise."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from ... import _core, ops
from ..._core import Tensor
from ...errors import ShapeError
from .base import Range, Transform, number, span

WEIGHTS = np.array([0.2989, 0.587, 0.114], np.float32)    # of R, G, B in grey, as torchvision


def _each(values: Any) -> Tensor:
    """One number for each image, ready to broadcast."""
    return _core.tensor(np.asarray(values, np.float32).reshape(-1, 1, 1, 1))


def _grey(x: Tensor) -> Tensor:
    if x.shape[1] == 1:
        return x
    return (x * _core.tensor(WEIGHTS.reshape(1, 3, 1, 1))).sum(1, keepdim=True)


def _need_color(name: str, x: Tensor) -> None:
    if x.shape[1] not in (1, 3):
        raise ShapeError(f"{name}: images: got {x.shape[1]} channels; need 1 or 3")


class Grayscale(Transform):
    """RGB images as grey ones, in 1 or 3 channels."""

    def __init__(self, num_output_channels: int = 1) -> None:
        super().__init__()
        if num_output_channels not in (1, 3):
            raise ValueError(f"Grayscale: num_output_channels: got {num_output_channels}; "
                             "need 1 or 3")
        self.num_output_channels = num_output_channels

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        _need_color("Grayscale", x)
        y = _grey(x)
        channels = self.num_output_channels
        return y if y.shape[1] == channels else y.expand(len(y), channels, *y.shape[2:]).clone()


class GaussianNoise(Transform):
    """Normal noise of this mean and standard deviation added; clip: the result kept in 0 to 1."""

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True,
                 generator: Any = None) -> None:
        super().__init__(generator)
        self.mean = number("GaussianNoise", "mean", mean)
        self.sigma, self.clip = number("GaussianNoise", "sigma", sigma, 0), bool(clip)

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        own = ops.Generator().manual_seed(int(rng.integers(2**62)))
        y = x + ops.normal(self.mean, self.sigma, x.shape, generator=own)
        return y.clamp(0, 1) if self.clip else y


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed at random, in random order.

    A number d draws a factor from max(0, 1 - d) to 1 + d, for hue a turn from -d to d (at most
    half a circle); (low, high) draws from there, None changes nothing. Values are kept in 0 to 1.
    The images of a batch share the order, not the factors.
    """

    def __init__(
        self, brightness: Range | None = None, contrast: Range | None = None,
        saturation: Range | None = None, hue: Range | None = None, generator: Any = None,
    ) -> None:
        super().__init__(generator)
        self.brightness, self.contrast, self.saturation = (
            _factors(option, value) for option, value in
            (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)))
        self.hue = span("ColorJitter", "hue", 0.0 if hue is None else hue)
        if max(map(abs, self.hue)) > 0.5:
            raise ValueError(f"ColorJitter: hue: got {hue}; need at most 0.5")

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        _need_color("ColorJitter", x)
        steps = ((_brightness, self.brightness, 1.0), (_contrast, self.contrast, 1.0),
                 (_saturation, self.saturation, 1.0), (_hue, self.hue, 0.0))
        for k in rng.permutation(4):
            step, limits, neutral = steps[k]
            drawn = rng.uniform(*limits, len(x))
            if limits != (neutral, neutral):
                x = step(x, drawn)
        return x


def _factors(option: str, value: Range | None) -> tuple[float, float]:
    low, high = span("ColorJitter", option, 0.0 if value is None else value, 1.0)
    if isinstance(value, Real):
        low = max(0.0, low)
    if low < 0:
        raise ValueError(f"ColorJitter: {option}: got {value}; need factors of 0 or more")
    return low, high


def _blend(x: Tensor, other: Tensor | float, factor: Any) -> Tensor:
    """factor x + (1 - factor) other, kept in 0 to 1"""
    t = _each(factor)
    return (x * t + (1 - t) * other).clamp(0, 1)


def _brightness(x: Tensor, factor: Any) -> Tensor:
    return _blend(x, 0.0, factor)


def _contrast(x: Tensor, factor: Any) -> Tensor:
    return _blend(x, _grey(x).mean((1, 2, 3), keepdim=True), factor)


def _saturation(x: Tensor, factor: Any) -> Tensor:
    return x if x.shape[1] == 1 else _blend(x, _grey(x), factor)


def _hue(x: Tensor, turn: Any) -> Tensor:
    """RGB as hue, saturation and value, the hue turned, and back."""
    if x.shape[1] == 1:
        return x
    r, g, b = (x[:, k:k + 1] for k in range(3))
    high, low = ops.amax(x, 1, keepdim=True), ops.amin(x, 1, keepdim=True)
    chroma = high - low
    by = ops.where(chroma == 0, 1.0, chroma)
    sector = ops.where(high == r, (g - b) / by,
                       ops.where(high == g, 2 + (b - r) / by, 4 + (r - g) / by))
    sector = sector + _each(np.multiply(turn, 6))
    channels = []
    for n in (5, 3, 1):                         # R, G, B: how far from full each is at this hue
        k = ops.remainder(sector + n, 6)
        channels.append(high - chroma * ops.minimum(k, 4 - k).clamp(0, 1))
    return ops.cat(channels, 1)
