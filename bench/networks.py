"""Convolutional networks: their weights in torch's order, modules, functions and graphs."""

from __future__ import annotations

from importlib import import_module
from math import prod
from typing import Any

import numpy as np

from . import models
from .arrays import Array, Shape

SIDE, CLASSES = 224, 1000
RESNET18 = ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))
VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")

Weights = tuple[Shape | Array, ...]


def modules(t: Any) -> Any:
    """Where the models of t are: fastnn has them, torch's are written beside its adapter."""
    return import_module(*(["fastnn.models"] if t.__name__ == "fastnn" else
                           [".peers.torch_models", __package__]))


def conv_jax(jax: Any, x: Any, w: Any, stride: int = 1) -> Any:
    """Padded by half the kernel.  x: (N, H, W, in), w: (height, width, in, out)."""
    pad = [(side // 2, side // 2) for side in w.shape[:2]]
    return jax.lax.conv_general_dilated(x, w, (stride, stride), pad,
                                        dimension_numbers=("NHWC", "HWIO", "NHWC"))


LENET = ((32, 1, 3, 3), (32,), (64, 32, 3, 3), (64,), (128, 3136), (128,), (10, 128), (10,))


def lenet_flops() -> tuple[int, int]:
    """Of all products for one image and of the first; a multiplication and an addition are two."""
    first, *rest = (2 * prod(s) * n for s, n in zip(LENET[::2], (28**2, 14**2, 1, 1), strict=True))
    return first + sum(rest), first


def lenet_torch(t: Any) -> Any:
    n = t.nn
    return n.Sequential(
        n.Conv2d(1, 32, 3, padding=1), n.ReLU(), n.MaxPool2d(2),
        n.Conv2d(32, 64, 3, padding=1), n.ReLU(), n.MaxPool2d(2),
        n.Flatten(), n.Linear(3136, 128), n.ReLU(), n.Linear(128, 10))


def lenet_jax(jax: Any, x: Any, *weights: Any) -> Any:
    """Channels last, as XLA's convolutions like it; rows are flattened in torch's order."""
    x = x.transpose(0, 2, 3, 1)
    for w, b in (weights[:2], weights[2:4]):
        x = jax.nn.relu(conv_jax(jax, x, w) + b)
        x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return models.mlp_jax(jax, x.transpose(0, 3, 1, 2).reshape(len(x), -1), *weights[4:])


def resnet18_weights(small: bool = False, classes: int = CLASSES) -> Weights:
    """Parameters, a normalisation's behind its convolution's, then all means and variances."""
    shapes: list[Shape | Array] = []
    normed: list[int] = []

    def conv(out: int, inner: int, kernel: int) -> None:
        shapes.extend(((out, inner, kernel, kernel), Array((out,), positive=True), (out,)))
        normed.append(out)

    conv(64, 3, 3 if small else 7)
    inner = 64
    for out, stride in RESNET18:
        conv(out, inner, 3)
        conv(out, out, 3)
        if stride > 1:
            conv(out, inner, 1)
        inner = out
    statistics = [s for n in normed for s in ((n,), Array((n,), positive=True))]
    return *shapes, (classes, inner), (classes,), *statistics


def resnet18_jax(jax: Any, x: Any, *weights: Any) -> Any:
    """The small one in training, channels last; running statistics are left as they are."""
    left, relu = iter(weights), jax.nn.relu

    def layer(x: Any, stride: int = 1) -> Any:
        x = conv_jax(jax, x, next(left), stride)
        return models.batch_norm_jax(jax, x, next(left), next(left), -1)

    x = relu(layer(x.transpose(0, 2, 3, 1)))
    for _, stride in RESNET18:
        y = layer(relu(layer(x, stride)))
        x = relu(y + (layer(x, stride) if stride > 1 else x))
    return models.linear_jax(x.mean(axis=(1, 2)), next(left), next(left))


def resnet18_onnx(g: Any, x: str, *weights: str) -> str:
    convolutions = 1 + sum(3 if stride > 1 else 2 for _, stride in RESNET18)
    parameters = iter(weights[:3 * convolutions])
    fc, bias, *statistics = weights[3 * convolutions:]
    moments = iter(statistics)

    def conv(x: str, kernel: int, stride: int) -> str:
        w, gamma, beta = (next(parameters) for _ in range(3))
        y = g("Conv", x, w, kernel_shape=[kernel] * 2, strides=[stride] * 2,
              pads=[kernel // 2] * 4)
        return g("BatchNormalization", y, gamma, beta, next(moments), next(moments), epsilon=1e-5)

    x = g("MaxPool", g("Relu", conv(x, 7, 2)), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for _, stride in RESNET18:
        y = conv(g("Relu", conv(x, 3, stride)), 3, 1)
        x = g("Relu", g("Add", y, conv(x, 1, stride) if stride > 1 else x))
    return g("Gemm", g("Flatten", g("GlobalAveragePool", x)), fc, bias, transB=1)


def vgg16_weights() -> Weights:
    shapes: list[Shape] = []
    inner = 3
    for out in VGG16:
        if isinstance(out, int):
            shapes += [(out, inner, 3, 3), (out,)]
            inner = out
    for a, b in ((inner * 49, 4096), (4096, 4096), (4096, CLASSES)):
        shapes += [(b, a), (b,)]
    return tuple(shapes)


def vgg16_onnx(g: Any, x: str, *weights: str) -> str:
    w = iter(weights)
    for step in VGG16:
        if step == "M":
            x = g("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        else:
            x = g("Relu", g("Conv", x, next(w), next(w), kernel_shape=[3, 3], pads=[1] * 4))
    x = g("Flatten", x)
    for _ in range(2):
        x = g("Relu", g("Gemm", x, next(w), next(w), transB=1))
    return g("Gemm", x, next(w), next(w), transB=1)


def resnet18_flops(small: bool = False, classes: int = CLASSES) -> tuple[int, int]:
    """The same."""
    side, inner = (32, 64) if small else (SIDE // 2, 64)
    total = stem = 3 * 64 * (9 if small else 49) * side**2
    side //= 1 if small else 2
    for out, stride in RESNET18:
        side //= stride
        total += side**2 * out * (9 * (inner + out) + (inner if stride > 1 else 0))
        inner = out
    return 2 * (total + inner * classes), 2 * stem


def vgg16_flops() -> tuple[int, int]:
    """The same."""
    side, total = SIDE, 0
    convolutions = iter(s for s in vgg16_weights() if len(s) == 4)
    for step in VGG16:
        if step == "M":
            side //= 2
        else:
            total += side**2 * prod(next(convolutions))
    first = prod(next(s for s in vgg16_weights())) * SIDE**2
    return 2 * (total + sum(prod(s) for s in vgg16_weights() if len(s) == 2)), 2 * first
