"""The limits of this machine, measured once per process, number of threads and instruction set."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import exp, log
from pathlib import Path
from time import perf_counter

import numpy as np

from .. import _core
from .._core import Tensor

FMA_ITERATIONS = 150_000        # about a millisecond
PASS_BYTES = 1 << 27            # traffic of one measurement, at least: a millisecond in a cache
SMALLEST, LARGEST = 1 << 14, 1 << 27
WARM_SECONDS = 0.02             # until the workers are awake, each on its own CPU
TRIES = 4
OFF_POWER = 3                   # cache lines less than a power of two, or streams would share sets


@dataclass(frozen=True)
class Roofs:
    """flops per second of all threads, and bytes per second over the bytes a loop goes through.

    ``stream`` is the better of reading and of writing elsewhere than it reads; ``update`` writes
    where it reads, which saves memory a third of its work.
    """

    threads: int
    isa: str
    flops: float
    sizes: tuple[int, ...]
    stream: tuple[float, ...]
    update: tuple[float, ...]
    caches: tuple[tuple[str, int], ...]     # (name, bytes of all that the threads use)

    def bandwidth(self, nbytes: float, in_place: bool = False) -> float:
        """Bytes per second for a record that touches so many."""
        rates = self.update if in_place else self.stream
        i = bisect(self.sizes, nbytes)
        if i in (0, len(self.sizes)):
            return rates[max(i - 1, 0)]
        a, b = self.sizes[i - 1], self.sizes[i]
        t = log(nbytes / a) / log(b / a)
        return exp((1 - t) * log(rates[i - 1]) + t * log(rates[i]))

    def level(self, nbytes: float) -> str:
        """The smallest memory that holds so many."""
        return next((name for name, size in self.caches if nbytes <= size), "DRAM")

    def limit(self, flops: float | None, nbytes: float, in_place: bool) -> tuple[float, str]:
        """The least time that a record can take, and what allows no less."""
        memory = nbytes / self.bandwidth(nbytes, in_place)
        arithmetic = (flops or 0.0) / self.flops
        return (arithmetic, "FMA") if arithmetic > memory else (memory, self.level(nbytes))

    def __str__(self) -> str:
        levels = ", ".join(f"{name} {self.bandwidth(size / 2) / 1e9:.0f}"
                           for name, size in (*self.caches, ("DRAM", 2 * LARGEST)))
        return (f"{self.threads} thread{'s' * (self.threads > 1)}, {self.isa}: "
                f"FMA {self.flops / 1e9:.0f} GFLOP/s; {levels} GB/s")


def roofs() -> Roofs:
    """Those of the threads and the instruction set in use; the first call takes 0.3 s."""
    return _measure(_core.get_num_threads(), _core.isa())


@lru_cache
def _measure(threads: int, isa: str) -> Roofs:
    _wake(threads)
    sizes = tuple(2**k for k in range(SMALLEST.bit_length() - 1, LARGEST.bit_length()))
    x = _core.empty((LARGEST // 4,))
    x.numpy().fill(1)
    flops = _best("fma", x, FMA_ITERATIONS, 1)
    read, triad, update = (_curve(kind, x, sizes) for kind in ("read", "triad", "update"))
    stream = tuple(map(max, read, triad))
    return Roofs(threads, isa, flops, sizes, stream, tuple(map(max, stream, update)),
                 _caches(threads))


def _wake(threads: int) -> None:
    """Work for all threads, until the system has given each a CPU of its own."""
    x, y = np.ones(1 << 18, np.float32), np.empty(1 << 18, np.float32)
    end = perf_counter() + WARM_SECONDS
    while perf_counter() < end:
        _core.unchecked_launch(_core.OPS["exp"], [x, y], None, 1, (x.size,), (), threads=threads)


def _best(kind: str, x: Tensor, n: int, repeats: int) -> float:
    """Work per second in the best of a few tries."""
    rates = []
    for _ in range(TRIES):
        start = perf_counter()
        rates.append(_core.roof(kind, x, n, repeats) / (perf_counter() - start))
    return max(rates)


def _curve(kind: str, x: Tensor, sizes: tuple[int, ...]) -> list[float]:
    """Bytes per second over the bytes gone through, which more bytes never make faster."""
    rates = [_best(kind, x, size // 4 - 16 * OFF_POWER, 1 + PASS_BYTES // size) for size in sizes]
    return list(accumulate(reversed(rates), max))[::-1]


def _caches(threads: int) -> tuple[tuple[str, int], ...]:
    """Name and bytes of the data caches of so many cores; nothing where the system does not say."""
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size, shared = ((index / name).read_text().strip() for name in
                                         ("level", "type", "size", "shared_cpu_list"))
        except OSError:
            continue
        if kind != "Instruction":
            copies = threads if "," not in shared and "-" not in shared else 1
            found.append((f"L{level}", copies * int(size.removesuffix("K")) * 1024))
    return tuple(found)
