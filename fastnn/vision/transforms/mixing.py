"""Transforms that replace parts of images, or mix images and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from ... import _core, ops
from ..._core import Tensor
from ...errors import ShapeError
from ...ops.checks import need_int
from ...ops.image import paste
from .base import Transform, number, numbers, probability, span
from .cropping import draw_boxes


class RandomErasing(Transform):
    """A rectangle of each image erased, with probability p.

    scale: its part of the area, ratio: its height / width, value: what takes its place, a number,
    one for each channel, or "random" for normal noise. A rectangle that fits is tried for ten
    times. inplace is accepted; the result is a new tensor.

    Source: Zhong et al., "Random erasing data augmentation", AAAI 2020.
    """

    def __init__(
        self, p: float = 0.5, scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3), value: float | str | Sequence[float] = 0.0,
        inplace: bool = False, generator: Any = None,
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
        self.value = value if isinstance(value, str) else number("RandomErasing", "value", value) \
            if isinstance(value, Real) else numbers("RandomErasing", "value", value, (1, 2, 3, 4))

    def apply(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        n, _, h, w = x.shape
        upright = (1 / self.ratio[1], 1 / self.ratio[0])        # draw_boxes counts width / height
        boxes, found = draw_boxes(rng, n, h, w, self.scale, upright, room=1)
        left, top, bw, bh = boxes.T
        bw = bw * (found & (rng.random(n) < self.p))
        if self.value == "random":
            own = ops.Generator().manual_seed(int(rng.integers(2**62)))
            other = ops.randn(*x.shape, generator=own)
        else:
            other = _core.tensor(np.array(self.value, np.float32).reshape(-1, 1, 1))
            if other.numel() not in (1, x.shape[1]):
                raise ShapeError(f"RandomErasing: images: got {x.shape[1]} channels; need "
                                 f"{other.numel()}, one for each value")
            if other.numel() > 1:
                other = other.expand(*x.shape).clone()
        return paste(x, other, np.stack([left, left + bw, top, top + bh], 1))


class _Mixing(Transform):
    """Images mixed with those before them in the batch; class numbers become probabilities.

    num_classes may be left out where labels are probabilities already.
    """

    def __init__(
        self, *, alpha: float = 1.0, num_classes: int | None = None, generator: Any = None
    ) -> None:
        super().__init__(generator)
        name = type(self).__name__
        self.alpha = number(name, "alpha", alpha)
        self.num_classes = None if num_classes is None else need_int(
            name, "num_classes", num_classes)
        if self.alpha <= 0 or self.num_classes is not None and not 0 < self.num_classes < 2**31:
            raise ValueError(f"{name}: got alpha {alpha} and num_classes {num_classes}; need "
                             "positive numbers, and fewer than 2**31 classes")

    def __call__(self, images: Any, *labels: Any) -> Any:
        name = type(self).__name__
        x = self.check(_core.as_tensor(images))
        if x.ndim != 4 or len(labels) != 1:
            raise ShapeError(f"{name}: got images {x.shape} and {len(labels)} tensors of labels; "
                             "need a batch (N, C, H, W) and its labels: put it behind the loader")
        y = _core.as_tensor(labels[0])
        if y.ndim == 1:
            if self.num_classes is None:
                raise ValueError(f"{name}: num_classes: got None for labels {y.shape}; need it for "
                                 "numbers of classes")
            y = ops.one_hot(y, self.num_classes)
        if y.ndim != 2 or len(y) != len(x) or self.num_classes not in (None, y.shape[1]):
            raise ShapeError(f"{name}: labels: got {y.shape}; need ({len(x)},) or "
                             f"({len(x)}, {self.num_classes or 'classes'})")
        y, rng = y.float(), self.draws()
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
        if h * w == 0:
            raise ShapeError(f"CutMix: images: got shape {x.shape}; need pixels")
        half = 0.5 * np.sqrt(1 - part)
        (left, right), (top, bottom) = (
            (max(0, at - int(half * size)), min(size, at + int(half * size)))
            for at, size in ((int(rng.integers(w)), w), (int(rng.integers(h)), h)))
        boxes = np.tile([left, right, top, bottom], (n, 1))
        kept = 1 - (right - left) * (bottom - top) / (h * w)
        return paste(x, ops.roll(x, 1, 0), boxes), kept
