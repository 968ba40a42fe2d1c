"""NumPy twins of op_activation.h."""

from __future__ import annotations

from typing import Any

import numpy as np

from .pointwise import binary as _binary
from .pointwise import binary_grad as _binary_grad
from .pointwise import error_function
from .pointwise import unary as _unary
from .pointwise import unary_grad as _unary_grad

Arrays = list[Any]



def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


relu = _unary(lambda x, f: np.maximum(x, 0))
relu_grad = _unary_grad(lambda dy, x, y, f: np.where(y <= 0, 0, dy))

leaky_relu = _unary(lambda x, f: np.where(x <= 0, f[0] * x, x))
leaky_relu_grad = _unary_grad(lambda dy, x, y, f: np.where(y <= 0, f[0] * dy, dy))

elu = _unary(lambda x, f: np.where(x <= 0, f[0] * np.expm1(x), x))
elu_grad = _unary_grad(lambda dy, x, y, f: np.where(y <= 0, dy * (y + f[0]), dy))

hardtanh = _unary(lambda x, f: np.minimum(np.maximum(x, f[0]), f[1]))
hardtanh_grad = _unary_grad(lambda dy, x, y, f: np.where((y <= f[0]) | (y >= f[1]), 0, dy))

sigmoid = _unary(lambda x, f: _sigmoid(x))
sigmoid_grad = _unary_grad(lambda dy, x, y, f: dy * y * (1 - y))

tanh = _unary(lambda x, f: np.tanh(x))
tanh_grad = _unary_grad(lambda dy, x, y, f: dy * (1 - y * y))


def _silu_slope(x: np.ndarray) -> np.ndarray:
    z = np.clip(x, -128, 128)
    s = _sigmoid(z)
    return s * (1 + z * (1 - s))


silu = _unary(lambda x, f: np.maximum(x, -128) * _sigmoid(x))
silu_grad = _unary_grad(lambda dy, x, y, f: dy * _silu_slope(x))


def _normal_mass(x: np.ndarray) -> np.ndarray:
    return (0.5 + 0.5 * error_function(x / np.sqrt(2))).astype(x.dtype)


def _gelu_slope(x: np.ndarray) -> np.ndarray:
    z = np.clip(x, -16, 16)
    return _normal_mass(z) + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


gelu = _unary(lambda x, f: np.maximum(x, -16) * _normal_mass(x))
gelu_grad = _unary_grad(lambda dy, x, y, f: dy * _gelu_slope(x))


def _gelu_gate(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """t = tanh(u) and du/dx."""
    z, k = np.clip(x, -16, 16), np.sqrt(2 / np.pi)
    return np.tanh(k * (z + 0.044715 * z**3)), k * (1 + 3 * 0.044715 * z * z)


def _gelu_tanh_slope(x: np.ndarray) -> np.ndarray:
    t, du = _gelu_gate(x)
    return (1 + t) / 2 + np.clip(x, -16, 16) / 2 * (1 - t * t) * du


gelu_tanh = _unary(lambda x, f: np.maximum(x, -16) * (1 + _gelu_gate(x)[0]) / 2)
gelu_tanh_grad = _unary_grad(lambda dy, x, y, f: dy * _gelu_tanh_slope(x))

softplus = _unary(lambda x, f: np.where(x * f[0] > f[1], x, np.logaddexp(0, x * f[0]) / f[0]))
softplus_grad = _unary_grad(
    lambda dy, x, y, f: np.where(x * f[0] > f[1], dy, dy * _sigmoid(x * f[0])))

hardsigmoid = _unary(lambda x, f: np.clip(x + 3, 0, 6) / 6)
hardsigmoid_grad = _unary_grad(lambda dy, x, y, f: np.where(np.abs(x) >= 3, 0, dy / 6))

hardswish = _unary(lambda x, f: np.maximum(x, -3) * np.clip(x + 3, 0, 6) / 6)
hardswish_grad = _unary_grad(
    lambda dy, x, y, f: dy * np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5)))

heaviside = _binary(lambda a, b: np.where(a == 0, b, np.maximum(np.sign(a), 0)))
heaviside_grad = _binary_grad(lambda dy, a, b: 0.0, lambda dy, a, b: 0.0)


def softmax(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x = ins[0].reshape(dim[:3])
    e = np.exp(x - x.max(axis=1, keepdims=True, initial=-np.inf))
    return (e / e.sum(axis=1, keepdims=True),)


def softmax_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    y, dy = outs[0].reshape(dim[:3]), gouts[0].reshape(dim[:3])
    return [y * (dy - (dy * y).sum(axis=1, keepdims=True))]


def log_softmax(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    x = ins[0].reshape(dim[:3])
    z = x - x.max(axis=1, keepdims=True, initial=-np.inf)
    return (z - np.log(np.exp(z).sum(axis=1, keepdims=True)),)


def log_softmax_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    y, dy = outs[0].reshape(dim[:3]), gouts[0].reshape(dim[:3])
    return [dy - np.exp(y) * dy.sum(axis=1, keepdims=True)]
