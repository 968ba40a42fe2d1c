"""Affine layers, and Rosenblatt's perceptron."""

from __future__ import annotations

import math
from typing import Any

from .. import _core, ops
from .._core import Tensor, as_tensor
from ..errors import ShapeError
from ..ops import linear, matmul
from . import init
from .module import Module
from .parameter import Parameter


class Identity(Module):
    """Its input, unchanged; any arguments of the constructor are ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """y = x Wᵀ + b.

    Shapes: (..., in_features) -> (..., out_features); weight (out_features, in_features), bias
    (out_features). Both start uniform in ±1/sqrt(in_features).

    Source of the initialisation: He et al., "Delving deep into rectifiers", ICCV 2015, with slope
    sqrt(5), as in PyTorch.

    Example:
        >>> import fastnn
        >>> fastnn.nn.Linear(3, 2)(fastnn.ones(5, 3)).shape
        (5, 2)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _core.check_device(device)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(_core.empty((out_features, in_features), dtype))
        self.bias = Parameter(_core.empty((out_features,), dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Any) -> Tensor:
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")


class Perceptron(Module):
    """Threshold units with their own learning rule: y = 1 where x Wᵀ + b >= 0, else 0.

    Shapes: (..., in_features) -> (..., out_features); weight (out_features, in_features) and bias
    (out_features) start at zero. The step has no useful gradient: use `learn`, not an optimizer.

    Source: F. Rosenblatt, "The perceptron: a probabilistic model for information storage and
    organization in the brain", Psychological Review 65, 1958.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> y = fastnn.tensor([0.0, 1.0, 1.0, 1.0])             # logical or
        >>> p = fastnn.nn.Perceptron(2)
        >>> while p.learn(x, y):
        ...     pass
        >>> p(x)[:, 0].tolist()
        [0.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, in_features: int, out_features: int = 1) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(_core.empty((out_features, in_features)))
        self.bias = Parameter(_core.empty((out_features,)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Forget everything learned."""
        init.zeros_(self.weight)
        init.zeros_(self.bias)

    def forward(self, input: Any) -> Tensor:
        return ops.heaviside(linear(input, self.weight, self.bias), 1.0)

    def learn(self, x: Any, y: Any, lr: float = 1.0) -> int:
        """One update by the perceptron rule; returns how many outputs were wrong before it.

        Adds lr·(y - prediction)·x to the weights, summed over the samples given: one sample is the
        online rule of the paper, all of them a batch step. Where a plane separates the classes,
        repeated calls reach 0 mistakes.

        Shapes: x (n, in_features), y of 0 and 1 (n, out_features), or (n) for one output.

        Errors: ShapeError; ValueError for y other than 0 and 1. Neither changes the weights.
        """
        mode = _core.set_grad_enabled(False)
        try:
            x, y = as_tensor(x), as_tensor(y)
            if x.ndim != 2 or y.shape not in ((x.shape[0], self.out_features),
                                              (x.shape[0],) * (self.out_features == 1)):
                raise ShapeError(f"perceptron: shapes: got x {x.shape} and y {y.shape}; need "
                                 f"(n, {self.in_features}) and (n, {self.out_features})")
            y = _core.view(y.float(), (x.shape[0], self.out_features))
            if not bool(((y == 0) | (y == 1)).all()):
                raise ValueError("perceptron: y: got other values; need 0 and 1")
            error = y - self(x)
            self.weight.add_(lr * matmul(error.mT, x))
            self.bias.add_(lr * error.sum(0))
            return int(error.abs().sum().item())
        finally:
            _core.set_grad_enabled(mode)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"
