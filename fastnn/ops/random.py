"""Ops that draw random numbers from a counter-based generator."""

from __future__ import annotations

__all__ = ["manual_seed"]


def manual_seed(seed: int) -> None:
    """Start the random stream over from a seed."""
