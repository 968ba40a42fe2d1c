"""Limits the process sets itself."""

from __future__ import annotations

from . import _core

__all__ = ["max_bytes", "max_packed_bytes", "packed_bytes", "set_max_bytes", "set_max_packed_bytes"]

_limit = 0
_packed_limit = 1 << 30


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


def packed_bytes() -> int:
    """The bytes that packed copies of weights take now; they are among ``live_bytes()``."""
    return _core.packed_bytes()


def max_packed_bytes() -> int:
    """The most bytes that packed copies of weights may take together; 0 = none are kept."""
    return _packed_limit


def set_max_packed_bytes(n: int) -> None:
    """Keep packed copies of weights up to n bytes together; 0 = none. Results do not depend on it.

    A weight that is used again unchanged, without gradients, for a product of few rows is copied
    into the order in which such products read it. The default is 1 GiB.

    Errors: ValueError for a negative number.

    Example:
        >>> import fastnn
        >>> fastnn.limits.set_max_packed_bytes(2**28)
        >>> fastnn.limits.set_max_packed_bytes(2**30)
    """
    global _packed_limit
    if n < 0:
        raise ValueError(f"set_max_packed_bytes: got {n}; need a number of bytes, or 0 for none")
    _core.set_max_packed_bytes(n)
    _packed_limit = n
