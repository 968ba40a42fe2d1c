"""NumPy twins of op_loss.h and op_cross_entropy.h."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = list[Any]
NONE, MEAN, SUM = range(3)


# ---------------------------------------------------------------- elementwise losses


def _reduced(terms: np.ndarray, dim: list[int]) -> tuple[Any, ...]:
    return (terms if dim[1] == NONE else terms.sum() / dim[2],)


def _gradients(slopes: list[Any], dy: Any, want: list[bool], dim: list[int]) -> Arrays:
    """Slopes along x and t, times the gradient that reaches each term."""
    g = dy if dim[1] == NONE else dy / dim[2]
    full = slopes + [None] * (len(want) - len(slopes))
    return [s() * g if w else None for s, w in zip(full, want, strict=True)]


def mse_loss(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, t = ins
    return _reduced((x - t) ** 2, dim)


def mse_loss_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    x, t = ins
    return _gradients([lambda: 2 * (x - t), lambda: 2 * (t - x)], gouts[0], want, dim)


def l1_loss(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, t = ins
    return _reduced(np.abs(x - t), dim)


def l1_loss_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    x, t = ins
    return _gradients([lambda: np.sign(x - t), lambda: np.sign(t - x)], gouts[0], want, dim)


def smooth_l1_loss(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    a, beta = np.abs(ins[0] - ins[1]), f[0]
    return _reduced(np.where(a < beta, a**2 / (2 * beta), a - beta / 2), dim)


def smooth_l1_loss_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    d, beta = ins[0] - ins[1], f[0]
    slope = np.where(np.abs(d) < beta, d / beta, np.sign(d))
    return _gradients([lambda: slope, lambda: -slope], gouts[0], want, dim)


def huber_loss(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    a, delta = np.abs(ins[0] - ins[1]), f[0]
    return _reduced(np.where(a <= delta, a**2 / 2, delta * (a - delta / 2)), dim)


def huber_loss_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    slope = np.clip(ins[0] - ins[1], -f[0], f[0])
    return _gradients([lambda: slope, lambda: -slope], gouts[0], want, dim)


def hinge_loss(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, t = ins
    return _reduced(np.maximum(f[0] - t * x, 0), dim)


def hinge_loss_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    x, t = ins
    closed = f[0] - t * x <= 0
    return _gradients([lambda: np.where(closed, 0, -t), lambda: np.where(closed, 0, -x)],
                      gouts[0], want, dim)


def _logs(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log x and log(1 - x), not below -100."""
    return np.maximum(np.log(x), -100), np.maximum(np.log1p(-x), -100)


def binary_cross_entropy(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, t, w = ins
    log_x, log_1m = _logs(x)
    return _reduced(-(w if dim[3] else 1) * (t * log_x + (1 - t) * log_1m), dim)


def binary_cross_entropy_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    x, t, w = ins
    w = w if dim[3] else 1
    log_x, log_1m = _logs(x)
    return _gradients([lambda: w * (x - t) / np.maximum(x * (1 - x), 1e-12),
                       lambda: w * (log_1m - log_x)], gouts[0], want, dim)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def binary_cross_entropy_with_logits(
    ins: Arrays, dim: list[int], f: list[float]
) -> tuple[Any, ...]:
    x, t, w, pos = ins
    loss = np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))
    if dim[4]:
        loss = loss + (pos - 1) * t * _softplus(-x)
    return _reduced(w * loss if dim[3] else loss, dim)


def binary_cross_entropy_with_logits_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    x, t, w, pos = ins
    w, pos = (w if dim[3] else 1), (pos if dim[4] else 1)
    return _gradients([lambda: w * ((1 - t) / (1 + np.exp(-x)) - pos * t / (1 + np.exp(x))),
                       lambda: w * ((pos - 1) * _softplus(-x) - x)], gouts[0], want, dim)


def kl_div(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, t = ins
    return _reduced(np.where(t == 0, 0, t * np.log(t)) - t * x, dim)


def kl_div_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    x, t = ins
    return _gradients([lambda: -t, lambda: np.log(t) + 1 - x], gouts[0], want, dim)


def kl_div_log(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, t = ins
    return _reduced(np.exp(t) * (t - x), dim)


def kl_div_log_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    x, t = ins
    return _gradients([lambda: -np.exp(t), lambda: np.exp(t) * (t - x + 1)], gouts[0], want, dim)


# ---------------------------------------------------------------- losses of class scores


def _picked(
    target: np.ndarray, w: np.ndarray, dim: list[int], dtype: Any
) -> tuple[Any, Any, Any]:
    """Which targets count and the weight of each, (n, d); and [j = target], (n, c, d)."""
    n, classes, d, _, ignored, weighted = dim[:6]
    t = target.reshape(n, d)
    live = (t != ignored) & (t >= 0) & (t < classes)
    safe = np.where(live, t, 0)
    if weighted:
        weight = np.where(live, w[safe], 0).astype(dtype)
    else:
        weight = live.astype(dtype)
    one_hot = (np.arange(classes)[:, None] == safe[:, None, :]) & live[:, None, :]
    return live, weight, one_hot


def _class_reduced(loss: np.ndarray, weight: np.ndarray, mode: int) -> tuple[Any, np.ndarray]:
    """The reduced loss and the total weight."""
    total = weight.sum()
    if mode == NONE:
        return loss, total[None]
    if mode == SUM:
        return loss.sum(), total[None]
    return (loss.sum() / total if total != 0 else np.zeros_like(total)), total[None]


def _upstream(dy: np.ndarray, live: np.ndarray, total: float, mode: int) -> np.ndarray:
    """The gradient that reaches the loss of each row."""
    if mode == MEAN:
        dy = dy / total if total != 0 else np.zeros_like(dy)
    return np.where(live, dy.reshape(live.shape) if mode == NONE else dy, 0)


def nll_loss(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, target, w = ins
    x = x.reshape(dim[:3])
    _, weight, one_hot = _picked(target, w, dim, x.dtype)
    return _class_reduced(-weight * np.where(one_hot, x, 0).sum(axis=1), weight, dim[3])


def nll_loss_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    _, target, w = ins
    live, weight, one_hot = _picked(target, w, dim, gouts[0].dtype)
    dl = _upstream(gouts[0], live, outs[1][0], dim[3])
    return [np.where(one_hot, -(weight * dl)[:, None, :], 0), None, None]


def _log_softmax(x: np.ndarray, m: np.ndarray, s: np.ndarray) -> np.ndarray:
    return x - m[:, None] - np.log(s)[:, None]


def cross_entropy(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, target, w = ins
    x, e = x.reshape(dim[:3]), f[0]
    live, weight, one_hot = _picked(target, w, dim, x.dtype)
    m = x.max(axis=1, initial=-np.inf)
    s = np.exp(x - m[:, None]).sum(axis=1)
    log_p = _log_softmax(x, m, s)
    loss = -weight * np.where(one_hot, log_p, 0).sum(axis=1)
    classes = (w if dim[5] else np.ones(dim[1], x.dtype))[:, None]
    slope = (1 - e) * weight[:, None] * (np.exp(log_p) - one_hot)
    if e > 0:
        loss = (1 - e) * loss - e / dim[1] * (classes * log_p).sum(axis=1)
        slope = slope + e / dim[1] * (np.exp(log_p) * classes.sum() - classes)
    y, total = _class_reduced(np.where(live, loss, 0), weight, dim[3])
    dl = _upstream(np.ones_like(y), live, total[0], dim[3])
    slope = np.where(live[:, None], slope * dl[:, None], 0)
    return y, slope if dim[6] else np.empty(0, x.dtype)


def cross_entropy_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    target, slope, dy = ins[1].reshape(dim[0], dim[2]), outs[1].reshape(dim[:3]), gouts[0]
    if dim[3] == NONE:
        dy = np.where(target != dim[4], dy.reshape(dim[0], dim[2]), 0)[:, None]
    return [slope * dy, None, None]


def soft_cross_entropy(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, t, w = ins
    x, t, e = x.reshape(dim[:2]), t.reshape(dim[:2]), f[0]
    q = ((1 - e) * t + e / dim[1]) * (w if dim[3] else 1)
    m = x.max(axis=1, initial=-np.inf)
    s = np.exp(x - m[:, None]).sum(axis=1)
    loss = -(q * _log_softmax(x, m, s)).sum(axis=1)
    y = loss if dim[2] == NONE else loss.sum() / (dim[0] if dim[2] == MEAN else 1)
    return y, np.stack([m, s, q.sum(axis=1)])


def soft_cross_entropy_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    x, t, w = ins
    x, t, e = x.reshape(dim[:2]), t.reshape(dim[:2]), f[0]
    m, s, total = outs[1].reshape(3, dim[0])
    weight = w if dim[3] else np.ones(dim[1], x.dtype)
    dl = gouts[0].reshape(-1, 1) / (dim[0] if dim[2] == MEAN else 1)
    log_p = _log_softmax(x, m, s)
    q = ((1 - e) * t + e / dim[1]) * weight
    return [dl * (np.exp(log_p) * total[:, None] - q) if want[0] else None,
            -dl * (1 - e) * weight * log_p if want[1] else None, None]
