"""NumPy twins of op_reduce.h.  x: (outer, n, inner) after ``_axis``."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = list[Any]


def _axis(x: Any, dim: list[int]) -> np.ndarray:
    return np.asarray(x).reshape(dim[:3])


def _one(y: Any, dim: list[int]) -> np.ndarray:
    """A result with its axis back, of size 1."""
    return np.asarray(y).reshape(dim[0], 1, dim[2])


def sum(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (_axis(ins[0], dim).sum(axis=1) / f[0],)


def sum_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    return [np.repeat(_one(gouts[0], dim) / f[0], dim[1], axis=1)]


def sum_int(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (_axis(ins[0], dim).sum(axis=1, dtype=np.int64),)


def amax(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (_axis(ins[0], dim).max(axis=1),)


def amax_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    x, y = _axis(ins[0], dim), _one(outs[0], dim)
    hit = (x == y) | (np.isnan(x) & np.isnan(y))
    return [hit * (_one(gouts[0], dim) / hit.sum(axis=1, keepdims=True))]


def amin(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (_axis(ins[0], dim).min(axis=1),)


amin_grad = amax_grad


def max(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x = _axis(ins[0], dim)
    return x.max(axis=1), x.argmax(axis=1)


def max_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    dx = np.zeros(dim[:3], gouts[0].dtype)
    np.put_along_axis(dx, _one(outs[1], dim), _one(gouts[0], dim), axis=1)
    return [dx]


def min(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x = _axis(ins[0], dim)
    return x.min(axis=1), x.argmin(axis=1)


min_grad = max_grad


def var(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x = _axis(ins[0], dim)
    mean = x.mean(axis=1, keepdims=True)
    y = ((x - mean) ** 2).sum(axis=1) / f[0]
    return (np.sqrt(y) if dim[3] else y), mean


def var_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    y, dy, mean = (_one(a, dim) for a in (outs[0], gouts[0], outs[1]))
    slope = np.where(y == 0, 0, dy / y) if dim[3] else 2 * dy
    return [slope * (_axis(ins[0], dim) - mean) / f[0]]


def norm(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (np.sqrt((_axis(ins[0], dim) ** 2).sum(axis=1)),)


def norm_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    y = _one(outs[0], dim)
    return [np.where(y == 0, 0, _one(gouts[0], dim) / y) * _axis(ins[0], dim)]


def logsumexp(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x = _axis(ins[0], dim)
    top = x.max(axis=1, keepdims=True)
    shift = np.where(np.isinf(top), 0, top)
    y = shift + np.log(np.exp(x - shift).sum(axis=1, keepdims=True))
    return np.where(np.isinf(top), top, y), top


def logsumexp_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    y = _one(outs[0], dim)
    return [_one(gouts[0], dim) * np.exp(_axis(ins[0], dim) - np.where(np.isinf(y), 0, y))]


def prod(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (_axis(ins[0], dim).prod(axis=1),)


def prod_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    x = _axis(ins[0], dim)
    ones = np.ones((dim[0], 1, dim[2]), x.dtype)
    before = np.concatenate([ones, x[:, :-1]], axis=1).cumprod(axis=1)
    behind = np.concatenate([x[:, 1:], ones], axis=1)[:, ::-1].cumprod(axis=1)[:, ::-1]
    return [_one(gouts[0], dim) * before[:, : dim[1]] * behind[:, : dim[1]]]


def cumsum(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (_axis(ins[0], dim).cumsum(axis=1),)


def cumsum_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    return [_axis(gouts[0], dim)[:, ::-1].cumsum(axis=1)[:, ::-1]]
