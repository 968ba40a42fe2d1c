"""The ops as functions, under the names of torch.nn.functional."""

from ..ops.activation import relu, sigmoid, tanh
from ..ops.linear import linear
from ..ops.random import dropout

__all__ = [
    "dropout",
    "linear",
    "relu",
    "sigmoid",
    "tanh",
]
