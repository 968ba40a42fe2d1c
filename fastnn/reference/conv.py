"""NumPy twins of op_conv.h: a sum over taps of products over channels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import activation

Arrays = list[Any]


def _pixels(image: np.ndarray, planes: bool) -> np.ndarray:
    """Channels last, whatever they were."""
    return np.moveaxis(image, 1, -1) if planes else image


def _planes(image: np.ndarray, planes: bool) -> np.ndarray:
    """Channels first, if that is how they are wanted."""
    return np.moveaxis(image, -1, 1) if planes else image


class _Shape:
    """The sizes of a conv2d record."""

    def __init__(self, dim: list[int]) -> None:
        self.n, self.h, self.w, self.ci, self.co, self.kh, self.kw, self.oh, self.ow = dim[:9]
        self.stride, self.pad, self.dilation = dim[9:11], dim[11:13], dim[13:15]
        self.groups, self.flags = dim[15] >> 8, dim[15] & 255
        self.x = (self.n, self.h, self.w, self.ci)
        self.planes, self.planes_out = bool(self.flags & 16), bool(self.flags & 32)
        self.weight = (self.co, self.ci // self.groups, self.kh, self.kw)
        self.y = (self.n, self.oh, self.ow, self.co)

    def windows(self, x: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """(kh, kw, the view (N, OH, OW, groups, C) that this tap sees) of a padded x."""
        for i in range(self.kh):
            for j in range(self.kw):
                top, left = i * self.dilation[0], j * self.dilation[1]
                part = x[:, top : top + (self.oh - 1) * self.stride[0] + 1 : self.stride[0],
                         left : left + (self.ow - 1) * self.stride[1] + 1 : self.stride[1]]
                yield i, j, part.reshape(*part.shape[:3], self.groups, self.ci // self.groups)

    def padded(self, dtype: Any) -> np.ndarray:
        """Zeros as large as any window reaches."""
        out, kernel = (self.oh, self.ow), (self.kh, self.kw)
        reach = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in
                 zip(out, self.stride, kernel, self.dilation, strict=True)]
        h, w = (max(r, p + n) for r, p, n in zip(reach, self.pad, (self.h, self.w), strict=True))
        return np.zeros((self.n, h, w, self.ci), dtype)

    def inside(self, padded: np.ndarray) -> np.ndarray:
        top, left = self.pad
        return padded[:, top : top + self.h, left : left + self.w]

    def grouped(self, w: np.ndarray) -> np.ndarray:
        """(groups, outputs of a group, inputs of a group, KH, KW)"""
        return w.reshape(self.groups, self.co // self.groups, *self.weight[1:])


def conv2d(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    v, (x, w, b, r, *_) = _Shape(dim), ins
    padded, y = v.padded(x.dtype), np.zeros((*v.y[:3], v.groups, v.co // v.groups), x.dtype)
    v.inside(padded)[...] = _pixels(x, v.planes).reshape(v.x)
    for i, j, part in v.windows(padded):
        y += np.einsum("nhwgc,goc->nhwgo", part, v.grouped(w)[..., i, j], optimize=True)
    y = y.reshape(v.y)
    y = _planes(y + b if v.flags & 1 else y, v.planes_out)
    return (y + r.reshape(y.shape) if v.flags & 2 else y,)


def conv2d_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    v, (x, w, *_) = _Shape(dim), ins
    dy = _pixels(gouts[0], v.planes_out).reshape(v.y)
    grouped = dy.reshape(*v.y[:3], v.groups, v.co // v.groups)
    grads: Arrays = [None] * 6
    if want[0]:
        padded = v.padded(dy.dtype)
        for i, j, part in v.windows(padded):
            part += np.einsum("nhwgo,goc->nhwgc", grouped, v.grouped(w)[..., i, j], optimize=True)
        grads[0] = _planes(v.inside(padded), v.planes)
    if want[1]:
        padded, dw = v.padded(dy.dtype), np.zeros(v.weight, dy.dtype)
        v.inside(padded)[...] = _pixels(x, v.planes).reshape(v.x)
        for i, j, part in v.windows(padded):
            v.grouped(dw)[..., i, j] = np.einsum("nhwgo,nhwgc->goc", grouped, part, optimize=True)
        grads[1] = dw
    if want[2]:
        grads[2] = dy.sum(axis=(0, 1, 2)) if v.flags & 1 else np.zeros(0, dy.dtype)
    if want[3]:
        grads[3] = gouts[0] if v.flags & 2 else np.zeros(0, dy.dtype)
    return grads


_ACTIVATIONS = ("", "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "hardtanh")


def conv2d_act(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (_act(conv2d(ins, dim, f)[0], dim, f),)


def _act(z: np.ndarray, dim: list[int], f: list[float]) -> np.ndarray:
    name = _ACTIVATIONS[dim[16]]
    return getattr(activation, name)([z], [z.size], f)[0] if name else z


def conv2d_act_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    (y,), dz, name = outs, gouts[0], _ACTIVATIONS[dim[16]]
    if name:
        grad = getattr(activation, f"{name}_grad")
        (dz,) = grad([None], [y.reshape(-1)], [dz.reshape(-1)], [True], [y.size], f)
    return conv2d_grad(ins, outs, [dz.reshape(y.shape)], want, dim, f)


def conv2d_norm(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    r, (gain, shift, mean, var) = ins[3], ins[6:]
    (z,) = conv2d(ins[:6], [*dim[:15], dim[15] & ~2], f)
    rstd = 1 / np.sqrt(var + var.dtype.type(f[2]))
    y = (z - mean) * rstd * gain + shift
    return _act(y + r.reshape(y.shape) if dim[15] & 2 else y, dim, f), rstd


def conv_transpose2d(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    v, (x, w, b, *_) = _Shape(dim), ins
    y, *_ = conv2d_grad([None, w], [], [x], [True, False, False, False], dim, f)
    return (y + b if v.flags & 1 else y,)


def conv_transpose2d_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    v, (x, w, *_), dy = _Shape(dim), ins, gouts[0].reshape(_Shape(dim).x)
    grads: Arrays = [None] * 5
    if want[0]:
        (grads[0],) = conv2d([dy, w, None, None], [*dim[:15], v.groups << 8], f)
    if want[1]:
        grads[1] = conv2d_grad([dy, w], [], [x], [False, True, False, False], dim, f)[1]
    if want[2]:
        grads[2] = dy.sum(axis=(0, 1, 2)) if v.flags & 1 else np.zeros(0, dy.dtype)
    return grads


# Winograd's transform of a kernel by the points 0, 3/4, -3/4, 3/2, -3/2 and infinity: row p has
# 1, p, p² over the product of p's distances to the other points.
_POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)


def _kernel(taps: int) -> np.ndarray:
    rows = [[p**i / math.prod(p - q for q in _POINTS if q != p) for i in range(taps)]
            for p in _POINTS]
    return np.array([*rows, [0.0] * (taps - 1) + [1.0]])


def turn(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (ins[0].reshape(dim[:3]).swapaxes(1, 2),)


def turn_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    return [gouts[0].reshape(dim[0], dim[2], dim[1]).swapaxes(1, 2)]


def pack_conv(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    v = _Shape(dim)
    if 1 < v.groups == v.ci == v.co and v.kh * v.kw <= 64:
        return (ins[0].reshape(v.co, -1).T,)
    w = v.grouped(ins[0])
    if v.flags & 8:
        g = w[0].transpose(1, 0, 2, 3)[..., ::-1, ::-1] if v.flags & 4 else w[0]
        s = v.stride[0]
        size = -(-v.kh // s)
        blocks = np.zeros((*g.shape[:2], size * s, size * s), g.dtype)
        blocks[..., :v.kh, :v.kw] = g
        blocks = blocks.reshape(*g.shape[:2], size, s, size, s).transpose(0, 5, 3, 1, 2, 4)
        u = np.einsum("ai,ocij,bj->abco", _kernel(size), blocks.reshape(len(g), -1, size, size),
                      _kernel(size))
        return (np.stack([_panels(m) for m in u.reshape(36, *u.shape[2:])]),)
    if not v.flags & 4:                     # rows (kh, kw, channel), columns outputs
        return (np.stack([_panels(g.transpose(2, 3, 1, 0).reshape(-1, g.shape[0])) for g in w]),)
    groups = []
    for g in w:             # rows (tap, output), columns channels, by class of pixels
        parts = []
        for down in _classes(v.kh, v.stride[0], v.pad[0], v.dilation[0]):
            for across in _classes(v.kw, v.stride[1], v.pad[1], v.dilation[1]):
                taps = g[:, :, down][..., across].transpose(2, 3, 0, 1)
                parts.append(_panels(taps.reshape(math.prod(taps.shape[:3]), -1)).reshape(-1))
        groups.append(np.concatenate(parts))
    return (np.stack(groups),)


def _classes(taps: int, stride: int, pad: int, dilation: int) -> list[list[int]]:
    """The taps that reach the pixels r, r + stride, ... for each r that any tap reaches."""
    of = [(k * dilation - pad) % stride for k in range(taps)]
    return [[k for k in range(taps) if of[k] == r] for r in sorted(set(of))]


def _panels(rows: np.ndarray) -> np.ndarray:
    """Panels of 32 columns."""
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 32)))
    return rows.reshape(rows.shape[0], -1, 32).swapaxes(0, 1)
