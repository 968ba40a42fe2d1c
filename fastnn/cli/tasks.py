"""What `fastnn train` can learn: data, and the model sizes and schedule that suit it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import datasets
from ..vision.transforms import RandomAffine

Split = tuple[np.ndarray, np.ndarray]      # images (N, 1, H, W) float32 in [0, 1], labels (N) int64


@dataclass(frozen=True)
class Recipe:
    """How to build one model for a task, and settings that suit it."""

    config: dict[str, Any]
    epochs: int
    augmented: int                                  # epochs where no image comes twice
    lr: float
    batch_size: int = 128
    side: int | None = None                         # pixels; smaller images get a border of zeros


@dataclass(frozen=True)
class Task:
    """A labelled image set and the models that can learn it."""

    name: str
    load: Callable[[bool], tuple[Split, Split]]     # argument: download what is missing?
    image: tuple[int, int, int]                     # channels, height, width
    box: int                                        # pixels of the longer side of a digit
    classes: list[str]
    recipes: dict[str, Recipe]                      # per model


def frame(x: np.ndarray, side: int) -> np.ndarray:
    """Images (N, C, H, W) in the middle of side x side pixels of 0."""
    high, wide = (side - n for n in x.shape[2:])
    return np.pad(x, ((0, 0), (0, 0), (high // 2, high - high // 2), (wide // 2, wide - wide // 2)))


def augmentation() -> RandomAffine:
    """Digits as another hand, or another sheet of paper, would have them."""
    return RandomAffine(12, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation="bilinear")


DIGITS = [str(i) for i in range(10)]
SMALL = {"num_classes": 10, "in_channels": 1, "small": True}

TASKS = {
    "digits": Task("digits", lambda download: datasets.load_digits(), (1, 8, 8), 8, DIGITS, {
        "mlp": Recipe({"sizes": [64, 128, 64, 10], "dropout": 0.2}, 20, 40, 4e-3, 32),
        "cnn": Recipe({"size": 8, "channels": [16, 32], "hidden": 64}, 10, 20, 4e-3, 32),
    }),
    "mnist": Task("mnist", lambda download: datasets.load_mnist(download=download),
                  (1, 28, 28), 20, DIGITS, {
        "mlp": Recipe({"sizes": [784, 512, 256, 10], "dropout": 0.4}, 15, 30, 4e-3),
        "cnn": Recipe({"channels": [32, 64, 128], "hidden": 256, "dropout": 0.3}, 3, 12, 4e-3),
        "lenet5": Recipe({}, 10, 20, 4e-3),
        "alexnet": Recipe({**SMALL, "width": 16, "dropout": 0.3}, 4, 10, 1.5e-3),
        "vgg16": Recipe({**SMALL, "width": 8, "dropout": 0.2}, 4, 10, 1.5e-3, side=32),
        "resnet18": Recipe({**SMALL, "width": 8}, 3, 10, 6e-3),
    }),
}
