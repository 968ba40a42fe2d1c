"""NumPy twins of op_image.h."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = list[Any]


def _look(
    x: np.ndarray, u: np.ndarray, v: np.ndarray, box: np.ndarray, fill: float
) -> np.ndarray:
    """x (N, C, H, W) at column u and row v, (N, C, ...); fill where that is outside the box."""
    first, last, top, bottom = (b[:, None, None] for b in box.T)
    inside = (u >= first) & (u <= last) & (v >= top) & (v <= bottom)
    j, i = (np.where(inside, a, 0).astype(int) for a in (u, v))
    image = np.arange(len(x))[:, None, None]
    values = x.transpose(0, 2, 3, 1)[image, i, j].transpose(0, 3, 1, 2)
    return np.where(inside[:, None], values, x.dtype.type(fill))


def _between(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.where(t == 0, a, a + t * (b - a))


def warp(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    n, c, h, w, rows, columns, nearest, border = dim[:8]
    x, box = ins[0].reshape(n, c, h, w), np.array(ins[2]).reshape(n, 4)
    box = np.clip(box, [0, -np.inf, 0, -np.inf], [np.inf, w - 1, np.inf, h - 1]).astype(box.dtype)
    i, j = np.indices((rows, columns), ins[1].dtype)
    u, v = (m[0] * j + (m[1] * i + m[2])
            for m in ins[1].reshape(n, 2, 3).transpose(1, 2, 0)[..., None, None])
    if border:
        u = np.clip(u, box[:, 0, None, None], box[:, 1, None, None])
        v = np.clip(v, box[:, 2, None, None], box[:, 3, None, None])
    if nearest:
        return (_look(x, np.rint(u), np.rint(v), box, f[0]),)
    left, above = np.floor(u), np.floor(v)
    right, below = (u - left)[:, None], (v - above)[:, None]
    upper, lower = (
        _between(_look(x, left, row, box, f[0]), _look(x, left + 1, row, box, f[0]), right)
        for row in (above, above + 1)
    )
    return (_between(upper, lower, below),)


def paste(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    n, c, h, w, one = dim[:5]
    y = np.array(ins[0]).reshape(n, c, h, w)
    z = np.broadcast_to(ins[1], y.shape) if one else ins[1].reshape(y.shape)
    for k, (first, last, top, bottom) in enumerate(ins[2].reshape(n, 4)):
        here = np.s_[k, :, max(top, 0):max(bottom, 0), max(first, 0):max(last, 0)]
        y[here] = z[here]
    return (y,)
