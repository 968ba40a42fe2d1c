"""Endurance: nothing grows, however long a process trains or however often a call raises.

    python tests/soak/soak.py [steps]          default 100,000 steps and 100,000 raising calls

After a warm-up, live bytes, threads and file descriptors must be exactly what they were, the
resident memory within 1 MiB, and a thousand steps of a model with large activations must not
page-fault.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fastnn
from fastnn import nn, optim
from fastnn.nn import functional as F

MIB = 1 << 20


@dataclass
class Usage:
    """What a process holds, from the allocator and from /proc."""

    live: int
    resident: int
    threads: int
    files: int
    faults: int

    @classmethod
    def now(cls) -> Usage:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(fastnn.live_bytes(), pages * resource.getpagesize(),
                   len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")),
                   resource.getrusage(resource.RUSAGE_SELF).ru_minflt)


def trainer(sizes: tuple[int, ...], batch: int) -> Callable[[], None]:
    """One training step of an MLP with dropout, on data of its own."""
    fastnn.manual_seed(0)
    layers: list[nn.Module] = []
    for m, n in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(m, n), nn.GELU(), nn.Dropout(0.1)]
    model = nn.Sequential(*layers[:-2])
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    x, y = fastnn.randn(batch, sizes[0]), fastnn.randint(0, sizes[-1], (batch,))

    def step() -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def raisers() -> list[Callable[[], object]]:
    """Calls that raise, before and after memory was taken for them."""
    x = fastnn.randn(4, 3, requires_grad=True)
    w = fastnn.randn(5, 3, requires_grad=True)
    classes = fastnn.tensor([0, 1, 9, 2])

    def twice() -> None:
        y = F.linear(x, w).sum()
        y.backward()
        y.backward()

    def changed() -> None:
        h = (x * 2).exp()
        h.add_(1.0)
        h.sum().backward()

    return [
        lambda: F.linear(x, fastnn.ones(5, 4)), lambda: x + fastnn.ones(7),
        lambda: F.cross_entropy(F.linear(x, w), classes), lambda: x.reshape(5, 5),
        lambda: F.embedding(classes, fastnn.ones(3, 2)), lambda: fastnn.zeros(2**50),
        lambda: fastnn.tensor([[1.0], [1.0, 2.0]]), lambda: x.numpy(),
        lambda: fastnn.cat([x, fastnn.ones(2, 2)]), lambda: x.sum(5), twice, changed,
    ]


def repeat(calls: list[Callable[[], object]], n: int, must_raise: bool) -> None:
    for i in range(n):
        try:
            calls[i % len(calls)]()
        except Exception:
            if not must_raise:
                raise
        else:
            if must_raise:
                raise AssertionError(f"call {i % len(calls)} did not raise")


def soak(what: str, calls: list[Callable[[], object]], n: int, must_raise: bool) -> None:
    """Warm up, call n times, compare."""
    repeat(calls, max(len(calls), min(n // 10, 2000)), must_raise)
    before, start = Usage.now(), time.perf_counter()
    repeat(calls, n, must_raise)
    seconds, after = time.perf_counter() - start, Usage.now()
    drift = (after.resident - before.resident) / MIB
    print(f"{what}: {n:,} in {seconds:.1f} s; live bytes {before.live:,} -> {after.live:,}, "
          f"resident {before.resident / MIB:.1f} MiB {drift:+.3f}, threads {before.threads} -> "
          f"{after.threads}, files {before.files} -> {after.files}, page faults "
          f"{after.faults - before.faults}", flush=True)
    assert after.live == before.live and drift < 1
    assert (after.threads, after.files) == (before.threads, before.files)


def page_faults(steps: int) -> int:
    """Minor faults of so many steps whose activations are megabytes, after a warm-up."""
    step = trainer((784, 1024, 1024, 10), 512)
    repeat([step], 20, False)
    before = Usage.now().faults
    repeat([step], steps, False)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def main(n: int, heavy_steps: int) -> None:
    soak("training steps", [trainer((32, 32, 10), 16)], n, False)
    soak("raising calls", raisers(), n, True)
    faults = page_faults(heavy_steps)
    print(f"page faults of {heavy_steps:,} steps with 512 rows: {faults}", flush=True)
    assert faults < 64, "a training loop asks the system for memory"


if __name__ == "__main__":
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    main(total, max(20, total // 100))
