"""NumPy twins of op_movement.h."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = list[Any]


def _places(dim: list[int]) -> np.ndarray:
    """The elements of x that a strided record reads, in the order of y."""
    places = np.array(dim[12])
    for n, stride in zip(dim[:6], dim[6:12], strict=True):
        places = places[..., None] + stride * np.arange(n)
    return places


def strided(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (ins[0].reshape(-1)[_places(dim)],)


def strided_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    dx = np.zeros(dim[13], gouts[0].dtype)
    dx[_places(dim)] = gouts[0].reshape(dim[:6])
    return [dx]


def expand(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (np.repeat(ins[0].reshape(dim[0], 1, dim[2]), dim[1], axis=1),)


def expand_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    return [gouts[0].reshape(dim[:3]).sum(axis=1)]


def cat(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    parts = [x.reshape(dim[0], n, dim[1]) for x, n in zip(ins, dim[4:], strict=False)]
    return (np.concatenate(parts, axis=1),)


def cat_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    dy = gouts[0].reshape(dim[0], dim[2], dim[1])
    return np.split(dy, np.cumsum(dim[4 : 3 + len(ins)]), axis=1)


def _band(x: np.ndarray, dim: list[int]) -> np.ndarray:
    gap = np.arange(dim[2]) - np.arange(dim[1])[:, None]
    return np.where((dim[3] <= gap) & (gap <= dim[4]), x.reshape(dim[:3]), np.zeros((), x.dtype))


def band(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (_band(ins[0], dim),)


def band_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    return [_band(gouts[0], dim)]


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
