"""Activation functions."""

from __future__ import annotations

from typing import Any

from .._core import OPS, Tensor, add_method
from .pointwise import unary

__all__ = ["relu", "sigmoid", "tanh"]


def relu(input: Any) -> Tensor:
    """max(input, 0); its gradient at 0 is 0.

    Example:
        >>> import fastnn
        >>> fastnn.relu(fastnn.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """
    return unary(OPS["relu"], "relu", input)


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + exp(-input)).

    Example:
        >>> import fastnn
        >>> fastnn.sigmoid(fastnn.tensor([0.0])).tolist()
        [0.5]
    """
    return unary(OPS["sigmoid"], "sigmoid", input)


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent.

    Example:
        >>> import fastnn
        >>> fastnn.tanh(fastnn.tensor([0.0])).tolist()
        [0.0]
    """
    return unary(OPS["tanh"], "tanh", input)


for _name in __all__:
    add_method(_name, globals()[_name])
