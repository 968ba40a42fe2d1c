"""NumPy twins of op_linear.h."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = list[Any]


def _unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum a gradient over the axes that broadcasting added or stretched."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    stretched = tuple(i for i, s in enumerate(shape) if s == 1 and g.shape[i] != 1)
    return g.sum(axis=stretched, keepdims=True)


def matmul(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    a, b = ins
    return (np.matmul(a.swapaxes(-1, -2) if dim[3] else a, b.swapaxes(-1, -2) if dim[4] else b),)


def matmul_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    (a, b), dy = ins, gouts[0]
    op_a, op_b = (a.swapaxes(-1, -2) if dim[3] else a), (b.swapaxes(-1, -2) if dim[4] else b)
    grads: Arrays = [None, None]
    if want[0]:
        da = _unbroadcast(np.matmul(dy, op_b.swapaxes(-1, -2)), op_a.shape)
        grads[0] = da.swapaxes(-1, -2) if dim[3] else da
    if want[1]:
        db = _unbroadcast(np.matmul(op_a.swapaxes(-1, -2), dy), op_b.shape)
        grads[1] = db.swapaxes(-1, -2) if dim[4] else db
    return grads


def linear(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, w, b = ins
    y = x @ w.T
    return (y + b if dim[3] else y,)


def linear_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    (x, w, _), dy = ins, gouts[0]
    rows, drows = x.reshape(dim[0], dim[2]), dy.reshape(dim[:2])
    return [
        dy @ w if want[0] else None,
        drows.T @ rows if want[1] else None,
        drows.sum(axis=0)[: dim[1] * dim[3]] if want[2] else None,
    ]


def linear_relu(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (np.maximum(linear(ins, dim, f)[0], 0),)


def linear_relu_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    return linear_grad(ins, outs, [np.where(outs[0] > 0, gouts[0], 0)], want, dim, f)
