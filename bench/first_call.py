"""What the first calls of a compiled training step cost beside the eager step: medians in µs.

    python -m bench.first_call

Every compiled function is a new one; the model and its eager step have run before.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import fastnn
from fastnn.nn import functional as F

from .models import mlp_torch
from .rows import MNIST

ROWS = {"mlp-tiny": ((32, 32, 2), 16, 2000), "mlp-mnist": (MNIST, 64, 300),
        "mlp-wide": ((784, 2048, 2048, 10), 256, 8)}       # sizes, batch, repetitions


def microseconds(call: Callable[[], Any]) -> float:
    begin = perf_counter_ns()
    call()
    return (perf_counter_ns() - begin) / 1e3


def measure(sizes: tuple[int, ...], batch: int, repeats: int) -> dict[str, float]:
    """Medians of the eager step and of the first three calls."""
    model = mlp_torch(sizes, fastnn)
    adam = fastnn.optim.Adam(model.parameters(), lr=1e-9)
    x, y = fastnn.randn(batch, sizes[0]), fastnn.randint(0, sizes[-1], (batch,))

    def step(x: Any, y: Any) -> Any:
        adam.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        adam.step()
        return loss

    times: dict[str, list[float]] = {name: [] for name in ("eager", "first", "second", "third")}
    for _ in range(min(repeats, 200)):
        step(x, y)
    for _ in range(repeats):
        compiled = fastnn.compile(step)
        for name, seen in times.items():
            f = step if name == "eager" else compiled
            seen.append(microseconds(lambda f=f: f(x, y)))
    return {name: statistics.median(seen) for name, seen in times.items()}


if __name__ == "__main__":
    for name, (sizes, batch, repeats) in ROWS.items():
        found = measure(sizes, batch, repeats)
        print(f"{name:10}", *(f"{k} {v:9.1f} ({v / found['eager']:.2f})" for k, v in found.items()))
