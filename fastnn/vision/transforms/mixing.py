"""Transforms that replace parts of images, or mix images and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import _core, ops
from ..._core import Tensor
from ...errors import ShapeError
from ...ops.image import paste
from .base import Transform, probability, span
from .geometric import draw_boxes


class RandomErasing(Transform):
    """A rectangle of each image erased, with probability p.

    scale: its part of the area, ratio: its height / width, value: what takes its place, a number
    or "random" for normal noise.

    Source: Zhong et al., "Random erasing data augmentation", AAAI 2020.
    """

    def __init__(
        self, p: float = 0.5, scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3), value: float | str = 0.0, inplace: bool = False,
        generator: Any = None,
    ) -> None:
        super().__init__(generator)
        self.p = probability("RandomErasing", p)
        self.scale = span("RandomErasing", "scale", scale)
        self.ratio = span("RandomErasing", "ratio", ratio)
        if self.ratio[0] <= 0 or not 0 <= self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"RandomErasing: got scale {scale} and ratio {ratio}; need parts of "
                             "0 to 1 and positive ratios")
        if isinstance(value, str) and value != "random":
            raise ValueError(f"RandomErasing: value: got {value!r}; need a number or 'random'")
        self.value = value

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        n, _, h, w = x.shape
        upright = (1 / self.ratio[1], 1 / self.ratio[0])        # draw_boxes counts width / height
        boxes, found = draw_boxes(rng, n, h, w, self.scale, upright)
        left, top, bw, bh = boxes.T
        bw = bw * (found & (rng.random(n) < self.p))
        if self.value == "random":
            own = ops.Generator().manual_seed(int(rng.integers(2**62)))
            other = ops.randn(*x.shape, generator=own)
        else:
            other = _core.tensor(np.array([self.value], np.float32))
        return paste(x, other, np.stack([left, left + bw, top, top + bh], 1))


class _Mixing(Transform):
    """Images mixed with those before them in the batch; class numbers become probabilities."""

    def __init__(self, *, alpha: float = 1.0, num_classes: int, generator: Any = None) -> None:
        super().__init__(generator)
        self.alpha, self.num_classes = float(alpha), int(num_classes)
        if not self.alpha > 0 or self.num_classes < 1:
            raise ValueError(f"{type(self).__name__}: got alpha {alpha} and num_classes "
                             f"{num_classes}; need positive numbers")

    def __call__(self, images: Any, *labels: Any) -> Any:
        name = type(self).__name__
        x = self.check(_core.as_tensor(images))
        if x.ndim != 4 or len(labels) != 1:
            raise ShapeError(f"{name}: got images {x.shape} and {len(labels)} tensors of labels; "
                             "need a batch (N, C, H, W) and its labels: put it behind the loader")
        y = _core.as_tensor(labels[0])
        if y.ndim == 1:
            y = ops.one_hot(y, self.num_classes).float()
        if y.shape != (len(x), self.num_classes):
            raise ShapeError(f"{name}: labels: got {y.shape}; need ({len(x)},) or "
                             f"({len(x)}, {self.num_classes})")
        rng = self.draws()
        x, part = self.mix(x, float(rng.beta(self.alpha, self.alpha)), rng)
        return x, y * part + ops.roll(y, 1, 0) * (1 - part)

    def mix(self, x: Tensor, part: float, rng: np.random.Generator) -> tuple[Tensor, float]:
        """The mixture, and how much of it is the image itself."""
        raise NotImplementedError


class MixUp(_Mixing):
    """part x + (1 - part) of the image before, the labels alike; part from Beta(alpha, alpha).

    Takes and returns (images, labels); `cross_entropy` takes the labels that come out.

    Source: Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018.

    Example:
        >>> import fastnn
        >>> from fastnn.vision import transforms
        >>> mix = transforms.MixUp(alpha=0.4, num_classes=10)
        >>> x, y = mix(fastnn.rand(8, 1, 28, 28), fastnn.arange(8))
        >>> x.shape, y.shape
        ((8, 1, 28, 28), (8, 10))
        >>> loss = fastnn.nn.functional.cross_entropy(fastnn.models.CNN()(x), y)
    """

    def mix(self, x: Tensor, part: float, rng: np.random.Generator) -> tuple[Tensor, float]:
        return x * part + ops.roll(x, 1, 0) * (1 - part), part


class CutMix(_Mixing):
    """A rectangle of each image from the image before, the labels mixed by area.

    Source: Yun et al., "CutMix", ICCV 2019.

    Example:
        >>> import fastnn
        >>> from fastnn.vision import transforms
        >>> augment = transforms.Compose([
        ...     transforms.RandomAffine(12, translate=(0.1, 0.1), scale=(0.9, 1.1)),
        ...     transforms.CutMix(num_classes=10)])
        >>> x, y = augment(fastnn.rand(8, 1, 28, 28), fastnn.arange(8))
        >>> bool((y.sum(1) - 1).abs().max() < 1e-6)
        True
    """

    def mix(self, x: Tensor, part: float, rng: np.random.Generator) -> tuple[Tensor, float]:
        n, _, h, w = x.shape
        half = 0.5 * np.sqrt(1 - part)
        cx, cy = rng.integers(w), rng.integers(h)
        left, right = (int(np.clip(round(cx + s * half * w), 0, w)) for s in (-1, 1))
        top, bottom = (int(np.clip(round(cy + s * half * h), 0, h)) for s in (-1, 1))
        boxes = np.tile([left, right, top, bottom], (n, 1))
        kept = 1 - (right - left) * (bottom - top) / max(1, h * w)
        return paste(x, ops.roll(x, 1, 0), boxes), kept
