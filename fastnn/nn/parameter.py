"""Tensors that belong to a module: Parameter learns, Buffer is only kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from .._core import Tensor, as_tensor


class Parameter(Tensor):
    """A tensor that a module registers as learnable when it is assigned to an attribute.

    It shares the memory of `data` and starts outside any graph.

    Example:
        >>> import fastnn
        >>> fastnn.nn.Parameter(fastnn.zeros(2, 3)).requires_grad
        True
    """

    def __new__(cls, data: Any = (), requires_grad: bool = True) -> Parameter:
        t = _core.detach(as_tensor(data), cls)
        t.requires_grad = requires_grad
        return t

    def __init__(self, data: Any = (), requires_grad: bool = True) -> None:
        """Everything is done in __new__."""

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (np.array(self.detach()), self.requires_grad)


class Buffer(Tensor):
    """A tensor that a module keeps without learning it, such as a running mean.

    persistent: whether it is part of the module's state_dict.

    Example:
        >>> import fastnn
        >>> fastnn.nn.Buffer(fastnn.zeros(2)).requires_grad
        False
    """

    persistent: bool

    def __new__(cls, data: Any = (), *, persistent: bool = True) -> Buffer:
        t = _core.as_subclass(as_tensor(data), cls)
        t.persistent = persistent
        return t

    def __init__(self, data: Any = (), *, persistent: bool = True) -> None:
        """Everything is done in __new__."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_buffer, (type(self), np.array(self.detach()), self.persistent)


def _rebuild_buffer(cls: type[Buffer], array: np.ndarray, persistent: bool) -> Buffer:
    return cls(array, persistent=persistent)
