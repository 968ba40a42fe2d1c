"""NumPy twins of op_norm.h and op_batch_norm.h."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = list[Any]


def _sum(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return x.sum(axis=axes, keepdims=True)


# ---- means over groups of channels of one item: x as (batch, groups, channels, length)

def _groups(x: Any, dim: list[int]) -> np.ndarray:
    batch, groups, channels, length = dim[:4]
    return np.asarray(x).reshape(batch, groups, channels // groups, length)


def _gain(w: Any, dim: list[int], has: int) -> Any:
    return np.asarray(w).reshape(1, dim[1], -1, 1) if has else None


def _affine(hat: np.ndarray, w: Any, b: Any) -> np.ndarray:
    y = hat if w is None else hat * w
    return y if b is None else y + b


def _normal(x: np.ndarray, f: list[float], rms: bool) -> tuple[np.ndarray, ...]:
    """x^, the mean's distance from the first element, and 1 / sqrt(variance + eps)."""
    first = x[:, :, :1, :1] if x[0, 0].size else np.zeros_like(x, shape=(*x.shape[:2], 1, 1))
    n = max(x.shape[2] * x.shape[3], 1)
    delta = _sum(x - first, (2, 3)) / n
    centred = x if rms else x - first - delta
    rstd = 1 / np.sqrt(_sum(centred**2, (2, 3)) / n + x.dtype.type(f[0]))
    return centred * rstd, delta, rstd


def _rows(x: Any, w: Any, b: Any, dim: list[int], f: list[float], rms: bool = False) -> Arrays:
    if not x.size:
        nothing = np.zeros(dim[:2], x.dtype)
        return [x, nothing, nothing + 1 / np.sqrt(x.dtype.type(f[0]))]
    hat, delta, rstd = _normal(_groups(x, dim), f, rms)
    return [_affine(hat, _gain(w, dim, dim[4]), _gain(b, dim, dim[5])), delta, rstd]


def _rows_grad(
    x: Any, w: Any, dy: Any, want: list[bool], dim: list[int], f: list[float], rms: bool = False
) -> Arrays:
    """Gradients of x, w and b where wanted."""
    channels = dim[2]
    if dy is None or not dy.size:
        size = dim[0] * channels * dim[3]
        zero = np.zeros(channels)
        return [np.zeros(size), zero[: channels * dim[4]], zero[: channels * dim[5]]]
    dy, (hat, _, rstd) = _groups(dy, dim), _normal(_groups(x, dim), f, rms)
    n = hat.shape[2] * hat.shape[3]
    dx = None
    if want[0]:
        g = dy * _gain(w, dim, 1) if dim[4] else dy
        mean = 0 if rms else _sum(g, (2, 3)) / n
        dx = (g - mean - hat * _sum(g * hat, (2, 3)) / n) * rstd
    dw, db = (_sum(v, (0, 3)).reshape(-1) for v in (dy * hat, dy))
    return [dx, dw[: channels * dim[4]], db[: channels * dim[5]]]


def layer_norm(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, w, b = ins
    return tuple(_rows(x, w, b, dim, f))


def layer_norm_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    return _wanted(_rows_grad(ins[0], ins[1], gouts[0], want, dim, f), want)


def _wanted(grads: Arrays, want: list[bool]) -> Arrays:
    return [g if w else None for g, w in zip(grads, want, strict=True)]


group_norm, group_norm_grad = layer_norm, layer_norm_grad


def add_layer_norm(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, r, w, b = ins
    s = x + r
    y, delta, rstd = _rows(s, w, b, dim, f)
    return y, s, delta, rstd


def add_layer_norm_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    inner = [want[0] or want[1], *want[2:]]
    ds, *rest = _rows_grad(outs[1], ins[2], gouts[0], inner, dim, f)
    return _wanted(_with_sum(ds, gouts[1]) + rest, want)


def _with_sum(ds: Any, dsum: Any) -> Arrays:
    """The gradients of both terms of a sum whose own gradient is dsum."""
    if ds is None:
        return [None, None]
    ds = ds if dsum is None else ds + dsum.reshape(ds.shape)
    return [ds, ds]


def rms_norm(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, w = ins
    y, _, rstd = _rows(x, w, None, dim, f, True)
    return y, rstd


def rms_norm_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    return _wanted(_rows_grad(ins[0], ins[1], gouts[0], want, dim, f, True)[:2], want)


def add_rms_norm(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x, r, w = ins
    s = x + r
    y, _, rstd = _rows(s, w, None, dim, f, True)
    return y, s, rstd


def add_rms_norm_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    inner = [want[0] or want[1], want[2]]
    ds, dw, _ = _rows_grad(outs[1], ins[2], gouts[0], inner, dim, f, True)
    return _wanted([*_with_sum(ds, gouts[1]), dw], want)


# ---- means over all items of a channel: x as (batch, channels, length)

def _channels(x: Any, dim: list[int]) -> np.ndarray:
    return np.asarray(x).reshape(dim[:3])


def _column(p: Any, has: int = 1) -> Any:
    return np.asarray(p).reshape(1, -1, 1) if has else None


def _z(hat: np.ndarray, ins: Arrays, dim: list[int]) -> np.ndarray:
    z = _affine(hat, _column(ins[1], dim[3]), _column(ins[2], dim[4]))
    return z + _channels(ins[3], dim) if dim[5] else z


def _act(z: np.ndarray, dim: list[int]) -> np.ndarray:
    return np.maximum(z, 0) if dim[6] else z


def _statistics(x: np.ndarray, f: list[float]) -> tuple[np.ndarray, ...]:
    first, n = x[:1, :, :1], x.shape[0] * x.shape[2]
    delta = _sum(x - first, (0, 2)) / n
    centred = x - first - delta
    var = _sum(centred**2, (0, 2)) / n
    return centred, delta, var, 1 / np.sqrt(var + x.dtype.type(f[0]))


def batch_norm(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    *_, running_mean, running_var, count = ins
    if dim[8]:
        count += 1
    x = _channels(ins[0], dim)
    n = x.shape[0] * x.shape[2]
    if n == 0:
        return x, np.zeros(dim[1]), np.zeros(dim[1])
    centred, delta, var, rstd = _statistics(x, f)
    if dim[7]:
        momentum = running_mean.dtype.type(1 / float(count.item()) if dim[9] else f[1])
        mean = (x[:1, :, :1] + delta).reshape(-1)
        for running, now in ((running_mean, mean), (running_var, var.reshape(-1) * (n / (n - 1)))):
            running[...] = (1 - momentum) * running + momentum * now
    return _act(_z(centred * rstd, ins, dim), dim), delta, rstd


def batch_norm_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    x = _channels(ins[0], dim)
    if not x.size:
        return _wanted([np.zeros_like(v) for v in ins[:4]], want[:4]) + [None] * 3
    centred, _, _, rstd = _statistics(x, f)
    return _channel_grads(centred * rstd, rstd, ins, gouts[0], want, dim, 1) + [None] * 3


def _channel_grads(
    hat: np.ndarray, rstd: np.ndarray, ins: Arrays, dy: Any, want: list[bool], dim: list[int],
    moving: int,
) -> Arrays:
    """Gradients of x, w, b and the residual; moving: mean and variance follow x."""
    dz = _channels(dy, dim)
    dz = np.where(_z(hat, ins, dim) <= 0, 0, dz) if dim[6] else dz
    db, dw = _sum(dz, (0, 2)), _sum(dz * hat, (0, 2))
    dx = dz - moving * (db + hat * dw) / (dim[0] * dim[2])
    dx = dx * rstd * (_column(ins[1]) if dim[3] else 1)
    empty = dz[:0]
    return _wanted([dx, dw if dim[3] else empty, db if dim[4] else empty,
                    dz if dim[5] else empty], want[:4])


def batch_norm_eval(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    hat, rstd = _evaluated(ins, dim, f)
    return _act(_z(hat, ins, dim), dim), rstd


def _evaluated(ins: Arrays, dim: list[int], f: list[float]) -> tuple[np.ndarray, np.ndarray]:
    var = _column(ins[5])
    rstd = 1 / np.sqrt(var + var.dtype.type(f[0]))
    return (_channels(ins[0], dim) - _column(ins[4])) * rstd, rstd


def batch_norm_eval_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    rstd = _column(outs[1])
    hat = (_channels(ins[0], dim) - _column(ins[4])) * rstd
    if not hat.size:
        return _wanted([np.zeros_like(v) for v in ins[:4]], want[:4]) + [None] * 2
    return _channel_grads(hat, rstd, ins, gouts[0], want, dim, 0) + [None] * 2
