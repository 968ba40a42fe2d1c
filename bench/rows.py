"""The table of what is measured: one entry per row, with how each library computes it.

An entry names arrays, never libraries' objects, so that every library gets the same numbers:
`inputs` are data, `weights` are arrays a library may keep in any form it likes. How to compute:

    torch(t)    -> function of (*inputs, *weights), or a module of the inputs whose parameters, and
                   then running statistics, have the shapes of `weights`; t is torch, or fastnn,
                   which has the same names
    jax(jax)    -> function of (*inputs, *weights)
    onnx(g)     -> function of their names in a graph that returns a name: g("Relu", x)
                   (None: this library has no such row)

`mode` says what one call is:

    forward     outputs, no gradients                     eager      the same, not compiled
    backward    outputs, and the gradients of their sum   optimizer  one step on the weights
    step        zero_grad, forward, cross-entropy with the last input as labels, backward, Adam
"""

from __future__ import annotations

import fnmatch
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any
from zlib import crc32

import numpy as np

from . import models, networks
from .arrays import Array, Shape, weight


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that is measured; see above."""

    id: str
    what: str
    torch: Callable[[Any], Callable[..., Any]]
    jax: Callable[[Any], Callable[..., Any]] | None = None
    jax_layout: Callable[[np.ndarray], np.ndarray] = np.asarray     # of a weight, from torch's
    onnx: Callable[[Any], Callable[..., str]] | None = None
    group: str = "kernels"              # or training, inference
    mode: str = "forward"
    inputs: tuple[Array, ...] = ()
    weights: tuple[Shape | Array, ...] = ()     # see arrays.py for how they are drawn
    goal: float | None = None           # the best peer's time ÷ ours
    flops: float = 0                    # of one call; 0: nothing worth counting
    bytes: float = 0                    # least memory traffic of one call
    stream: str = "triad"               # the traffic it resembles: read, triad or update (in place)
    deterministic: bool = True          # every library must compute the same numbers

    def arrays(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Inputs and weights, the same in every process."""
        rng = np.random.default_rng(crc32(self.id.encode()))
        inputs = [a.draw(rng) for a in self.inputs]
        weights = [w.draw(rng) if isinstance(w, Array) else weight(w, rng) for w in self.weights]
        return inputs, weights


def matmul(n: int, goal: float) -> Row:
    return Row(
        id=f"matmul-{n}", what=f"matrix product {n}×{n}", goal=goal,
        inputs=(Array((n, n)), Array((n, n))), flops=2 * n**3, bytes=12 * n * n,
        torch=lambda t: operator.matmul, jax=lambda jax: operator.matmul,
        onnx=lambda g: partial(g, "MatMul"))


def linear(m: int, n: int, k: int, goal: float) -> Row:
    return Row(
        id=f"linear-m{m}-n{n}-k{k}", what=f"linear ({m}, {k}) → ({m}, {n})", goal=goal,
        inputs=(Array((m, k)),), weights=((n, k), (n,)),
        flops=2 * m * n * k, bytes=4 * (m * k + n * k + m * n), stream="read",
        torch=lambda t: t.nn.functional.linear, jax=lambda jax: models.linear_jax,
        jax_layout=models.in_by_out,
        onnx=lambda g: partial(g, "Gemm", transB=1))


SIDE = 1024
SQUARE = Array((SIDE, SIDE))


def square(name: str, torch: Any, jax: Any, onnx: Any = None, goal: float | None = None,
           **options: Any) -> Row:
    """A memory-bound function of a 1024×1024 array: 4 MB in, 4 MB out."""
    options = {"inputs": (SQUARE,), "bytes": 8 * SIDE**2, "what": f"{name}, 1024×1024"} | options
    return Row(id=name, torch=torch, jax=jax, onnx=onnx, goal=goal, **options)


def step(name: str, sizes: Sequence[int], batch: int, goal: float) -> Row:
    """A training step of an MLP; the gradient of its input is not computed."""
    products = [a * b for a, b in zip(sizes, sizes[1:], strict=False)]
    return Row(
        id=name, group="training", mode="step", goal=goal,
        what=f"training step, MLP {'-'.join(map(str, sizes))}, batch {batch}",
        inputs=(Array((batch, sizes[0])), Array((batch,), high=sizes[-1])),
        weights=models.mlp_shapes(sizes), flops=batch * (6 * sum(products) - 2 * products[0]),
        torch=partial(models.mlp_torch, sizes), jax=lambda jax: partial(models.mlp_jax, jax),
        jax_layout=models.in_by_out)


def convnet_step(name: str, what: str, batch: int, image: Shape, flops: tuple[int, int],
                 goal: float, **options: Any) -> Row:
    """A training step of images.  flops: of one image forward, and of the layer without a dx."""
    return Row(
        id=name, group="training", mode="step", goal=goal,
        what=f"training step, {what}, {'×'.join(map(str, image))}, batch {batch}",
        inputs=(Array((batch, *image)), Array((batch,), high=10)),
        flops=batch * (3 * flops[0] - flops[1]), jax_layout=models.in_by_out, **options)


def conv(
    name: str, goals: tuple[float, float], batch: int, channels: tuple[int, int], kernel: int,
    side: int, stride: int = 1, padding: int = 0, groups: int = 1,
) -> tuple[Row, Row]:
    """A convolution with bias, and the same with the gradients of its sum by all operands."""
    inner, outer = channels[0] // groups, channels[1]
    out = (side + 2 * padding - kernel) // stride + 1
    flops = 2 * batch * outer * out * out * inner * kernel * kernel
    options = {"stride": stride, "padding": padding, "groups": groups}
    what = f"conv {channels[0]}→{outer} k{kernel}, {side}², batch {batch}"
    row = Row(
        id=f"conv-{name}", what=what, goal=goals[0], flops=flops,
        inputs=(Array((batch, channels[0], side, side)),),
        weights=((outer, inner, kernel, kernel), (outer,)),
        bytes=4 * batch * (channels[0] * side * side + outer * out * out),
        torch=lambda t: partial(t.nn.functional.conv2d, **options),
        onnx=lambda g: partial(g, "Conv", kernel_shape=[kernel] * 2, strides=[stride] * 2,
                               pads=[padding] * 4, group=groups))
    both = replace(row, id=f"conv-{name}-bwd", what=f"{what}, fwd+bwd", mode="backward",
                   goal=goals[1], flops=3 * flops, bytes=2 * row.bytes, onnx=None)
    return row, both


def image_network(name: str, goal: float) -> Row:
    """One image of 224×224 through a network whose memory traffic is its weights."""
    weights = getattr(networks, f"{name}_weights")()
    count = sum(prod(w.shape if isinstance(w, Array) else w) for w in weights)
    return Row(
        id=f"{name}-224-b1", group="inference", what=f"{name}, one image of 224×224", goal=goal,
        inputs=(Array((1, 3, networks.SIDE, networks.SIDE)),), weights=weights,
        flops=getattr(networks, f"{name}_flops")()[0], bytes=4 * count, stream="read",
        torch=lambda t: getattr(networks.modules(t), name)(),
        onnx=lambda g: partial(getattr(networks, f"{name}_onnx"), g))


def batch_norm(t: Any) -> Callable[..., Any]:
    """Of images or rows in training, with running statistics; and ReLU, or dx would be 0."""
    mean, var, f = t.zeros(CHANNELS), t.ones(CHANNELS), t.nn.functional
    return lambda x, w, b: f.relu(f.batch_norm(x, mean, var, w, b, training=True))


def batch_norm_jax(jax: Any) -> Callable[..., Any]:
    return lambda x, w, b: jax.nn.relu(models.batch_norm_jax(jax, x, w, b))


SMALL: dict[str, Any] = {"small": True, "classes": 10}
CHANNELS = 64
IMAGES = (16, CHANNELS, 56, 56)
MNIST = (784, 256, 128, 10)
PARAMETERS = 8_000_000
WORDS, WIDTH, TOKENS = 30_000, 256, 4096

ROWS: list[Row] = [
    step("mlp-tiny", (32, 32, 2), 16, goal=3.0),
    step("mlp-mnist", MNIST, 64, goal=2.0),
    step("mlp-wide", (784, 2048, 2048, 10), 256, goal=1.1),
    convnet_step("lenet", "convolutions 1-32-64, linear 3136-128-10", 64, (1, 28, 28),
                 networks.lenet_flops(), 2.0, weights=networks.LENET,
                 torch=networks.lenet_torch, jax=lambda jax: partial(networks.lenet_jax, jax)),
    convnet_step("resnet18-cifar", "ResNet-18", 32, (3, 32, 32),
                 networks.resnet18_flops(**SMALL), 1.8, weights=networks.resnet18_weights(**SMALL),
                 torch=lambda t: networks.modules(t).resnet18(num_classes=10, small=True),
                 jax=lambda jax: partial(networks.resnet18_jax, jax)),
    Row(id="mlp-b1", group="inference", what="MLP 784-256-128-10, batch 1", goal=2.0,
        inputs=(Array((1, 784)),), weights=models.mlp_shapes(MNIST),
        flops=2 * (784 * 256 + 256 * 128 + 1280), bytes=4 * (784 * 256 + 256 * 128 + 1280),
        stream="read", torch=partial(models.mlp_torch, MNIST),
        jax=lambda jax: partial(models.mlp_jax, jax), jax_layout=models.in_by_out,
        onnx=lambda g: partial(models.mlp_onnx, g)),
    image_network("resnet18", goal=1.4),
    image_network("vgg16", goal=1.5),
    *(matmul(n, goal) for n, goal in ((32, 1.5), (64, 1.5), (128, 1.1), (256, 1.0), (512, 0.97),
                                      (1024, 0.97), (2048, 0.97))),
    linear(1, 1024, 1024, goal=1.5),
    linear(8, 4096, 1024, goal=1.5),
    linear(64, 256, 784, goal=1.15),
    linear(128, 768, 3072, goal=1.15),
    linear(4096, 64, 576, goal=1.15),
    square("softmax", lambda t: partial(t.nn.functional.softmax, dim=1),
           lambda jax: partial(jax.nn.softmax, axis=1),
           lambda g: partial(g, "Softmax", axis=1), goal=1.3),
    square("gelu", lambda t: t.nn.functional.gelu,
           lambda jax: partial(jax.nn.gelu, approximate=False),
           lambda g: partial(g, "Gelu"), goal=1.3),
    square("tanh", lambda t: t.tanh, lambda jax: jax.numpy.tanh,
           lambda g: partial(g, "Tanh"), goal=1.3),
    square("relu", lambda t: t.nn.functional.relu, lambda jax: jax.nn.relu,
           lambda g: partial(g, "Relu"), goal=1.3),
    square("layernorm", lambda t: lambda x, w, b: t.nn.functional.layer_norm(x, (SIDE,), w, b),
           lambda jax: partial(models.layer_norm_jax, jax),
           lambda g: partial(g, "LayerNormalization", axis=-1, epsilon=1e-5),
           weights=((SIDE,), (SIDE,)), goal=1.3),
    Row(id="adamw-8m", what="AdamW step, 8 M parameters, fused", mode="optimizer", goal=1.0,
        weights=((PARAMETERS,),), bytes=28 * PARAMETERS, stream="update",
        torch=lambda t: partial(t.optim.AdamW, lr=1e-3, fused=True),
        jax=lambda jax: partial(models.adam_jax, jax, lr=1e-3, weight_decay=1e-2)),
    Row(id="add-4x4", what="eager add of two 4×4 tensors", mode="eager", goal=5,
        inputs=(Array((4, 4)), Array((4, 4))),
        torch=lambda t: operator.add, jax=lambda jax: operator.add),
    *conv("64-56", (1.5, 1.5), 16, (64, 64), 3, 56, padding=1),
    *conv("256-14", (1.3, 1.3), 16, (256, 256), 3, 14, padding=1),
    *conv("stem", (1.5, 1.5), 16, (3, 64), 7, 224, stride=2, padding=3),
    *conv("pointwise", (1.1, 1.5), 16, (256, 64), 1, 28),
    *conv("depthwise", (1.1, 1.8), 16, (128, 128), 3, 28, padding=1, groups=128),
    *conv("mnist", (1.3, 2.0), 64, (1, 32), 3, 28, padding=1),
    # rows without a goal
    square("log_softmax", lambda t: partial(t.nn.functional.log_softmax, dim=1),
           lambda jax: partial(jax.nn.log_softmax, axis=1),
           lambda g: partial(g, "LogSoftmax", axis=1)),
    square("sigmoid", lambda t: t.sigmoid, lambda jax: jax.nn.sigmoid,
           lambda g: partial(g, "Sigmoid")),
    square("exp", lambda t: t.exp, lambda jax: jax.numpy.exp, lambda g: partial(g, "Exp")),
    square("add", lambda t: operator.add, lambda jax: operator.add, lambda g: partial(g, "Add"),
           inputs=(SQUARE, SQUARE), bytes=12 * SIDE**2),
    square("sum", lambda t: t.sum, lambda jax: jax.numpy.sum,
           lambda g: partial(g, "ReduceSum", keepdims=0), bytes=4 * SIDE**2, stream="read"),
    square("sum-rows", lambda t: partial(t.sum, dim=1), lambda jax: partial(jax.numpy.sum, axis=1),
           what="sum over the last axis of 1024×1024", bytes=4 * SIDE**2, stream="read"),
    square("sum-columns", lambda t: partial(t.sum, dim=0),
           lambda jax: partial(jax.numpy.sum, axis=0),
           what="sum over the first axis of 1024×1024", bytes=4 * SIDE**2, stream="read"),
    square("argmax", lambda t: partial(t.argmax, dim=1),
           lambda jax: partial(jax.numpy.argmax, axis=1),
           what="argmax over the last axis of 1024×1024", bytes=4 * SIDE**2, stream="read"),
    square("layernorm-bwd", lambda t: lambda x, w, b: t.nn.functional.layer_norm(x, (SIDE,), w, b),
           lambda jax: partial(models.layer_norm_jax, jax), mode="backward",
           weights=((SIDE,), (SIDE,)), bytes=20 * SIDE**2, what="layer norm of 1024×1024, fwd+bwd"),
    square("rmsnorm", lambda t: lambda x, w: t.nn.functional.rms_norm(x, (SIDE,), w),
           lambda jax: partial(models.rms_norm_jax, jax), weights=((SIDE,),)),
    Row(id="batchnorm", what="batch norm and ReLU, 16 images of 64×56×56, fwd+bwd",
        mode="backward", inputs=(Array(IMAGES),), weights=((CHANNELS,), (CHANNELS,)),
        bytes=52 * prod(IMAGES), torch=batch_norm,
        jax=batch_norm_jax),
    Row(id="batchnorm-rows", what="batch norm and ReLU of 50176×64, fwd+bwd",
        mode="backward", inputs=(Array((50_176, CHANNELS)),), weights=((CHANNELS,), (CHANNELS,)),
        bytes=52 * 50_176 * CHANNELS, torch=batch_norm,
        jax=batch_norm_jax),
    square("cross_entropy", lambda t: t.nn.functional.cross_entropy,
           lambda jax: partial(models.cross_entropy_jax, jax), mode="backward",
           inputs=(SQUARE, Array((SIDE,), high=SIDE)),
           what="cross-entropy of 1024×1024 logits, fwd+bwd"),
    square("dropout", lambda t: partial(t.nn.functional.dropout, p=0.5, training=True), None,
           deterministic=False),
    Row(id="embedding", what="embedding, 4096 tokens of 30000×256, fwd+bwd", mode="backward",
        inputs=(Array((TOKENS,), high=WORDS),), weights=((WORDS, WIDTH),),
        bytes=4 * WIDTH * (WORDS + 4 * TOKENS), torch=lambda t: t.nn.functional.embedding,
        jax=lambda jax: lambda i, w: w[i]),
    Row(id="gather", what="256 of 60000 rows of 784, shuffled",
        inputs=(Array((60_000, 784)), Array((256,), high=60_000)), bytes=8 * 256 * 784,
        torch=lambda t: operator.getitem, jax=lambda jax: operator.getitem,
        onnx=lambda g: partial(g, "Gather", axis=0)),
    Row(id="adamw-8m-loop", what="AdamW step, 8 M parameters, torch's unfused loop",
        mode="optimizer", weights=((PARAMETERS,),), bytes=28 * PARAMETERS, stream="update",
        torch=lambda t: partial(t.optim.AdamW, lr=1e-3, fused=False, foreach=False)),
]


def select(patterns: Iterable[str], rows: Sequence[Row] = ROWS) -> list[Row]:
    """The rows whose id, its beginning or group a pattern names: gelu, matmul, m*-512, training.

    Errors: ValueError for a pattern that names none.
    """
    def named(row: Row, pattern: str) -> bool:
        return (pattern == row.group or fnmatch.fnmatchcase(row.id, pattern)
                or row.id.startswith(f"{pattern}-"))

    patterns = list(patterns)
    for p in patterns:
        if not any(named(r, p) for r in rows):
            raise ValueError(f"rows: got {p!r}; need one of {', '.join(r.id for r in rows)}, "
                             "a group (training, inference, kernels) or a pattern like 'matmul-*'")
    return [r for r in rows if not patterns or any(named(r, p) for p in patterns)]
