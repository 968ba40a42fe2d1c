"""The models of the table in each library's own words, over weights in torch's order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np


def in_by_out(w: np.ndarray) -> np.ndarray:
    """jax's layout of a matrix: a vector times a 1024×1024 one takes 43 µs; in torch's, 300.

    Kernels of convolutions end in (in, out) too.
    """
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T)


def linear_jax(x: Any, w: Any, b: Any) -> Any:
    """x·w + b.  x: (M, K), w: (K, N), b: (N)."""
    return x @ w + b


def mlp_shapes(sizes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Weight and bias of each layer."""
    return tuple(shape for a, b in pairwise(sizes) for shape in ((b, a), (b,)))


def mlp_torch(sizes: Sequence[int], t: Any) -> Any:
    layers: list[Any] = []
    for a, b in pairwise(sizes):
        layers += [t.nn.Linear(a, b), t.nn.ReLU()]
    return t.nn.Sequential(*layers[:-1])


def mlp_jax(jax: Any, x: Any, *weights: Any) -> Any:
    *hidden, w, b = weights
    for v, c in zip(hidden[::2], hidden[1::2], strict=True):
        x = jax.nn.relu(linear_jax(x, v, c))
    return linear_jax(x, w, b)


def mlp_onnx(g: Any, x: str, *weights: str) -> str:
    *hidden, w, b = weights
    for v, c in zip(hidden[::2], hidden[1::2], strict=True):
        x = g("Relu", g("Gemm", x, v, c, transB=1))
    return g("Gemm", x, w, b, transB=1)


def cross_entropy_jax(jax: Any, logits: Any, labels: Any) -> Any:
    """Mean over rows.  logits: (N, C), labels: (N)."""
    picked = jax.numpy.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -picked.mean()


def layer_norm_jax(jax: Any, x: Any, w: Any, b: Any) -> Any:
    """Over the last axis, variance around the mean."""
    centred = x - x.mean(axis=-1, keepdims=True)
    var = (centred * centred).mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(var + 1e-5) * w + b


def rms_norm_jax(jax: Any, x: Any, w: Any) -> Any:
    return x * jax.lax.rsqrt((x * x).mean(axis=-1, keepdims=True) + 2.0**-23) * w


def batch_norm_jax(jax: Any, x: Any, w: Any, b: Any, channel: int = 1) -> Any:
    """Training, without running statistics.  x: (N, C, ...) or with C at `channel`, w, b: (C)."""
    axes = tuple(i for i in range(x.ndim) if i != channel % x.ndim)
    column = tuple(-1 if i == channel % x.ndim else 1 for i in range(x.ndim))
    centred = x - x.mean(axis=axes, keepdims=True)
    var = (centred * centred).mean(axis=axes, keepdims=True)
    return centred * jax.lax.rsqrt(var + 1e-5) * w.reshape(column) + b.reshape(column)


def adam_jax(jax: Any, params: Any, grads: Any, state: Any, lr: float,
             weight_decay: float = 0.0) -> Any:
    """(params, state) after one step of Adam, decoupled decay; state is (t, [m], [v])."""
    t, ms, vs = state
    t = t + 1
    scale, rest = lr / (1 - 0.9**t), 1 - 0.999**t
    ms = [0.9 * m + 0.1 * g for m, g in zip(ms, grads, strict=True)]
    vs = [0.999 * v + 0.001 * g * g for v, g in zip(vs, grads, strict=True)]
    params = [p * (1 - lr * weight_decay) - scale * m / (jax.numpy.sqrt(v / rest) + 1e-8)
              for p, m, v in zip(params, ms, vs, strict=True)]
    return params, (t, ms, vs)
