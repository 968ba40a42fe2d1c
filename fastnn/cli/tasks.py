"""What `fastnn train` can learn: data, and the model sizes and schedule that suit it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import datasets

Split = tuple[np.ndarray, np.ndarray]      # images (N, 1, H, W) float32 in [0, 1], labels (N) int64


@dataclass(frozen=True)
class Task:
    """A labelled image set and settings that suit it."""

    name: str
    load: Callable[[bool], tuple[Split, Split]]     # argument: download what is missing?
    image: tuple[int, int, int]                     # channels, height, width
    box: int                                        # pixels of the longer side of a digit
    classes: list[str]
    epochs: int
    batch_size: int
    lr: float
    config: dict[str, dict[str, Any]]               # per model


DIGITS = [str(i) for i in range(10)]

TASKS = {
    "digits": Task("digits", lambda download: datasets.load_digits(), (1, 8, 8), 8, DIGITS,
                   epochs=20, batch_size=32, lr=4e-3,
                   config={"mlp": {"sizes": [64, 128, 64, 10], "dropout": 0.2}}),
    "mnist": Task("mnist", lambda download: datasets.load_mnist(download=download),
                  (1, 28, 28), 20, DIGITS, epochs=15, batch_size=128, lr=4e-3,
                  config={"mlp": {"sizes": [784, 512, 256, 10], "dropout": 0.4}}),
}
