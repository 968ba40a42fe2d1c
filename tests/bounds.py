"""How far float32 sums may be off, and every instruction set there is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastnn import _core

U = 2.0**-24


def gamma(d: float) -> float:
    return d * U / (1 - d * U)


def assert_within(got: np.ndarray, want: np.ndarray, size: np.ndarray, depth: int, what: str,
                  ) -> None:
    """size: the sums of magnitudes; one rounding more stores the result."""
    error, size = np.abs(np.asarray(got, np.float64) - want), np.broadcast_to(size, want.shape)
    assert (error <= gamma(depth + 1) * size).all(), what
    rms, allowed = (np.sqrt((a**2).mean()) if a.size else 0.0 for a in (error, size))
    assert rms <= 2 * np.sqrt(depth + 1) * U * allowed, what


def each_isa() -> Iterator[str]:
    active = _core.isa()
    for isa in _core.isa_names():
        _core.select_isa(isa)
        yield isa
    _core.select_isa(active)
