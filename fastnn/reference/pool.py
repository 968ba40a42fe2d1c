"""NumPy twins of op_pool.h: one window after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Arrays = list[Any]


def _sizes(dim: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of x and y."""
    n, h, w, c, _, _, oh, ow = dim[:8]
    return (n, h, w, c), (n, oh, ow, c)


def _taps(dim: list[int], axis: int, o: int) -> list[tuple[int, int]]:
    """(tap, pixel) of window o of an axis that lie inside the image."""
    size, out = dim[1 + axis], dim[6 + axis]
    if dim[14] & 2:
        begin, end = o * size // out, -(-(o + 1) * size // out)
        return [(p - begin, p) for p in range(begin, end)]
    start = o * dim[8 + axis] - dim[10 + axis]
    pixels = [(t, start + t * dim[12 + axis]) for t in range(dim[4 + axis])]
    return [(t, p) for t, p in pixels if 0 <= p < size]


def _windows(dim: list[int]) -> Iterator[tuple[int, int, list[tuple[int, int, int]]]]:
    """(i, j, [(number of a pixel in window (i, j), its row, its column)])"""
    for i in range(dim[6]):
        for j in range(dim[7]):
            across = _taps(dim, 1, j)
            yield i, j, [(a * dim[5] + b, y, x) for a, y in _taps(dim, 0, i) for b, x in across]


def max_pool2d(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    shape, out = _sizes(dim)
    x = ins[0].reshape(shape)
    y, taps = np.full(out, -np.inf, x.dtype), np.zeros(out, np.uint8)
    for i, j, pixels in _windows(dim):
        for number, row, column in pixels:
            a = x[:, row, column]
            better = (a > y[:, i, j]) | np.isnan(a)
            y[:, i, j][better] = a[better]
            taps[:, i, j][better] = number
    return y, taps


def max_pool2d_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    shape, out = _sizes(dim)
    dy, taps = gouts[0].reshape(out), outs[1].reshape(out)
    dx = np.zeros(shape, dy.dtype)
    for i, j, pixels in _windows(dim):
        for number, row, column in pixels:
            dx[:, row, column] += np.where(taps[:, i, j] == number, dy[:, i, j], 0)
    return [dx]


def _divisor(dim: list[int], i: int, j: int, inside: int) -> int:
    if dim[15] or not dim[14] & 1:
        return dim[15] or inside
    counts = [min(o * dim[8 + a] - dim[10 + a] + dim[4 + a], dim[1 + a] + dim[10 + a])
              - (o * dim[8 + a] - dim[10 + a]) for a, o in ((0, i), (1, j))]
    return counts[0] * counts[1]


def avg_pool2d(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    shape, out = _sizes(dim)
    x = ins[0].reshape(shape)
    y = np.zeros(out, x.dtype)
    for i, j, pixels in _windows(dim):
        total = sum(x[:, row, column] for _, row, column in pixels)
        y[:, i, j] = total / _divisor(dim, i, j, len(pixels))
    return (y,)


def avg_pool2d_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    shape, out = _sizes(dim)
    dy = gouts[0].reshape(out)
    dx = np.zeros(shape, dy.dtype)
    for i, j, pixels in _windows(dim):
        for _, row, column in pixels:
            dx[:, row, column] += dy[:, i, j] / _divisor(dim, i, j, len(pixels))
    return [dx]
