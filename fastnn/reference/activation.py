"""NumPy twins of op_activation.h."""

from __future__ import annotations

from typing import Any

import numpy as np

from .pointwise import unary as _unary
from .pointwise import unary_grad as _unary_grad

Arrays = list[Any]

relu = _unary(lambda x, f: np.maximum(x, 0))
relu_grad = _unary_grad(lambda dy, x, y, f: np.where(y <= 0, 0, dy))

sigmoid = _unary(lambda x, f: 1 / (1 + np.exp(-x)))
sigmoid_grad = _unary_grad(lambda dy, x, y, f: dy * y * (1 - y))

tanh = _unary(lambda x, f: np.tanh(x))
tanh_grad = _unary_grad(lambda dy, x, y, f: dy * (1 - y * y))
