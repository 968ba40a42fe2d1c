"""Functions made of other ops, without a kernel of their own."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from .._core import Tensor, add_method, as_tensor, elements, view
from ..errors import ShapeError
from .checks import need_int, need_sizes, need_word
from .creation import arange, full, zeros
from .indexing import gather, index_select, narrow, scatter
from .linear import matmul
from .movement import cat, expand, permute, reshape
from .pointwise import add, clamp, div, mul
from .reduce import ValuesIndices, norm, sum
from .sorting import order

__all__ = ["addmm", "diag", "einsum", "median", "normalize", "pad", "unique"]


# ---------------------------------------------------------------- matrices


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta · input + alpha · mat1 @ mat2.

    Shapes: (m, k) and (k, n), input broadcastable to (m, n) -> (m, n).

    Example:
        >>> import fastnn
        >>> fastnn.addmm(fastnn.ones(2), fastnn.eye(2), fastnn.eye(2)).tolist()
        [[2.0, 1.0], [1.0, 2.0]]
    """
    y = matmul(mat1, mat2)
    return add(input if beta == 1 else mul(input, beta), y if alpha == 1 else mul(y, alpha))


def diag(input: Any, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix with a vector as its diagonal; above 0: further up.

    Example:
        >>> import fastnn
        >>> fastnn.diag(fastnn.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [1.0, 4.0]
        >>> fastnn.diag(fastnn.tensor([1.0, 2.0]), 1).shape
        (3, 3)
    """
    x, k = as_tensor(input), need_int("diag", "diagonal", diagonal)
    if x.ndim == 1:
        size = x.numel() + abs(k)
        at = arange(x.numel()) * (size + 1) + (k if k > 0 else -k * size)
        return view(scatter(zeros(size * size, dtype=x.dtype), 0, at, x), (size, size))
    if x.ndim != 2:
        raise ShapeError(f"diag: input: got shape {x.shape}; need a vector or a matrix")
    rows, columns = x.shape
    n = max(0, min(rows, columns - k) if k >= 0 else min(rows + k, columns))
    at = arange(n) * (columns + 1) + (k if k > 0 else -k * columns)
    return index_select(view(x, (x.numel(),)), 0, at)


# ---------------------------------------------------------------- sums of products


class _Term(NamedTuple):
    """A tensor and a letter for each of its axes."""

    x: Tensor
    axes: str


def einsum(equation: str, *operands: Any) -> Tensor:
    """Sums of products of elements, in the notation of Einstein: "ij,jk->ik" is a matrix product.

    A letter names an axis; those missing to the right of "->" are summed over. "..." stands for
    axes that broadcast. Without "->" the result has the letters that occur once, in the order of
    the alphabet. Operands are joined from left to right, each time by one matrix product.

    Errors: ShapeError for letters that do not fit the operands, ValueError for other signs.

    Example:
        >>> import fastnn
        >>> fastnn.einsum("bij,bjk->bik", fastnn.ones(2, 3, 4), fastnn.ones(2, 4, 5)).shape
        (2, 3, 5)
    """
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    terms, out = _letters(equation, [as_tensor(x) for x in operands])
    sizes = _sizes(equation, terms)
    acc = _diagonals(terms[0])
    for i, term in enumerate(terms[1:], 1):
        later = set(out).union(*[t.axes for t in terms[i + 1 :]])
        acc = _product(acc, _diagonals(term), later, sizes)
    acc = _summed(acc, set(out))
    return permute(acc.x, [acc.axes.index(c) for c in out]) if out != acc.axes else acc.x


def _letters(equation: str, xs: list[Tensor]) -> tuple[list[_Term], str]:
    """The operands with a letter for each axis, and the letters of the result."""
    left, arrow, out = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if not set(equation) <= set(" ,.->") | set(_ALPHABET) or len(parts) != len(xs):
        raise ValueError(f"einsum: equation: got {equation!r} for {len(xs)} operands; need letters "
                         "for each, such as 'ij,jk->ik'")
    hidden = [c for c in _ALPHABET if c not in equation]
    most, terms = 0, []
    for part, x in zip(parts, xs, strict=True):
        rest = x.ndim - len(part.replace("...", ""))
        if rest < 0 or (rest and "..." not in part):
            raise ShapeError(f"einsum: operands: got shape {x.shape} for {part!r}; need a letter "
                             "for each axis")
        if "..." in part:
            most = max(most, rest)
        dots = "".join(hidden[:rest][::-1])     # the last axis has the same letter everywhere
        terms.append(_Term(x, part.replace("...", dots)))
    dots = "".join(hidden[:most][::-1])
    if not arrow:
        once = sorted(c for c in set(left) & set(_ALPHABET) if left.count(c) == 1)
        return terms, dots + "".join(once)
    out = out.replace("...", dots)
    if len(set(out)) != len(out) or not set(out) <= {c for t in terms for c in t.axes}:
        raise ValueError(f"einsum: equation: got {equation!r}; need each letter of the result "
                         "once, and in an operand")
    return terms, out


_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _sizes(equation: str, terms: list[_Term]) -> dict[str, int]:
    """The size of each letter; 1 broadcasts."""
    sizes: dict[str, int] = {}
    for x, axes in terms:
        for c, n in zip(axes, x.shape, strict=True):
            if sizes.get(c, 1) != 1 and n not in (1, sizes[c]):
                raise ShapeError(f"einsum: operands: got sizes {sizes[c]} and {n} for one letter "
                                 f"of {equation!r}; need equal ones, or 1")
            sizes[c] = n if sizes.get(c, 1) == 1 else sizes[c]
    return sizes


def _diagonals(term: _Term) -> _Term:
    """The elements where axes of the same letter have the same index."""
    x, axes = term
    for c in dict.fromkeys(axes):
        while axes.count(c) > 1:
            i, j = axes.index(c), axes.rindex(c)
            n, m = x.shape[i], x.shape[j]
            if n != m:
                raise ShapeError(f"einsum: operands: got shape {term.x.shape}; need equal sizes "
                                 "where a letter repeats")
            rest = [k for k in range(x.ndim) if k not in (i, j)]
            x = permute(x, [i, j, *rest])
            x = reshape(x, n * n, *x.shape[2:])
            x, axes = index_select(x, 0, arange(n) * (n + 1)), c + "".join(axes[k] for k in rest)
    return _Term(x, axes)


def _summed(term: _Term, keep: set[str]) -> _Term:
    """Sums over the axes that nobody asks for any more."""
    gone = tuple([i for i, c in enumerate(term.axes) if c not in keep])
    if not gone:
        return term
    return _Term(sum(term.x, gone), "".join(c for c in term.axes if c in keep))


def _product(a: _Term, b: _Term, later: set[str], sizes: dict[str, int]) -> _Term:
    """The product of two operands, summed over what both have and nobody needs later."""
    a, b = _summed(a, later | set(b.axes)), _summed(b, later | set(a.axes))
    both = [c for c in a.axes if c in b.axes]
    batch, inner = [c for c in both if c in later], [c for c in both if c not in later]
    rows, columns = [c for c in a.axes if c not in both], [c for c in b.axes if c not in both]
    groups = (batch, rows, inner, columns)
    n_batch, n_rows, n_inner, n_columns = (prod(sizes[c] for c in g) for g in groups)
    x = reshape(_arranged(a, batch + rows + inner, sizes), n_batch, n_rows, n_inner)
    y = reshape(_arranged(b, batch + inner + columns, sizes), n_batch, n_inner, n_columns)
    axes = batch + rows + columns
    return _Term(reshape(matmul(x, y), [sizes[c] for c in axes]), "".join(axes))


def _arranged(term: _Term, axes: list[str], sizes: dict[str, int]) -> Tensor:
    """The tensor with its axes in another order and of full size."""
    x = permute(term.x, [term.axes.index(c) for c in axes])
    return expand(x, [sizes[c] for c in axes])


# ---------------------------------------------------------------- values


def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """input divided by its p-norm along dim, or by eps where that is larger.

    Example:
        >>> import fastnn.nn.functional as F, fastnn
        >>> [round(v, 4) for v in F.normalize(fastnn.tensor([3.0, 4.0]), dim=0).tolist()]
        [0.6, 0.8]
    """
    return div(input, clamp(norm(input, p, dim, keepdim=True), min=eps))


def median(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element, the lower of two; with dim as (values, indices). NaN if there is one.

    Errors: ShapeError for no elements.

    Example:
        >>> import fastnn
        >>> fastnn.median(fastnn.tensor([3.0, 1.0, 4.0, 2.0])).item()
        2.0
    """
    x = as_tensor(input)
    if dim is None:
        return view(median(view(x, (x.numel(),)), 0).values, ())
    places, d = order("median", x, dim, False)
    n = places.shape[d]
    if n == 0:
        raise ShapeError(f"median: input: got shape {x.shape}; need elements along axis {d}")
    if x.ndim == 0:
        return ValuesIndices(x, _core.tensor(0))
    at = np.take(places, [(n - 1) // 2], d)
    if x.dtype.is_floating_point:
        nan = np.isnan(elements(x))
        at = np.where(nan.any(d, keepdims=True), nan.argmax(d, keepdims=True), at)
    i = _core.tensor(at)
    y = ValuesIndices(gather(x, d, i), i)
    if keepdim:
        return y
    left = (*x.shape[:d], *x.shape[d + 1 :])
    return ValuesIndices(view(y.values, left), view(y.indices, left))


def unique(
    input: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements in ascending order, or the different slices along dim.

    With return_inverse also where each element of the input is among them, with return_counts also
    how often each occurs. No gradients.

    Example:
        >>> import fastnn
        >>> fastnn.unique(fastnn.tensor([3, 1, 3]), return_counts=True)[1].tolist()
        [1, 2]
    """
    x = as_tensor(input).detach()
    _core.untraceable("unique")
    values, inverse, counts = np.unique(elements(x), return_inverse=True,
                                        return_counts=True, axis=dim, equal_nan=False)
    shape = x.shape if dim is None else (-1,)
    found = [values] + [inverse.reshape(shape)] * return_inverse + [counts] * return_counts
    tensors = [_core.tensor(a, a.dtype) for a in found]
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


# ---------------------------------------------------------------- borders


def pad(
    input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """The tensor with elements added before and after: pad = (before, after) of the last axis, then
    of the last but one, ...; negative numbers cut off.

    mode: "constant" adds value (0 if None), "reflect" what lies mirrored at the outermost element,
    "replicate" the outermost element, "circular" what lies at the other end.

    Example:
        >>> import fastnn.nn.functional as F, fastnn
        >>> F.pad(fastnn.tensor([1.0, 2.0, 3.0]), (1, 2)).tolist()
        [0.0, 1.0, 2.0, 3.0, 0.0, 0.0]
    """
    x, widths = as_tensor(input), need_sizes("pad", "pad", pad)
    if len(widths) % 2 or len(widths) > 2 * x.ndim:
        raise ShapeError(f"pad: pad: got {widths} for {x.shape}; need two numbers for each "
                         "of the last axes")
    need_word("pad", "mode", mode, _PADDED)
    if mode != "constant" and value:
        raise ValueError(f"pad: value: got {value} for mode {mode!r}; need None")
    for k in range(len(widths) // 2):
        d, before, after = x.ndim - 1 - k, widths[2 * k], widths[2 * k + 1]
        n = x.shape[d]
        if n + before + after < 0 or n < -min(before, after):
            raise ShapeError(f"pad: pad: got {before} and {after} for size {n}; need to leave no "
                             "negative size")
        x = narrow(x, d, max(0, -before), n - max(0, -before) - max(0, -after))
        if before > 0 or after > 0:
            x = _PADDED[mode](x, d, max(0, before), max(0, after), value)
    return x


def _constant(x: Tensor, d: int, before: int, after: int, value: float | None) -> Tensor:
    """Blocks of one value on both sides."""
    sides = [full((*x.shape[:d], n, *x.shape[d + 1 :]), 0 if value is None else value, x.dtype)
             for n in (before, after)]
    return cat([s for s in (sides[0], x, sides[1]) if s.shape[d]], d)


def _mirrored(x: Tensor, d: int, before: int, after: int, value: Any) -> Tensor:
    n = x.shape[d]
    if max(before, after) >= n:
        raise ShapeError(f"pad: pad: got {before} and {after} for size {n}; need less than the "
                         "size to reflect")
    at = np.abs(np.arange(-before, n + after))
    return index_select(x, d, np.where(at < n, at, 2 * (n - 1) - at))


def _repeated(x: Tensor, d: int, before: int, after: int, value: Any) -> Tensor:
    n = x.shape[d]
    if n == 0:
        raise ShapeError(f"pad: input: got shape {x.shape}; need elements along axis {d} to repeat")
    first, last = (expand(narrow(x, d, at, 1), (*x.shape[:d], m, *x.shape[d + 1 :]))
                   for at, m in ((0, before), (n - 1, after)))
    return cat([s for s in (first, x, last) if s.shape[d]], d)


def _wrapped(x: Tensor, d: int, before: int, after: int, value: Any) -> Tensor:
    n = x.shape[d]
    if max(before, after) > n:
        raise ShapeError(f"pad: pad: got {before} and {after} for size {n}; need at most the size "
                         "to wrap")
    return index_select(x, d, np.arange(-before, n + after) % n)


_PADDED = {"constant": _constant, "reflect": _mirrored, "replicate": _repeated,
           "circular": _wrapped}

for _name in ("addmm", "diag", "median", "unique"):
    add_method(_name, globals()[_name])
