"""Limits the process sets itself."""

from __future__ import annotations

from . import _core

__all__ = ["max_bytes", "set_max_bytes"]

_limit = 0


def max_bytes() -> int:
    """The most bytes tensors may take together; 0 = no limit."""
    return _limit


def set_max_bytes(n: int) -> None:
    """Answer requests beyond n bytes of tensor memory with MemoryError; 0 = no limit.

    Errors: ValueError for a negative number.

    Example:
        >>> import fastnn
        >>> fastnn.limits.set_max_bytes(2**30)
        >>> fastnn.limits.set_max_bytes(0)
    """
    global _limit
    if n < 0:
        raise ValueError(f"set_max_bytes: got {n}; need a number of bytes, or 0 for no limit")
    _core.set_max_bytes(n)
    _limit = n
