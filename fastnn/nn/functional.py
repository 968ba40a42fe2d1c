"""The ops as functions, under the names of torch.nn.functional."""

from ..ops.activation import relu, sigmoid, tanh
from ..ops.indexing import embedding, one_hot
from ..ops.linear import linear
from ..ops.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from ..ops.random import dropout

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "embedding",
    "hinge_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "linear",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "sigmoid",
    "smooth_l1_loss",
    "tanh",
]
