"""NumPy twins of op_linear.h."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import activation

Arrays = list[Any]


def _swapped(x: np.ndarray, swap: int) -> np.ndarray:
    return x.swapaxes(-1, -2) if swap else x


def matmul(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    a, b = ins
    return (np.matmul(_swapped(a, dim[3]), _swapped(b, dim[4])),)


def matmul_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    m, n, k, ta, tb, n0, n1, *strides = dim[:11]
    dy = gouts[0].reshape(n0, n1, m, n)
    batches = [(n0 if strides[j] else 1, n1 if strides[j + 1] else 1) for j in (0, 2)]
    grads: Arrays = [None, None]
    for j in (0, 1):
        if not want[j]:
            continue
        if j == 0:
            b = ins[1].reshape(*batches[1], *((n, k) if tb else (k, n)))
            g = _swapped(dy @ _swapped(b, not tb), ta)
        else:
            a = ins[0].reshape(*batches[0], *((k, m) if ta else (m, k)))
            g = _swapped(_swapped(a, not ta) @ dy, tb)
        shared = tuple(i for i in (0, 1) if batches[j][i] == 1)
        grads[j] = g.sum(axis=shared)
    return grads


def pack_weight(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    n, k = dim[:2]
    w = np.pad(ins[0].reshape(n, k), ((0, -n % 32), (0, 0)))
    return (w.reshape(-1, 32, k).swapaxes(1, 2),)


def linear(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, w, b, r, _ = ins
    y = x @ w.T
    y = y + b if dim[3] else y
    return (y + r if dim[4] else y,)


def linear_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    (x, w, *_), dy = ins, gouts[0]
    drows = dy.reshape(dim[:2])
    return [
        dy @ w if want[0] else None,
        drows.T @ x.reshape(dim[0], dim[2]) if want[1] else None,
        drows.sum(axis=0)[: dim[1] * dim[3]] if want[2] else None,
        (dy if dim[4] else np.zeros(0, dy.dtype)) if want[3] else None,
        None,
    ]


_ACTIVATIONS = ("", "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid")


def linear_act(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    z = linear(ins, dim, f)[0]
    act = getattr(activation, _ACTIVATIONS[dim[6]])
    return *act([z], [z.size], f), z if dim[7] else np.zeros(0, z.dtype)


def linear_act_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    y, z = outs
    z = z if dim[7] else y                    # not read then
    act_grad = getattr(activation, f"{_ACTIVATIONS[dim[6]]}_grad")
    (dz,) = act_grad([z], [y], gouts[:1], [True], [y.size], f)
    return linear_grad(ins, outs, [dz], want, dim, f)
