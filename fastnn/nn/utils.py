"""Gradient clipping, and parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any

from .. import _core
from .._core import Tensor, as_tensor
from ..errors import ShapeError
from ..ops import optim
from ..ops.checks import need_float32
from ..ops.movement import cat

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
    error_if_nonfinite: bool = False, foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients together so that their norm is at most max_norm; returns the norm before.

    norm_type: 2, 1 or inf, over the elements of all gradients as if they were one vector. The scale
    is min(max_norm / (norm + 1e-6), 1). Parameters without gradient are skipped. foreach is
    accepted and has no effect.

    Errors: ValueError for another norm_type; RuntimeError for a norm that is NaN or infinite if
    error_if_nonfinite, with the gradients as they were.

    Source: Pascanu et al., On the difficulty of training recurrent neural networks, 2013.

    Example:
        >>> import fastnn
        >>> w = fastnn.tensor([0.0, 0.0], requires_grad=True)
        >>> w.grad = fastnn.tensor([3.0, 4.0])
        >>> fastnn.nn.utils.clip_grad_norm_([w], max_norm=1.0).item()
        5.0
    """
    kind = float(norm_type)
    if kind not in optim.KINDS:
        raise ValueError(f"clip_grad_norm_: norm_type: got {norm_type!r}; need 2, 1 or inf")
    places = _gradients(parameters)
    total, scale = optim.norm(places, kind, float(max_norm))
    if error_if_nonfinite and not isfinite(total.item()):
        raise RuntimeError(
            f"clip_grad_norm_: gradients: got a norm of {total.item()}; need a finite one, or "
            "error_if_nonfinite=False"
        )
    optim.scale_(places, scale)
    return total


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Bring every element of every gradient into [-clip_value, clip_value]; NaN stays NaN.

    foreach is accepted and has no effect.

    Example:
        >>> import fastnn
        >>> w = fastnn.tensor([0.0, 0.0], requires_grad=True)
        >>> w.grad = fastnn.tensor([-3.0, 0.5])
        >>> fastnn.nn.utils.clip_grad_value_(w, 1.0)
        >>> w.grad.tolist()
        [-1.0, 0.5]
    """
    optim.clamp_(_gradients(parameters), float(clip_value))


def _gradients(parameters: Tensor | Iterable[Tensor]) -> optim.Places:
    """The gradients that are there."""
    tensors = [parameters] if isinstance(parameters, Tensor) else parameters
    return optim.locate([p.grad for p in tensors if p.grad is not None])


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters one after the other in one new vector; gradients flow back to them.

    Errors: ValueError for no parameters.

    Example:
        >>> import fastnn
        >>> a, b = fastnn.tensor([[1.0, 2.0]]), fastnn.tensor([3.0])
        >>> fastnn.nn.utils.parameters_to_vector([a, b]).tolist()
        [1.0, 2.0, 3.0]
    """
    parts = [_core.view(p, (p.numel(),)) for p in parameters]
    if not parts:
        raise ValueError("parameters_to_vector: parameters: got none; need at least one")
    return cat(parts)


def vector_to_parameters(vec: Any, parameters: Iterable[Tensor]) -> None:
    """Copy consecutive parts of a vector into parameters, the reverse of parameters_to_vector.

    Unlike torch's, the parameters keep their own memory and do not share the vector's.

    Errors: ShapeError unless the vector has as many elements as all parameters together.

    Example:
        >>> import fastnn
        >>> a, b = fastnn.tensor([[1.0, 2.0]]), fastnn.tensor([3.0])
        >>> fastnn.nn.utils.vector_to_parameters(fastnn.tensor([4.0, 5.0, 6.0]), [a, b])
        >>> a.tolist(), b.tolist()
        ([[4.0, 5.0]], [6.0])
    """
    vector, targets = as_tensor(vec), list(parameters)
    need_float32("vector_to_parameters", vec=vector)
    total = sum(p.numel() for p in targets)
    if vector.shape != (total,):
        raise ShapeError(f"vector_to_parameters: vec: got shape {vector.shape}; need ({total},)")
    arrays = [p.detach().numpy() for p in targets]
    if not all(a.flags.writeable for a in arrays):
        raise ValueError("vector_to_parameters: parameters: got read-only memory; need a copy")
    values, at = vector.detach().numpy(), 0
    for p, array in zip(targets, arrays, strict=True):
        array[...] = values[at : at + array.size].reshape(array.shape)
        _core.bump_version(p)
        at += array.size
