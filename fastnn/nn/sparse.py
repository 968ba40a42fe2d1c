"""Embedding: a table of vectors read by index."""

from __future__ import annotations

from typing import Any

from .. import _core, ops
from .._core import Tensor, as_tensor
from ..errors import IndexRangeError, ShapeError, UnsupportedOpError
from . import init
from .module import Module
from .parameter import Parameter


class Embedding(Module):
    """Row i of a learned table for each index i.

    Shapes: indices (...), int32 or int64 -> (..., embedding_dim); weight (num_embeddings,
    embedding_dim), standard normal at first. The row of padding_idx starts at zero and gets no
    gradient.

    Errors: IndexRangeError for an index outside the table.

    Example:
        >>> import fastnn
        >>> fastnn.nn.Embedding(10, 3)(fastnn.tensor([[1, 2], [4, 5]])).shape
        (2, 2, 3)
    """

    weight: Parameter

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
        max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        sparse: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:
        super().__init__()
        if max_norm is not None or scale_grad_by_freq or sparse:
            raise UnsupportedOpError("embedding: max_norm, scale_grad_by_freq, sparse: got one of "
                                     "them; need none: fastnn does not have them")
        _core.check_device(device)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = _padding("embedding", padding_idx, num_embeddings)
        self.weight = Parameter(_core.empty((num_embeddings, embedding_dim), dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.detach().numpy()[self.padding_idx] = 0
            _core.bump_version(self.weight)

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None
    ) -> Embedding:
        """An Embedding over a given table (num_embeddings, embedding_dim), frozen by default."""
        table = as_tensor(embeddings)
        if table.ndim != 2:
            raise ShapeError(f"from_pretrained: embeddings: got shape {table.shape}; need two axes")
        self = cls.__new__(cls)
        Module.__init__(self)
        self.num_embeddings, self.embedding_dim = table.shape
        self.padding_idx = _padding("from_pretrained", padding_idx, self.num_embeddings)
        self.weight = Parameter(table, requires_grad=not freeze)
        return self

    def forward(self, input: Any) -> Tensor:
        return ops.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


def _padding(op: str, padding_idx: int | None, n: int) -> int | None:
    if padding_idx is None:
        return None
    if not -n <= padding_idx < n:
        raise IndexRangeError(f"{op}: padding_idx: got {padding_idx}; need {-n} to {n - 1}")
    return padding_idx % n
