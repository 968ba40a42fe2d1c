"""Losses as modules: their options fixed once, inputs and targets given per call.

reduction: "mean", "sum" or "none". For shapes and formulas see the function of each.
"""

from __future__ import annotations

from typing import Any

from .. import ops
from .._core import Tensor
from ..errors import UnsupportedOpError
from .module import Module
from .parameter import Buffer


class _Loss(Module):
    def __init__(self, size_average: Any = None, reduce: Any = None,
                 reduction: str = "mean") -> None:
        super().__init__()
        if size_average is not None or reduce is not None:
            raise UnsupportedOpError(f"{type(self).__name__}: size_average, reduce: got a value; "
                                     "need None: use reduction=")
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"{type(self).__name__}: reduction: got {reduction!r}; need 'mean', "
                             "'sum' or 'none'")
        self.reduction = reduction

    def _keep(self, name: str, weight: Any) -> None:
        """Class or element weights: a buffer of the module, or None."""
        setattr(self, name, None if weight is None else Buffer(weight))


class MSELoss(_Loss):
    """(input - target)²; reduction="sum" gives the sum of squared errors."""

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """|input - target|."""

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """Squared up to a difference of beta, linear beyond: huber_loss / beta."""

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
                 beta: float = 1.0) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """Squared up to a difference of delta, linear beyond."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class CrossEntropyLoss(_Loss):
    """-log softmax(input)[target]: from logits, to class indices or probabilities.

    Example:
        >>> import fastnn
        >>> loss = fastnn.nn.CrossEntropyLoss()
        >>> round(loss(fastnn.zeros(1, 4), fastnn.tensor([2])).item(), 4)
        1.3863
    """

    weight: Buffer | None

    def __init__(self, weight: Any = None, size_average: Any = None, ignore_index: int = -100,
                 reduce: Any = None, reduction: str = "mean", label_smoothing: float = 0.0) -> None:
        super().__init__(size_average, reduce, reduction)
        self._keep("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.cross_entropy(
            input, target, weight=self.weight, ignore_index=self.ignore_index,
            reduction=self.reduction, label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """-input[target], where input holds log-probabilities."""

    weight: Buffer | None

    def __init__(self, weight: Any = None, size_average: Any = None, ignore_index: int = -100,
                 reduce: Any = None, reduction: str = "mean") -> None:
        super().__init__(size_average, reduce, reduction)
        self._keep("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.nll_loss(input, target, weight=self.weight, ignore_index=self.ignore_index,
                            reduction=self.reduction)


class BCELoss(_Loss):
    """Cross entropy of probabilities in [0, 1] and targets; prefer BCEWithLogitsLoss."""

    weight: Buffer | None

    def __init__(self, weight: Any = None, size_average: Any = None, reduce: Any = None,
                 reduction: str = "mean") -> None:
        super().__init__(size_average, reduce, reduction)
        self._keep("weight", weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Cross entropy of sigmoid(input) and targets, without overflow for any input."""

    weight: Buffer | None
    pos_weight: Buffer | None

    def __init__(self, weight: Any = None, size_average: Any = None, reduce: Any = None,
                 reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(size_average, reduce, reduction)
        self._keep("weight", weight)
        self._keep("pos_weight", pos_weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.binary_cross_entropy_with_logits(
            input, target, weight=self.weight, reduction=self.reduction, pos_weight=self.pos_weight,
        )


class KLDivLoss(_Loss):
    """target·(log target - input), where input holds log-probabilities.

    reduction may also be "batchmean": the sum divided by the batch size, which is the definition.
    """

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
                 log_target: bool = False) -> None:
        super().__init__(size_average, reduce, "mean" if reduction == "batchmean" else reduction)
        self.reduction, self.log_target = reduction, log_target

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class CosineEmbeddingLoss(_Loss):
    """1 - cos for pairs of target 1, max(cos - margin, 0) for pairs of target -1."""

    def __init__(self, margin: float = 0.0, size_average: Any = None, reduce: Any = None,
                 reduction: str = "mean") -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        return ops.cosine_embedding_loss(input1, input2, target, self.margin,
                                         reduction=self.reduction)


class HingeEmbeddingLoss(_Loss):
    """The distance x for pairs of target 1, max(margin - x, 0) for pairs of target -1."""

    def __init__(self, margin: float = 1.0, size_average: Any = None, reduce: Any = None,
                 reduction: str = "mean") -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)
