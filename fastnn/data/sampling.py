"""Seeds and orders: which sample comes when, the same on every machine and NumPy version."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import ops

__all__ = ["check_seed", "draw_seed", "permutation"]

SPLIT = (1 << 64) - 1  # the stream of `random_split`, which no epoch reaches


def permutation(n: int, seed: int, stream: int) -> npt.NDArray[np.int64]:
    """The order of `n` samples that belongs to (seed, stream), both below 2⁶⁴.

    Sorts raw Philox output: NumPy guarantees that for all versions (NEP 19), unlike the result
    of `Generator.permutation`.
    """
    keys = np.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw(n)
    return np.argsort(keys, kind="stable").astype(np.int64, copy=False)


def check_seed(op: str, seed: Any) -> int:
    """`seed` as an int below 2⁶⁴, or an error that names `op`."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"{op}: seed: got {seed!r}; need an int")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"{op}: seed: got {seed}; need 0 to 2**64 - 1")
    return int(seed)


def draw_seed(generator: Any = None) -> int:
    """A seed from `generator`, or without one from the stream that `fastnn.manual_seed` sets."""
    return int(ops.random.randint(0, 1 << 62, (), generator=generator).item())
