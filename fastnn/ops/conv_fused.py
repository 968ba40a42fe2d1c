"""Convolutions with what often follows them, as one record: what a compiled step makes of them."""

from __future__ import annotations

from typing import Any

from .._core import OPS, Tensor, as_tensor, call, channels_last, from_channels_last
from ..errors import ShapeError
from .checks import need_float32, need_number
from .conv import record_of_images

__all__ = ["conv2d_act", "conv2d_norm"]

CONV2D_ACT, CONV2D_NORM = OPS["conv2d_act"], OPS["conv2d_norm"]
_RESIDUAL = 2
# Number of the record, and what it clamps to; the slope of each follows from its output.
_ACTIVATIONS: dict[str | None, tuple[int, tuple[float, ...]]] = {
    None: (0, (0.0, 0.0)), "relu": (1, (0.0, 0.0)), "relu6": (7, (0.0, 6.0)),
    "tanh": (5, (0.0, 0.0)), "sigmoid": (6, (0.0, 0.0))}


def _activation(op: str, name: str | None) -> tuple[int, tuple[float, ...]]:
    if not (name is None or isinstance(name, str)) or name not in _ACTIVATIONS:
        names = ", ".join(repr(n) for n in _ACTIVATIONS if n)
        raise ValueError(f"{op}: activation: got {name!r}; need None or one of {names}")
    return _ACTIVATIONS[name]


def _with_residual(
    op: str, residual: Any, inputs: tuple[Tensor, ...], shape: tuple[int, ...],
    dim: tuple[int, ...],
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Operands and dim of a record that adds (N, O, OH, OW), if it is given."""
    if residual is None:
        return inputs, dim
    r, (n, h, w, channels) = as_tensor(residual), shape
    need_float32(op, residual=r)
    if r.shape != (n, channels, h, w):
        raise ShapeError(f"{op}: residual: got shape {r.shape}; need {(n, channels, h, w)}")
    return ((*inputs[:3], channels_last(r), *inputs[4:]), (*dim[:15], dim[15] | _RESIDUAL))


def conv2d_act(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1, activation: str | None = "relu", residual: Any = None,
) -> Tensor:
    """act(conv2d(x) + residual) in one pass, with the bits of the separate functions.

    Shapes: as conv2d, residual (N, O, OH, OW). activation: None, "relu", "relu6", "tanh" or
    "sigmoid". `fastnn.compile` does this by itself.

    Errors: ShapeError naming the shapes; ValueError for another activation.

    Example:
        >>> import fastnn
        >>> x, w = fastnn.ones(1, 3, 8, 8), fastnn.ones(4, 3, 3, 3)
        >>> fastnn.nn.functional.conv2d_act(x, w, activation="relu6").max().item()
        6.0
    """
    op = "conv2d_act"
    act, limits = _activation(op, activation)
    inputs, shape, dim = record_of_images(op, input, weight, bias, stride, padding, dilation,
                                          groups, last=True)
    inputs, dim = _with_residual(op, residual, inputs, shape, dim)
    return from_channels_last(call(CONV2D_ACT, inputs, (shape,), (*dim, act), limits))


def conv2d_norm(
    input: Any, weight: Any, running_mean: Any, running_var: Any, gain: Any, shift: Any,
    bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    eps: float = 1e-05, activation: str | None = None, residual: Any = None,
) -> Tensor:
    """act(batch_norm(conv2d(x)) + residual) by running statistics, with the bits of all of them.

    Shapes: as conv2d, the four vectors (O), residual (N, O, OH, OW). There is no gradient.
    `fastnn.compile` does this by itself.

    Errors: ShapeError naming the shapes; ValueError for another activation than conv2d_act's.

    Example:
        >>> import fastnn
        >>> x, w, v = fastnn.ones(1, 2, 1, 1), fastnn.ones(2, 2, 1, 1), fastnn.ones(2)
        >>> fastnn.nn.functional.conv2d_norm(x, w, v, v, v, v, eps=0.0).flatten().tolist()
        [2.0, 2.0]
    """
    op = "conv2d_norm"
    act, limits = _activation(op, activation)
    inputs, shape, dim = record_of_images(op, input, weight, bias, stride, padding, dilation,
                                          groups, last=True)
    inputs, dim = _with_residual(op, residual, inputs, shape, dim)
    vectors = {"gain": as_tensor(gain), "shift": as_tensor(shift),
               "running_mean": as_tensor(running_mean), "running_var": as_tensor(running_var)}
    need_float32(op, **vectors)
    for name, v in vectors.items():
        if v.shape != shape[3:]:
            raise ShapeError(f"{op}: {name}: got shape {v.shape}; need {shape[3:]}")
    return from_channels_last(call(CONV2D_NORM, (*inputs, *vectors.values()), (shape, shape[3:]),
                                   (*dim, act), (*limits, need_number(op, "eps", eps)), 1))
