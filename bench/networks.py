"""ResNet-18 and VGG-16 for images of 224×224: their weights in torch's order, modules, graphs."""

from __future__ import annotations

from importlib import import_module
from math import prod
from typing import Any

from .arrays import Array, Shape

SIDE, CLASSES = 224, 1000
RESNET18 = ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))
VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")

Weights = tuple[Shape | Array, ...]


def modules(t: Any) -> Any:
    """Where the models of t are: fastnn has them, torch's are written beside its adapter."""
    return t.models if hasattr(t, "models") else import_module(".peers.torch_models", __package__)


def resnet18_weights() -> Weights:
    """Parameters, a normalisation's behind its convolution's, then all means and variances."""
    shapes: list[Shape | Array] = []
    normed: list[int] = []

    def conv(out: int, inner: int, kernel: int) -> None:
        shapes.extend(((out, inner, kernel, kernel), Array((out,), positive=True), (out,)))
        normed.append(out)

    conv(64, 3, 7)
    inner = 64
    for out, stride in RESNET18:
        conv(out, inner, 3)
        conv(out, out, 3)
        if stride > 1:
            conv(out, inner, 1)
        inner = out
    statistics = [s for n in normed for s in ((n,), Array((n,), positive=True))]
    return *shapes, (CLASSES, inner), (CLASSES,), *statistics


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


def resnet18_flops() -> int:
    """Of the products for one image, a multiplication and an addition counted as two."""
    side, inner = SIDE // 2, 64
    total = 3 * 64 * 49 * side**2
    side //= 2
    for out, stride in RESNET18:
        side //= stride
        total += side**2 * out * (9 * (inner + out) + (inner if stride > 1 else 0))
        inner = out
    return 2 * (total + inner * CLASSES)


def vgg16_flops() -> int:
    side, total = SIDE, 0
    convolutions = iter(s for s in vgg16_weights() if len(s) == 4)
    for step in VGG16:
        if step == "M":
            side //= 2
        else:
            total += side**2 * prod(next(convolutions))
    return 2 * (total + sum(prod(s) for s in vgg16_weights() if len(s) == 2))
