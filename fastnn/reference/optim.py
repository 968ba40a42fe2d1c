"""NumPy twins of op_optim.h. They change parameters, counts, states and gradients in place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Arrays = list[Any]
CHUNK = 4096


def _run(ins: Arrays, dim: list[int]) -> tuple[Any, Any, list[Any], int, float]:
    """Views p and states of the run, its gradient (turned for maximize), flags, step number."""
    n, p_at, g_at, state_at, first, number, flags = dim[:7]
    p = ins[0].reshape(-1)[p_at : p_at + n]
    g = ins[1].reshape(-1)[g_at : g_at + n]
    states = [s.reshape(-1)[state_at : state_at + n] for s in ins[4:]]
    return p, -g if flags & 1 else g, states, flags, float(ins[2][first]) + 1


def _count(ins: Arrays, dim: list[int]) -> None:
    ins[2][dim[4] : dim[4] + dim[5]] += 1


def sgd(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    p, g, (b,), flags, t = _run(ins, dim)
    lr, momentum, dampening, decay = map(float, ins[3])
    g = g + decay * p
    if flags & 4:
        b[...] = g if t == 1 else momentum * b + (1 - dampening) * g
        g = g + momentum * b if flags & 2 else b
        _count(ins, dim)
    p -= lr * g
    return ()


def rmsprop(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    p, g, (v, b, a), flags, _ = _run(ins, dim)
    lr, alpha, eps, decay, momentum = map(float, ins[3])
    g = g + decay * p
    v[...] = alpha * v + (1 - alpha) * g * g
    variance = v
    if flags & 2:
        a[...] = alpha * a + (1 - alpha) * g
        variance = np.maximum(v - a * a, 0)
    u = g / (np.sqrt(variance) + eps)
    if flags & 4:
        b[...] = momentum * b + u
        u = b
    p -= lr * u
    _count(ins, dim)
    return ()


def adagrad(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    p, g, (v,), _, t = _run(ins, dim)
    lr, lr_decay, decay, eps = map(float, ins[3])
    g = g + decay * p
    v += g * g
    p -= lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(v) + eps)
    _count(ins, dim)
    return ()


def adam(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    p, g, (m, v, largest), flags, t = _run(ins, dim)
    lr, beta1, beta2, eps, decay = map(float, ins[3])
    if flags & 4:                           # decoupled, as in AdamW
        p *= 1 - lr * decay
    else:
        g = g + decay * p
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    second = v
    if flags & 2:
        largest[...] = second = np.maximum(largest, v)
    p -= lr * (m / (1 - beta1**t)) / (np.sqrt(second / (1 - beta2**t)) + eps)
    _count(ins, dim)
    return ()


def lion(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    p, g, (m,), _, _ = _run(ins, dim)
    lr, beta1, beta2, decay = map(float, ins[3])
    p -= lr * (np.sign(beta1 * m + (1 - beta1) * g) + decay * p)
    m[...] = beta2 * m + (1 - beta2) * g
    _count(ins, dim)
    return ()


def _segments(ins: Arrays, dim: list[int]) -> Iterator[tuple[Any, int]]:
    """The chunks of each segment: a view, and its number."""
    x = ins[0].reshape(-1)
    for start, size, number, _ in ins[1].reshape(-1, 4)[: dim[0]]:
        for k, at in enumerate(range(0, size, CHUNK)):
            yield x[start + at : start + min(at + CHUNK, size)], number + k


def grad_sums(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    for x, number in _segments(ins, dim):
        sizes = abs(x)
        ins[2][number] = (sizes.max, sizes.sum, (sizes * sizes).sum)[dim[3]]()
    return ()


def grad_norm(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    sums = ins[0].astype(np.float64)
    norm = sums.max(initial=0) if dim[1] == 0 else sums.sum()
    norm = np.sqrt(norm) if dim[1] == 2 else norm
    return norm, np.minimum(f[0] / (norm + 1e-6), 1)


def grad_scale(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    for x, _ in _segments(ins, dim):
        x *= ins[2]
    return ()


def grad_clamp(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    for x, _ in _segments(ins, dim):
        x[...] = np.clip(x, -f[0], f[0])
    return ()


def grad_zero(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    for x, _ in _segments(ins, dim):
        x[...] = 0
    return ()
