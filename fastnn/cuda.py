"""What torch code asks before it uses a GPU; the answer is that there is none."""

from __future__ import annotations


def is_available() -> bool:
    """False: fastnn runs on the CPU."""
    return False


def device_count() -> int:
    """0: fastnn runs on the CPU."""
    return 0


def manual_seed(seed: int) -> None:
    """Do nothing: no GPU has a generator."""


manual_seed_all = manual_seed
