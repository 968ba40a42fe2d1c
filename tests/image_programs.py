"""Image layers for random programs: what a program draws, and how it runs on (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastnn
from fastnn import Tensor
from fastnn.nn import functional as F

CHANNELS, SIDE, ROWS = 2, 4, 6          # of the image a program begins with
MOST_CHANNELS, MOST_SIDE = 6, 9

Layer = Callable[[Any, Tensor, list[Tensor], int], Tensor]      # (world, image, those before, v)


def convolved(w: Any, a: Tensor, v: int) -> Tensor:
    """Windows, 1 x 1, a stride, channel by channel, dilated; with and without a bias."""
    c = a.shape[1]
    out, k = 2 + v % 3, (3, 1, 3, 3)[v % 4]
    if v % 4 == 3:
        return F.conv2d(a, w.parameter((c, 1, 3, 3)), padding=1, groups=c)
    bias = w.parameter((out,)) if v % 3 else None
    stride = 2 if v % 4 == 2 else 1
    dilation = 2 if v == 8 else 1
    return F.conv2d(a, w.parameter((out, c, k, k), v), bias, stride, (k - 1) // 2 * dilation,
                    dilation)


def transposed(w: Any, a: Tensor, v: int) -> Tensor:
    if max(a.shape[2:]) > MOST_SIDE // 2:
        a = F.avg_pool2d(a, 2)
    return F.conv_transpose2d(a, w.parameter((a.shape[1], 2, 2, 2)), None, 2)


def batch_normed(w: Any, a: Tensor, v: int) -> Tensor:
    """In training, which moves the statistics, or by them; a single number has no variance."""
    c = a.shape[1]
    mean, var = w.statistics(c)
    if v % 3 == 0 or a.shape[0] * a.shape[2] * a.shape[3] < 2:
        frozen = mean.clone(), var.clone()      # a later layer may move them before backward
        return F.batch_norm(a, *frozen, w.parameter((c,)), None, False, eps=0.1)
    return F.batch_norm(a, mean, var, w.parameter((c,)), w.parameter((c,), 1), True, eps=0.1)


def with_an_earlier(a: Tensor, before: list[Tensor], v: int) -> Tensor:
    """A residual, or channels side by side; a copy of its own where no other image fits."""
    fitting = [b for b in before if b.shape == a.shape] or [a.tanh()]
    other = fitting[v % len(fitting)]
    if v % 3 == 2 and a.shape[1] * 2 <= MOST_CHANNELS:
        return fastnn.cat([a, other], 1)
    return a + other if v % 2 else other + a


def resized(a: Tensor, v: int) -> Tensor:
    size = (2 + v % 4, 3 + v % 3)
    return F.interpolate(a, size, mode="bilinear", align_corners=bool(v % 2)) if v % 3 else \
        F.interpolate(a, size)


def turned(a: Tensor, v: int) -> Tensor:
    if v % 3 == 0:
        return a.permute(0, 1, 3, 2) * 0.5
    return fastnn.flip(a, (3,)) if v % 3 == 1 else a.permute(0, 2, 3, 1).tanh().permute(0, 3, 1, 2)


SMOOTH_LAYERS: dict[str, Layer] = {
    "conv": lambda w, a, b, v: convolved(w, a, v),
    "conv-tanh": lambda w, a, b, v: F.tanh(convolved(w, a, v)),
    "conv-norm": lambda w, a, b, v: batch_normed(w, convolved(w, a, v), v),
    "transposed": lambda w, a, b, v: transposed(w, a, v),
    "norm": lambda w, a, b, v: batch_normed(w, a, v),
    "group-norm": lambda w, a, b, v: F.group_norm(
        a, 1 + v % 2 if a.shape[1] % 2 == 0 else 1, w.parameter((a.shape[1],)), None, eps=0.1),
    "layer-norm": lambda w, a, b, v: F.layer_norm(a, a.shape[2:], eps=0.1),
    "avg-pool": lambda w, a, b, v: F.avg_pool2d(a, 2, 1) if min(a.shape[2:]) > 1 else a * 0.5,
    "adaptive": lambda w, a, b, v: F.adaptive_avg_pool2d(a, 1 + v % 3),
    "silu": lambda w, a, b, v: F.silu(a) if v % 2 else F.sigmoid(a),
    "earlier": lambda w, a, b, v: with_an_earlier(a, b, v),
    "resized": lambda w, a, b, v: resized(a, v),
    "turned": lambda w, a, b, v: turned(a, v),
    "channels": lambda w, a, b, v: a * a.mean((2, 3), keepdim=True).sigmoid(),
}
KINKED_LAYERS: dict[str, Layer] = {
    "relu": lambda w, a, b, v: F.relu(a) if v % 2 else F.relu6(a),
    "conv-relu": lambda w, a, b, v: F.relu(convolved(w, a, v)),
    "conv-norm-relu": lambda w, a, b, v: F.relu(batch_normed(w, convolved(w, a, v), v)),
    "block": lambda w, a, b, v: F.relu(
        with_an_earlier(batch_normed(w, convolved(w, a, v), v), b, v)),
    "max-pool": lambda w, a, b, v: F.max_pool2d(a, 2, 1) if min(a.shape[2:]) > 1 else a.abs(),
}
LAYERS = SMOOTH_LAYERS | KINKED_LAYERS


def network_of(w: Any, a: Tensor, layers: tuple[tuple[str, int], ...], most: int) -> Tensor:
    """Images made of the first rows of a go through the layers; (n, m) -> (n', m')."""
    rows = a[:ROWS]
    pixels = F.linear(rows, w.parameter((CHANNELS * SIDE * SIDE, a.shape[1])))
    seen = [pixels.reshape(rows.shape[0], CHANNELS, SIDE, SIDE)]
    for name, v in layers:
        image = LAYERS[name](w, seen[-1], seen, v)
        if max(image.shape[2:]) > MOST_SIDE or image.shape[1] > MOST_CHANNELS:
            image = image[:, :2].mean((2, 3), keepdim=True)
        seen.append(image)
    flat = seen[-1].flatten(1)
    return flat if flat.numel() <= most else seen[-1].mean((2, 3))
