"""Dropout."""

from __future__ import annotations

from typing import Any

from .._core import Tensor
from ..ops import dropout
from ..ops.checks import need_probability
from .module import Module


class Dropout(Module):
    """In training, each element is zero with probability p and the others are divided by 1 - p.

    Errors: ValueError for p outside [0, 1].

    Source: Srivastava et al., "Dropout", JMLR 15, 2014.

    Example:
        >>> import fastnn
        >>> fastnn.nn.Dropout(0.5).eval()(fastnn.ones(3)).tolist()
        [1.0, 1.0, 1.0]
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p, self.inplace = need_probability("dropout", p), inplace

    def forward(self, input: Any) -> Tensor:
        return dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
