"""Starting values, drawn from fastnn's generator: ``manual_seed`` reproduces them.

Every function fills its tensor in place, outside any graph, and returns it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _core
from .._core import Tensor
from ..errors import DTypeError, ShapeError
from ..ops import Generator, rand, randn

__all__ = [
    "calculate_gain", "constant_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_",
    "ones_", "orthogonal_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_",
    "zeros_",
]

_GAINS = {"linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "sigmoid": 1.0,
          "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which an activation shrinks the standard deviation of its input.

    param: the slope of "leaky_relu" (0.01 by default).

    Example:
        >>> from fastnn.nn import init
        >>> round(init.calculate_gain("relu"), 4)
        1.4142
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"calculate_gain: nonlinearity: got {nonlinearity!r}; need one of "
                         f"{', '.join(sorted([*_GAINS, 'leaky_relu']))}")
    return _GAINS[nonlinearity]


def _open(op: str, tensor: Any, axes: int = 0) -> Tensor:
    """The tensor's memory outside the graph, ready to be written."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{op}: tensor: got {type(tensor).__name__}; need a Tensor")
    if tensor.dtype.name != "float32":
        raise DTypeError(f"{op}: tensor: got {tensor.dtype.name}; need float32")
    if tensor.ndim < axes:
        raise ShapeError(f"{op}: tensor: got shape {tensor.shape}; need at least {axes} axes")
    out = tensor.detach()
    _core.check_writable(op, out)
    return out


def _write(tensor: Tensor, values: Any) -> Tensor:
    """Set the elements, and tell graphs that hold the tensor."""
    tensor.detach().numpy()[...] = values
    _core.bump_version(tensor)
    return tensor


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with numbers spread evenly over [a, b).

    Example:
        >>> import fastnn
        >>> fastnn.nn.init.uniform_(fastnn.empty(3), -1, 1).shape
        (3,)
    """
    _open("uniform_", tensor).uniform_(a, b, generator=generator)
    return tensor


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normal numbers of this mean and standard deviation."""
    _open("normal_", tensor).normal_(mean, std, generator=generator)
    return tensor


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers of this mean and standard deviation, drawn again outside [a, b].

    Errors: ValueError unless a < b and std > 0.

    Source of the draw far from the mean: C. P. Robert, "Simulation of truncated normal variables",
    Statistics and Computing 5, 1995.
    """
    out = _open("trunc_normal_", tensor)
    if not (a < b and std > 0):
        raise ValueError(f"trunc_normal_: got a {a}, b {b}, std {std}; need a < b and std > 0")
    low, high = (a - mean) / std, (b - mean) / std
    values = np.empty(out.numel(), np.float32)
    filled = 0
    while filled < values.size:
        z = _candidates(values.size, low, high, generator)[: values.size - filled]
        values[filled : filled + z.size] = z
        filled += z.size
    values = np.clip(values * np.float32(std) + np.float32(mean), a, b)
    return _write(tensor, values.reshape(out.shape))


def _candidates(n: int, low: float, high: float, generator: Generator | None) -> np.ndarray:
    """At most n standard normal numbers within [low, high]."""
    inside = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
    if inside > 0.2:
        z = randn(n, generator=generator).numpy()
        return z[(z >= low) & (z <= high)]
    peak = min(max(low, 0.0), high)     # evenly spread numbers, kept in proportion to the density
    low, high = max(low, peak - 8), min(high, peak + 8)     # beyond 8 it is below 1e-14 of the peak
    z = low + (high - low) * rand(n, generator=generator).numpy()
    return z[rand(n, generator=generator).numpy() < np.exp((peak * peak - z * z) / 2)]


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    _open("constant_", tensor)
    return _write(tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """1 on the diagonal of a matrix, 0 elsewhere.

    Example:
        >>> import fastnn
        >>> fastnn.nn.init.eye_(fastnn.empty(2, 2)).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    if _open("eye_", tensor).ndim != 2:
        raise ShapeError(f"eye_: tensor: got shape {tensor.shape}; need two axes")
    rows, columns = tensor.shape
    return _write(tensor, np.eye(rows, columns))


def _fans(tensor: Tensor) -> tuple[int, int]:
    """Inputs per output and outputs per input of a weight (out, in, kernel ...)."""
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Uniform in ±gain·sqrt(6 / (fan_in + fan_out)).

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010.
    """
    fan_in, fan_out = _fans(_open("xavier_uniform_", tensor, 2))
    bound = gain * math.sqrt(6 / max(1, fan_in + fan_out))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Normal of standard deviation gain·sqrt(2 / (fan_in + fan_out)); source as xavier_uniform_."""
    fan_in, fan_out = _fans(_open("xavier_normal_", tensor, 2))
    return normal_(tensor, 0.0, gain * math.sqrt(2 / max(1, fan_in + fan_out)), generator)


def _kaiming_std(op: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    """gain / sqrt(fan)."""
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{op}: mode: got {mode!r}; need 'fan_in' or 'fan_out'")
    fan_in, fan_out = _fans(_open(op, tensor, 2))
    fan = fan_in if mode == "fan_in" else fan_out
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform in ±gain·sqrt(3 / fan); a is the slope of leaky_relu.

    Source: He et al., "Delving deep into rectifiers", ICCV 2015.
    """
    bound = math.sqrt(3) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal of standard deviation gain / sqrt(fan); arguments and source as kaiming_uniform_."""
    std = _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """A random matrix with orthonormal rows or columns (the fewer of the two), times gain.

    Axes after the first count as one.

    Source: Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", ICLR 2014.
    """
    out = _open("orthogonal_", tensor, 2)
    if out.numel() == 0:
        return tensor
    rows, columns = out.shape[0], out.numel() // out.shape[0]
    draw = randn(rows, columns, generator=generator).numpy().astype(np.float64)
    q, r = np.linalg.qr(draw if rows >= columns else draw.T)
    q = q * np.sign(np.diag(r))         # makes the distribution uniform
    return _write(tensor, gain * (q if rows >= columns else q.T).reshape(out.shape))
