"""NumPy twins of op_image.h."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Arrays = list[Any]


def _taps(ins: Arrays) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows (OH, 1), columns (OW) and weights (OH, OW, 1) of the four pixels seen by each output."""
    _, rows, v, columns, u = ins
    for row, down in zip(rows.reshape(2, -1), (1 - v, v), strict=True):
        for column, across in zip(columns.reshape(2, -1), (1 - u, u), strict=True):
            yield row[:, None], column, (down[:, None] * across)[..., None]


def interpolate(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    outer, h, w, inner, rows, columns = dim[:6]
    x = ins[0].reshape(outer, h, w, inner)
    y = np.zeros((outer, rows, columns, inner), x.dtype)
    for row, column, weight in _taps(ins):          # a NaN without weight is not seen
        y += weight * np.where(weight == 0, 0, x[:, row, column])
    return (y,)


def interpolate_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    outer, h, w, inner, rows, columns = dim[:6]
    dy = gouts[0].reshape(outer, rows, columns, inner)
    dx = np.zeros((outer, h, w, inner), dy.dtype)
    for row, column, weight in _taps(ins):
        seen: Any = slice(None), row, column
        np.add.at(dx, seen, weight * np.where(weight == 0, 0, dy))
    return [dx, None, None, None, None]


def _windows(x: np.ndarray, dim: list[int]) -> np.ndarray:
    """The windows (P, KH, KW, OH, OW) of planes (P, H, W), as a view of them with a border."""
    p, h, w, kh, kw, rows, columns, sh, sw, ph, pw, dh, dw = dim[:13]
    a, b, i, j = np.ogrid[:kh, :kw, :rows, :columns]
    padded = np.pad(x.reshape(p, h, w), [(0, 0), (ph, ph), (pw, pw)])
    return padded[:, i * sh + a * dh, j * sw + b * dw]


def _sum_of_windows(y: np.ndarray, dim: list[int]) -> np.ndarray:
    p, h, w, kh, kw, rows, columns, sh, sw, ph, pw, dh, dw = dim[:13]
    x = np.zeros((p, h + 2 * ph, w + 2 * pw), y.dtype)
    for a, b in np.ndindex(kh, kw):
        x[:, a * dh:a * dh + rows * sh:sh, b * dw:b * dw + columns * sw:sw] += (
            y.reshape(p, kh, kw, rows, columns)[:, a, b])
    return x[:, ph:ph + h, pw:pw + w]


def unfold(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (_windows(ins[0], dim),)


def unfold_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    return [_sum_of_windows(gouts[0], dim)]


def fold(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (_sum_of_windows(ins[0], dim),)


def fold_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    return [_windows(gouts[0], dim)]


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
