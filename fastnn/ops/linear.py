"""Matrix products: ``matmul`` over any leading batch axes, and the affine map ``linear``."""

from __future__ import annotations

from math import prod
from typing import Any

from .. import _core
from .._core import (
    OPS,
    Tensor,
    add_method,
    all_float32,
    as_tensor,
    bind_operator,
    call,
    grad_enabled,
    packed,
    transpose_source,
)
from ..errors import ShapeError
from .checks import need_float32
from .movement import expand

__all__ = ["bmm", "dot", "linear", "matmul", "mm", "mv", "outer"]

MATMUL, LINEAR, LINEAR_ACT = OPS["matmul"], OPS["linear"], OPS["linear_act"]
PACK_WEIGHT = OPS["pack_weight"]


def matmul(input: Any, other: Any) -> Tensor:
    """Matrix product over the last two axes, broadcasting the others.

    Shapes: (..., m, k) and (..., k, n) -> (..., m, n); a 1-d operand is a row (left) or a column
    (right) whose axis the result lacks. A transposed operand (``x.mT``, ``x.transpose(-2, -1)``)
    is read in place, without a copy.

    Errors: ShapeError where the inner sizes differ or the batch axes do not broadcast.

    Example:
        >>> import fastnn
        >>> fastnn.matmul(fastnn.ones(2, 3), fastnn.ones(3, 4)).shape
        (2, 4)
    """
    if all_float32(input, other):
        a, b = input, other
    else:
        a, b = as_tensor(input), as_tensor(other)
        need_float32("matmul", input=a, other=b)
    shape_a, shape_b = a.shape, b.shape
    if len(shape_a) == 2 == len(shape_b) and shape_a[1] == shape_b[0]:  # the usual case, short
        m, k = shape_a
        n = shape_b[1]
        left, right = transpose_source(a), transpose_source(b)
        if left is None is right:
            return call(MATMUL, (a, b), ((m, n),), (m, n, k, 0, 0, 1, 1))
        return call(MATMUL, (a if left is None else left, b if right is None else right),
                    ((m, n),), (m, n, k, left is not None, right is not None, 1, 1))
    if not shape_a or not shape_b:
        raise ShapeError(
            f"matmul: shapes: got {shape_a} and {shape_b}; need at least one axis each"
        )
    row, column = a.ndim == 1, b.ndim == 1
    if row:
        a = _core.view(a, (1, *a.shape))
    if column:
        b = _core.view(b, (*b.shape, 1))
    (*batch_a, m, k), (*batch_b, k_b, n) = a.shape, b.shape
    if k != k_b:
        raise ShapeError(
            f"matmul: shapes: got {a.shape} and {b.shape}; need the last size of the first "
            f"({k}) equal to the last but one of the second ({k_b})"
        )
    y = _batched(a, b, batch_a, batch_b, m, n, k)
    if row or column:
        keep = [s for s, gone in ((m, row), (n, column)) if not gone]
        y = _core.view(y, (*y.shape[:-2], *keep))
    return y


def _batched(
    a: Tensor, b: Tensor, batch_a: list[int], batch_b: list[int], m: int, n: int, k: int
) -> Tensor:
    """The product of matrices with checked inner sizes."""
    if not batch_b and batch_a and transpose_source(a) is None:  # shared right: one tall product
        rows = m
        for s in batch_a:
            rows *= s
        y = _batched(_core.view(a, (rows, k)), b, [], [], rows, n, k)
        return _core.view(y, (*batch_a, m, n))
    batch = _broadcast_batch(batch_a, batch_b)
    axes = _collapse(batch, batch_a, batch_b)
    if len(axes) > 2:  # more alternations than a record holds: write the operands out
        a = expand(a, (*batch, *a.shape[-2:]))
        b = expand(b, (*batch, *b.shape[-2:]))
        return _batched(a, b, batch, batch, m, n, k)
    (n0, a0, b0), (n1, a1, b1) = [(1, 0, 0)] * (2 - len(axes)) + axes
    strides = (n0, n1, a0 * m * k, a1 * m * k, b0 * k * n, b1 * k * n)
    return _product(a, b, (*batch, m, n), (m, k, n), strides)


def _product(
    a: Tensor, b: Tensor, shape: tuple[int, ...], mkn: tuple[int, int, int],
    batch: tuple[int, ...],
) -> Tensor:
    """One record; lazily transposed operands are read where they lie."""
    m, k, n = mkn
    left, right = transpose_source(a), transpose_source(b)
    return call(MATMUL, (a if left is None else left, b if right is None else right), (shape,),
                (m, n, k, left is not None, right is not None, *batch))


def _broadcast_batch(a: list[int], b: list[int]) -> list[int]:
    """The common batch shape."""
    rank = max(len(a), len(b))
    a, b = [1] * (rank - len(a)) + a, [1] * (rank - len(b)) + b
    for x, y in zip(a, b, strict=True):
        if x != y and 1 not in (x, y):
            raise ShapeError(
                f"matmul: batch axes: got {tuple(a)} and {tuple(b)}; need equal sizes or 1"
            )
    return [y if x == 1 else x for x, y in zip(a, b, strict=True)]


def _collapse(batch: list[int], a: list[int], b: list[int]) -> list[tuple[int, int, int]]:
    """Batch axes merged where both operands walk them alike: (size, step of a, step of b)."""
    a, b = [1] * (len(batch) - len(a)) + a, [1] * (len(batch) - len(b)) + b
    axes: list[tuple[int, int, int]] = []
    step_a = step_b = 1
    for size, x, y in zip(batch[::-1], a[::-1], b[::-1], strict=True):
        if size == 1:
            continue
        s, t = (step_a if x != 1 else 0), (step_b if y != 1 else 0)
        if axes and axes[0][1] * axes[0][0] == s and axes[0][2] * axes[0][0] == t:
            axes[0] = (axes[0][0] * size, axes[0][1], axes[0][2])
        else:
            axes.insert(0, (size, s, t))
        step_a, step_b = step_a * x, step_b * y
    return axes


def _product_of_rank(name: str, input: Any, other: Any, rank_a: int, rank_b: int) -> Tensor:
    """matmul for operands of stated ranks."""
    a, b = as_tensor(input), as_tensor(other)
    if (a.ndim, b.ndim) != (rank_a, rank_b):
        raise ShapeError(
            f"{name}: shapes: got {a.shape} and {b.shape}; need {rank_a} and {rank_b} axes"
        )
    return matmul(a, b)


def mm(input: Any, mat2: Any) -> Tensor:
    """Product of two matrices: (m, k) and (k, n) -> (m, n)."""
    return _product_of_rank("mm", input, mat2, 2, 2)


def bmm(input: Any, mat2: Any) -> Tensor:
    """Products of two batches of matrices: (b, m, k) and (b, k, n) -> (b, m, n)."""
    a, b = as_tensor(input), as_tensor(mat2)
    if a.shape[:1] != b.shape[:1]:
        raise ShapeError(f"bmm: shapes: got {a.shape} and {b.shape}; need equal batch sizes")
    return _product_of_rank("bmm", a, b, 3, 3)


def mv(input: Any, vec: Any) -> Tensor:
    """Matrix times vector: (m, k) and (k) -> (m)."""
    return _product_of_rank("mv", input, vec, 2, 1)


def dot(input: Any, tensor: Any) -> Tensor:
    """Inner product of two vectors: (k) and (k) -> a scalar."""
    return _product_of_rank("dot", input, tensor, 1, 1)


def outer(input: Any, vec2: Any) -> Tensor:
    """Outer product of two vectors: (m) and (n) -> (m, n)."""
    a, b = as_tensor(input), as_tensor(vec2)
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(f"outer: shapes: got {a.shape} and {b.shape}; need 1 and 1 axes")
    return matmul(_core.view(a, (*a.shape, 1)), _core.view(b, (1, *b.shape)))


_ABSENT = _core.empty((0,))
_ACTIVATIONS = {None: 0, "relu": 1, "gelu": 2, "gelu_tanh": 3, "silu": 4, "tanh": 5, "sigmoid": 6}
_FROM_INPUT = range(2, 5)       # gelu, gelu_tanh, silu: backward takes the slope from their input
_PACK_ROWS = 128                # with more rows, packing on the way costs less than 3 %
_PACK_SIZE = 1 << 14            # a smaller weight stays in the first two caches as it is
_STRIP_ROWS = 3                 # ... but a program multiplies so few rows fastest with panels


def linear(
    input: Any, weight: Any, bias: Any = None, activation: str | None = None, residual: Any = None
) -> Tensor:
    """y = act(x Wᵀ + b + r): an affine map, and what often follows it, in one pass.

    Shapes: input (..., in), weight (out, in), bias (out), residual (..., out) to (..., out).
    activation: None, "relu", "gelu", "gelu_tanh", "silu", "tanh" or "sigmoid". The bits, those of
    the gradients too, are those of the separate functions.

    Errors: ShapeError naming both shapes.

    Example:
        >>> import fastnn
        >>> fastnn.nn.functional.linear(fastnn.ones(5, 3), fastnn.ones(2, 3)).shape
        (5, 2)
    """
    x, w, b = input, weight, _ABSENT if bias is None else bias
    r = _ABSENT if residual is None else residual
    if not all_float32(x, w, b, r):
        x, w, b, r = as_tensor(x), as_tensor(w), as_tensor(b), as_tensor(r)
        need_float32("linear", input=x, weight=w, bias=b, residual=r)
    shape, weight_shape = x.shape, w.shape
    if len(weight_shape) != 2:
        raise ShapeError(f"linear: weight: got shape {weight_shape}; need (out, in)")
    n, k = weight_shape
    if not shape or shape[-1] != k:
        raise ShapeError(
            f"linear: input: got shape {shape}; need (..., {k}) for weight {weight_shape}"
        )
    if bias is not None and b.shape != (n,):
        raise ShapeError(
            f"linear: bias: got shape {b.shape}; need ({n},) for weight {weight_shape}"
        )
    m = shape[0] if len(shape) == 2 else prod(shape[:-1])
    y_shape = (m, n) if len(shape) == 2 else (*shape[:-1], n)
    if residual is not None and r.shape != y_shape:
        raise ShapeError(f"linear: residual: got shape {r.shape}; need {y_shape}")
    pack = None
    if m <= _PACK_ROWS and (n * k >= _PACK_SIZE or m <= _STRIP_ROWS and _core.is_recording()):
        pack = packed(PACK_WEIGHT, w, (-(-n // 32), k, 32), (n, k))
    inputs = (x, w, b, r, _ABSENT if pack is None else pack)
    dim = (m, n, k, bias is not None, residual is not None, pack is not None)
    if activation is None:
        return call(LINEAR, inputs, (y_shape,), dim)
    act = _ACTIVATIONS.get(activation)
    if act is None:
        raise ValueError(
            f"linear: activation: got {activation!r}; need None or one of {_names()}"
        )
    keep = act in _FROM_INPUT and grad_enabled()
    return call(LINEAR_ACT, inputs, (y_shape, y_shape if keep else (0,)), (*dim, act, keep), (), 1)


def _names() -> str:
    return ", ".join(repr(name) for name in _ACTIVATIONS if name)


bind_operator("matmul", matmul)
for _function in (matmul, mm, bmm, mv, dot, outer):
    add_method(_function.__name__, _function)
