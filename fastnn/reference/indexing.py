"""NumPy twins of op_indexing.h."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = list[Any]


def take(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (ins[0].reshape(dim[:3])[:, ins[1].reshape(-1)],)


def take_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    dx = np.zeros(dim[:3], gouts[0].dtype)
    index = ins[1].reshape(-1)
    keep = (index != dim[5]) & (0 <= index) & (index < dim[1])
    dy = gouts[0].reshape(dim[0], dim[3], dim[2])
    rows: Any = (slice(None), index[keep])
    np.add.at(dx, rows, dy[:, keep])
    return [dx, None]


def outside(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    bad = (ins[0] < dim[1]) | (ins[0] >= dim[2])
    if dim[4]:
        bad &= ins[0] != dim[3]
    return (np.int64(np.argmax(bad) if bad.any() else -1),)


def scaled_rows(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, index, mean, std = ins
    rows = x.reshape(dim[1], dim[2])[index].astype(mean.dtype)
    return ((rows - np.repeat(mean, dim[3])) / np.repeat(std, dim[3]),)


def _columns(index: np.ndarray, dim: list[int]) -> tuple[np.ndarray, ...]:
    """The elements that an index of shape (outer, m, inner) names."""
    index = index.reshape(dim[0], dim[3], dim[2])
    return np.arange(dim[0])[:, None, None], index, np.arange(dim[2])


def gather(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (ins[0].reshape(dim[:3])[_columns(ins[1], dim)],)


def gather_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    dx = np.zeros(dim[:3], gouts[0].dtype)
    np.add.at(dx, _columns(ins[1], dim), gouts[0].reshape(dim[0], dim[3], dim[2]))
    return [dx, None]


def scatter_add(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    y = ins[0].reshape(dim[:3]).copy()
    np.add.at(y, _columns(ins[1], dim), ins[2].reshape(dim[0], dim[3], dim[2]))
    return (y,)


def scatter_add_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    dy = gouts[0].reshape(dim[:3])
    return [dy if want[0] else None, None, dy[_columns(ins[1], dim)] if want[2] else None]


def scatter(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    y, hit = ins[0].reshape(dim[:3]).copy(), np.zeros(dim[:3], bool)
    y[_columns(ins[1], dim)] = ins[2].reshape(dim[0], dim[3], dim[2])
    hit[_columns(ins[1], dim)] = True
    return y, hit


def scatter_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    dy = gouts[0].reshape(dim[:3])
    return [np.where(outs[1].reshape(dim[:3]), 0, dy) if want[0] else None, None,
            dy[_columns(ins[1], dim)] if want[2] else None]
