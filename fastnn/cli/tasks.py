"""What `fastnn train` can learn: data, and the model sizes and schedule that suit it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data import datasets

Split = tuple[np.ndarray, np.ndarray]      # images (N, 1, H, W) float32 in [0, 1], labels (N) int64


@dataclass(frozen=True)
class Task:
    """A labelled image set and sensible settings for it."""

    name: str
    load: Callable[[], tuple[Split, Split]]
    image: tuple[int, int, int]             # channels, height, width
    classes: list[str]
    epochs: int
    config: dict[str, dict[str, Any]] = field(default_factory=dict)   # per model


DIGITS = [str(i) for i in range(10)]

TASKS = {
    "digits": Task("digits", lambda: datasets.load_digits(), (1, 8, 8), DIGITS, 30,
                   {"mlp": {"sizes": [64, 128, 64, 10], "dropout": 0.2}}),
    "mnist": Task("mnist", lambda: datasets.load_mnist(), (1, 28, 28), DIGITS, 15,
                  {"mlp": {"sizes": [784, 512, 256, 10], "dropout": 0.3}}),
}
