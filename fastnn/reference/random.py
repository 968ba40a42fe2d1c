"""NumPy twins of op_random.h: Philox4x32-10 word by word in uint64 arithmetic.

Draws do not depend on float inputs, so their values are float32 by definition.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np

Arrays = list[Any]
MASK = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
TURN = Lock()


def philox(counter: list[Any], key: list[int]) -> list[np.ndarray]:
    """Four words of 32 bits (held in uint64) for four counter words and a key of two."""
    c = [np.asarray(w, np.uint64) for w in counter]
    k = list(key)
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> HALF) ^ c[1] ^ np.uint64(k[0]), b & MASK,
             (a >> HALF) ^ c[3] ^ np.uint64(k[1]), a & MASK]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def words(seed: int, offset: int, n: int) -> np.ndarray:
    """The first n words of a draw: word w of count k is number 64 (k // 16) + 16 w + k % 16."""
    seed, offset = seed % 2**64, offset % 2**64
    count = np.arange((n + 63) // 64 * 16, dtype=np.uint64)
    counter = [count & MASK, count >> HALF, offset % 2**32, offset >> 32]
    w = np.stack(philox([np.broadcast_to(np.asarray(x, np.uint64), count.shape) for x in counter],
                        [seed % 2**32, seed >> 32]))
    return w.reshape(4, -1, 16).swapaxes(0, 1).reshape(-1)[:n]


def draw(state: np.ndarray, n: int) -> np.ndarray:
    """n words, and the state one step on."""
    with TURN:                      # threads that draw at once get different offsets
        offset = int(state[1])
        state[1] = (offset + 1 + 2**63) % 2**64 - 2**63
    w = words(int(state[0]), offset, n)
    return w


def fraction(w: np.ndarray) -> np.ndarray:
    """Words as multiples of 2**-24 in [0, 1), exact in float32."""
    return ((w >> np.uint64(8)) * 2.0**-24).astype(np.float32)


def uniform(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    low, high = np.float32(f[0]), np.float32(f[1])
    return (fraction(draw(ins[0], dim[0])) * (high - low) + low,)


def normal(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    n = dim[0]
    w = draw(ins[0], (n + 63) // 64 * 64).reshape(-1, 2, 2, 16)    # pairs of rows of 16
    u = ((w[:, :, 0] + 0.5) * 2.0**-32).astype(np.float32).astype(np.float64)
    radius, angle = np.sqrt(-2 * np.log(u)), 2 * np.pi * fraction(w[:, :, 1]).astype(np.float64)
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2)
    return (f[0] + f[1] * z.reshape(-1)[:n],)


def bernoulli(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    p, state = ins
    return (np.where(fraction(draw(state, dim[0])) < p.reshape(-1), 1.0, 0.0),)


def randint(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    n, low, span = dim[0], dim[1], dim[2] % 2**64 or 2**64
    w = draw(ins[0], (n + 31) // 32 * 64).reshape(-1, 2, 32)
    lo, hi = w[:, 0], w[:, 1]
    s_lo, s_hi = np.uint64(span % 2**32), np.uint64(span // 2**32 % 2**32)
    if span == 2**64:
        x = lo | hi << HALF
    else:                                       # the upper half of a 64 by 64 bit product
        middle = (lo * s_lo >> HALF) + (hi * s_lo & MASK) + (lo * s_hi & MASK)
        x = hi * s_hi + (hi * s_lo >> HALF) + (lo * s_hi >> HALF) + (middle >> HALF)
    return ((x.reshape(-1)[:n] + np.uint64(low % 2**64)).astype(np.int64),)


def dropout(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, state = ins
    key = state.copy()
    keep = fraction(draw(state, dim[0])).reshape(x.shape) >= f[0]
    return x * np.where(keep, x.dtype.type(f[1]), x.dtype.type(0)), key


def dropout_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    dy, key = gouts[0], outs[1].copy()
    keep = fraction(draw(key, dim[0])).reshape(dy.shape) >= f[0]
    return [dy * np.where(keep, dy.dtype.type(f[1]), dy.dtype.type(0)), None]
