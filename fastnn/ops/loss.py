"""Losses: value and reduction in one pass. Class scores are logits: never softmax them before.

Every loss takes ``reduction="mean" | "sum" | "none"``; "sum" of mse_loss is the sum of squared
errors. The mean of nothing is a ShapeError; the mean over targets that are all ignored is 0, with
zero gradients.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .. import _core
from .._core import DTYPES, OPS, Tensor, as_tensor, call, view
from ..errors import DTypeError, ShapeError
from .cast import cast
from .checks import need_float32, need_index, need_int
from .compare import eq, ne
from .movement import expand, movedim, reshape
from .pointwise import clamp
from .reduce import mean, norm, sum

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss",
    "cosine_similarity", "cross_entropy", "hinge_embedding_loss", "hinge_loss", "huber_loss",
    "kl_div", "l1_loss", "mse_loss", "nll_loss", "smooth_l1_loss",
]

F32, I64 = DTYPES["float32"], DTYPES["int64"]
NONE, MEAN, SUM = range(3)
_MODES = {"none": NONE, "mean": MEAN, "sum": SUM}
_ABSENT = _core.empty((0,))
_NO_SLOPE = (0,)


def _mode(op: str, reduction: Any) -> int:
    try:
        return _MODES[reduction]
    except (KeyError, TypeError):
        raise ValueError(
            f"{op}: reduction: got {reduction!r}; need 'none', 'mean' or 'sum'"
        ) from None


# ---------------------------------------------------------------- elementwise losses


def _operands(op: str, input: Any, target: Any) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Both as float32 tensors of one shape: nothing is broadcast, as that hides mistakes."""
    x, t = as_tensor(input), as_tensor(target)
    if x.dtype is not F32 or t.dtype is not F32:
        need_float32(op, input=x, target=t)
    shape = x.shape
    if t.shape != shape:
        raise ShapeError(f"{op}: shapes: got input {shape} and target {t.shape}; need equal ones: "
                         "use .reshape(), or .expand() where broadcasting is meant")
    return x, t, shape


def _elementwise(
    op: str, inputs: tuple[Tensor, ...], shape: tuple[int, ...], reduction: Any,
    f: tuple[float, ...] = (), flags: tuple[bool, ...] = (),
) -> Tensor:
    """Launch a loss of checked operands."""
    mode, n = _mode(op, reduction), inputs[0].numel()
    if mode == NONE:
        return call(OPS[op], inputs, (shape,), (n, NONE, 1, *flags), f)
    if mode == MEAN and n == 0:
        raise ShapeError(f"{op}: input: got shape {shape}; need an element: the mean of nothing")
    return call(OPS[op], inputs, ((),), (n, mode, n if mode == MEAN else 1, *flags), f)


def mse_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """Squared error (x - t)²; with reduction="sum" the sum of squared errors.

    Shapes: two equal ones. Errors: ShapeError naming both where they differ.

    Example:
        >>> import fastnn.nn.functional as F
        >>> F.mse_loss([1.0, 2.0], [0.0, 4.0]).item()
        2.5
    """
    x, t, shape = _operands("mse_loss", input, target)
    return _elementwise("mse_loss", (x, t), shape, reduction)


def l1_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """Absolute error |x - t|.

    Shapes: two equal ones. Errors: ShapeError naming both where they differ.

    Example:
        >>> import fastnn.nn.functional as F
        >>> F.l1_loss([1.0, 2.0], [0.0, 4.0]).item()
        1.5
    """
    x, t, shape = _operands("l1_loss", input, target)
    return _elementwise("l1_loss", (x, t), shape, reduction)


def smooth_l1_loss(
    input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """(x - t)² / (2 beta) where |x - t| < beta, |x - t| - beta / 2 beyond; l1_loss for beta = 0.

    Shapes: two equal ones. Errors: ShapeError naming both where they differ; ValueError for
    beta < 0. Source: Girshick, "Fast R-CNN", ICCV 2015.

    Example:
        >>> import fastnn.nn.functional as F
        >>> F.smooth_l1_loss([1.0, 2.0], [0.0, 4.0]).item()
        1.0
    """
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta: got {beta}; need a number >= 0")
    if beta < 1e-30:                            # 1 / beta must stay finite in float32
        return l1_loss(input, target, reduction=reduction)
    x, t, shape = _operands("smooth_l1_loss", input, target)
    return _elementwise("smooth_l1_loss", (x, t), shape, reduction, (beta, 1 / beta))


def huber_loss(input: Any, target: Any, *, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """(x - t)² / 2 where |x - t| <= delta, delta (|x - t| - delta / 2) beyond.

    Shapes: two equal ones. Errors: ShapeError naming both where they differ; ValueError unless
    delta > 0. Source: Huber, "Robust estimation of a location parameter", 1964.

    Example:
        >>> import fastnn.nn.functional as F
        >>> F.huber_loss([1.0, 2.0], [0.0, 4.0]).item()
        1.0
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta: got {delta}; need a number > 0")
    x, t, shape = _operands("huber_loss", input, target)
    return _elementwise("huber_loss", (x, t), shape, reduction, (delta,))


def hinge_loss(input: Any, target: Any, *, reduction: str = "mean", margin: float = 1.0) -> Tensor:
    """max(margin - t x, 0) for targets -1 and 1; margin = 0 is the perceptron's criterion.

    Shapes: two equal ones. Errors: ShapeError naming both where they differ.
    Source: Rosenblatt, "The perceptron", 1958; Cortes and Vapnik, "Support-vector networks", 1995.

    Example:
        >>> import fastnn.nn.functional as F
        >>> F.hinge_loss([0.5, -2.0], [1.0, 1.0], reduction="none").tolist()
        [0.5, 3.0]
    """
    x, t, shape = _operands("hinge_loss", input, target)
    return _elementwise("hinge_loss", (x, t), shape, reduction, (margin,))


def _spread(op: str, name: str, value: Any, shape: tuple[int, ...]) -> Tensor:
    """A weight broadcast to the shape of the input, or nothing."""
    if value is None:
        return _ABSENT
    w = as_tensor(value)
    need_float32(op, **{name: w})
    try:
        fits = np.broadcast_shapes(w.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{op}: {name}: got shape {w.shape}; need one that broadcasts to {shape}")
    return w if w.shape == shape else expand(w, shape)


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, *, reduction: str = "mean"
) -> Tensor:
    """-w (t log x + (1 - t) log(1 - x)) for probabilities x; logarithms stop at -100.

    Shapes: input and target equal, weight broadcastable to them. From logits,
    binary_cross_entropy_with_logits is faster and exact where this one saturates.

    Errors: ShapeError naming both shapes; ValueError for an input outside [0, 1].

    Example:
        >>> import fastnn.nn.functional as F
        >>> round(F.binary_cross_entropy([0.5, 1.0], [0.0, 1.0], reduction="sum").item(), 4)
        0.6931
    """
    x, t, shape = _operands("binary_cross_entropy", input, target)
    at = _core.first_unlikely(x, True)
    if at >= 0:
        raise ValueError(f"binary_cross_entropy: input: got {_core.element(x, at):g}; need "
                         "probabilities from 0 to 1: binary_cross_entropy_with_logits takes any x")
    w = _spread("binary_cross_entropy", "weight", weight, shape)
    return _elementwise("binary_cross_entropy", (x, t, w), shape, reduction,
                        flags=(weight is not None,))


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """Cross entropy of sigmoid(x) with targets in [0, 1], as max(x, 0) - x t + log1p(exp(-|x|)).

    Shapes: input and target equal; weight and pos_weight (which scales the loss of positives)
    broadcastable to them. Finite for every finite x.

    Errors: ShapeError naming both shapes.

    Example:
        >>> import fastnn.nn.functional as F
        >>> round(F.binary_cross_entropy_with_logits([0.0, 100.0], [1.0, 1.0]).item(), 4)
        0.3466
    """
    op = "binary_cross_entropy_with_logits"
    x, t, shape = _operands(op, input, target)
    inputs = (x, t, _spread(op, "weight", weight, shape),
              _spread(op, "pos_weight", pos_weight, shape))
    return _elementwise(op, inputs, shape, reduction,
                        flags=(weight is not None, pos_weight is not None))


def kl_div(
    input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """t (log t - x) for log-probabilities x and probabilities t (or their logarithms).

    reduction="batchmean" divides the sum by the first size, which is the divergence of Kullback
    and Leibler (1951); "mean" divides by the number of elements.

    Shapes: two equal ones. Errors: ShapeError naming both where they differ.

    Example:
        >>> import fastnn.nn.functional as F
        >>> round(F.kl_div([-1.0, -1.0], [0.5, 0.5], reduction="sum").item(), 4)
        0.3069
    """
    x, t, shape = _operands("kl_div", input, target)
    op = "kl_div_log" if log_target else "kl_div"
    if reduction != "batchmean":
        return _elementwise(op, (x, t), shape, reduction)
    if not shape or shape[0] == 0:
        raise ShapeError(f"kl_div: input: got shape {shape}; need a batch: the mean of nothing")
    return call(OPS[op], (x, t), ((),), (x.numel(), MEAN, shape[0]))


# ---------------------------------------------------------------- angles, of other ops


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along dim, whose lengths count as eps at least.

    Shapes: two that broadcast -> theirs without dim. Errors: ShapeError; IndexRangeError for dim.

    Example:
        >>> import fastnn.nn.functional as F
        >>> round(F.cosine_similarity([[3.0, 4.0]], [[4.0, 3.0]]).item(), 4)
        0.96
    """
    a, b = as_tensor(x1), as_tensor(x2)
    need_float32("cosine_similarity", x1=a, x2=b)
    lengths = (clamp(norm(v, dim=dim, keepdim=True), min=eps) for v in (a, b))
    unit_a, unit_b = (v / n for v, n in zip((a, b), lengths, strict=True))
    return sum(unit_a * unit_b, dim=dim)


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """1 - cos for pairs of target 1, max(cos - margin, 0) for pairs of target -1.

    Shapes: inputs (n, k) or (k), target (n) or (). Errors: ShapeError naming both shapes.

    Example:
        >>> import fastnn.nn.functional as F
        >>> F.cosine_embedding_loss([[1.0, 0.0]], [[0.0, 2.0]], [1]).item()
        1.0
    """
    op = "cosine_embedding_loss"
    mode = _mode(op, reduction)
    a, b, t = as_tensor(input1), as_tensor(input2), as_tensor(target)
    if a.ndim not in (1, 2) or b.shape != a.shape or t.shape != a.shape[:-1]:
        raise ShapeError(f"{op}: shapes: got {a.shape}, {b.shape} and target {t.shape}; "
                         "need (n, k) twice and (n), or (k) twice and ()")
    if mode == MEAN and t.numel() == 0:
        raise ShapeError(f"{op}: input1: got shape {a.shape}; need a pair: the mean of nothing")
    cosine = cosine_similarity(a, b, -1)
    loss = eq(t, 1) * (1.0 - cosine) + eq(t, -1) * clamp(cosine - margin, min=0.0)
    return loss if mode == NONE else mean(loss) if mode == MEAN else sum(loss)


def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, *, reduction: str = "mean"
) -> Tensor:
    """The distance x for pairs of target 1, max(margin - x, 0) for pairs of target -1.

    Shapes: two equal ones. Errors: ShapeError naming both where they differ.

    Example:
        >>> import fastnn.nn.functional as F
        >>> F.hinge_embedding_loss([0.25, 0.25], [1, -1], reduction="none").tolist()
        [0.25, 0.75]
    """
    op = "hinge_embedding_loss"
    mode = _mode(op, reduction)
    x, t = as_tensor(input), as_tensor(target)
    need_float32(op, input=x)
    if t.shape != x.shape:
        raise ShapeError(f"{op}: shapes: got input {x.shape} and target {t.shape}; need equal ones")
    if mode == MEAN and x.numel() == 0:
        raise ShapeError(f"{op}: input: got shape {x.shape}; need an element: the mean of nothing")
    loss = ne(t, -1) * x + ne(t, 1) * clamp(margin - x, min=0.0)
    return loss if mode == NONE else mean(loss) if mode == MEAN else sum(loss)


# ---------------------------------------------------------------- losses of class scores

CROSS_ENTROPY, SOFT_CROSS_ENTROPY = OPS["cross_entropy"], OPS["soft_cross_entropy"]
NLL_LOSS = OPS["nll_loss"]


def _classes(
    op: str, target: Tensor, scores: tuple[int, ...], need: tuple[int, ...], n: int, ignored: int
) -> Tensor:
    """Class indices as int64, of the shape of the scores without its class axis, in range."""
    if target.dtype is not I64:
        if target.dtype.is_floating_point or target.dtype.name == "bool":
            soft = f", or float32 probabilities of shape {scores}" if op == "cross_entropy" else ""
            raise DTypeError(f"{op}: target: got {target.dtype.name} of shape {target.shape}; "
                             f"need int64 classes of shape {need}{soft}")
        target = cast(target, I64)
    if target.shape != need:
        raise ShapeError(f"{op}: target: got shape {target.shape}; need {need} for input {scores}")
    need_index(op, "target", target, n, ignored)
    return target


def _ignored(op: str, ignore_index: Any) -> int:
    ignored = need_int(op, "ignore_index", ignore_index)
    if not -(2**63) <= ignored < 2**63:
        raise ValueError(f"{op}: ignore_index: got {ignored}; need an int64")
    return ignored


def _class_loss(
    op: str, kernel: int, x: Tensor, target: Tensor, weight: Any, ignore_index: Any,
    reduction: Any, f: tuple[float, ...],
) -> Tensor:
    """Launch a loss of scores (n, c, ...) and class indices."""
    if x.dtype is not F32:
        need_float32(op, input=x)
    shape = x.shape
    need: tuple[int, ...]
    if len(shape) == 2:
        (n, classes), d, need = shape, 1, shape[:1]
    elif len(shape) > 2:
        n, classes, d, need = shape[0], shape[1], prod(shape[2:]), (shape[0], *shape[2:])
    elif shape:
        n, classes, d, need = 1, shape[0], 1, ()
    else:
        raise ShapeError(f"{op}: input: got shape (); need (c) or (n, c, ...)")
    mode, ignored = _mode(op, reduction), _ignored(op, ignore_index)
    if mode == MEAN and n * d == 0:
        raise ShapeError(f"{op}: input: got shape {shape}; need a row: the mean of nothing")
    w = _ABSENT if weight is None else _class_weight(op, weight, classes)
    t = _classes(op, target, shape, need, classes, ignored)
    dim: tuple[int, ...] = (n, classes, d, mode, ignored, weight is not None)
    y = need if mode == NONE else ()
    if kernel == NLL_LOSS:
        return call(kernel, (x, t, w), (y, (1,)), dim, f, 1)
    recorded = x.requires_grad and _core.grad_enabled()
    return call(kernel, (x, t, w), (y, shape if recorded else _NO_SLOPE), (*dim, recorded), f, 1)


def _class_weight(op: str, weight: Any, classes: int) -> Tensor:
    """One weight per class."""
    w = as_tensor(weight)
    need_float32(op, weight=w)
    if w.shape != (classes,):
        raise ShapeError(f"{op}: weight: got shape {w.shape}; need ({classes},): one per class")
    return w


def nll_loss(
    input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-w[t] x[t] for log-probabilities x; "mean" divides by the weights of the targets that count.

    Shapes: input (n, c) or (n, c, d1, ...), target (n) or (n, d1, ...) of classes; weight (c).

    Errors: IndexRangeError naming place and value of a target outside 0 to c - 1 that is not
    ignore_index; DTypeError for targets that are no integers; ShapeError.

    Example:
        >>> import fastnn.nn.functional as F
        >>> F.nll_loss([[-1.0, -2.0], [-3.0, -4.0]], [0, 1]).item()
        2.5
    """
    return _class_loss("nll_loss", NLL_LOSS, as_tensor(input), as_tensor(target), weight,
                       ignore_index, reduction, ())


def cross_entropy(
    input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100,
    reduction: str = "mean", label_smoothing: float = 0.0,
) -> Tensor:
    """Negative log-probability of the target under softmax(x): log sum exp(x) - x[t].

    Shapes: logits (c), (n, c) or (n, c, d1, ...); target either int64 classes of that shape without
    its class axis, or float32 probabilities of just that shape; weight (c). label_smoothing e
    mixes the target with the uniform distribution: (1 - e) and e / c. "mean" divides by the
    weights of the targets that count (by the number of rows for probabilities).

    Errors: IndexRangeError naming place and value of a target outside 0 to c - 1 that is not
    ignore_index; DTypeError for float targets that are no probabilities; ShapeError.

    Source: label smoothing, Szegedy et al., "Rethinking the Inception architecture", CVPR 2016.

    Example:
        >>> import fastnn.nn.functional as F
        >>> round(F.cross_entropy([[0.0, 0.0], [9.0, 0.0]], [1, 0]).item(), 4)
        0.3466
    """
    x, t = as_tensor(input), as_tensor(target)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(
            f"cross_entropy: label_smoothing: got {label_smoothing}; need 0 to 1"
        )
    if t.dtype is F32 and t.shape == x.shape:
        return _soft_cross_entropy(x, t, weight, reduction, label_smoothing)
    return _class_loss("cross_entropy", CROSS_ENTROPY, x, t, weight, ignore_index, reduction,
                       (label_smoothing,))


def _soft_cross_entropy(
    x: Tensor, t: Tensor, weight: Any, reduction: Any, smoothing: float
) -> Tensor:
    """Cross entropy with a distribution over the classes for every row."""
    op, shape = "cross_entropy", x.shape
    need_float32(op, input=x)
    if not shape:
        raise ShapeError(f"{op}: input: got shape (); need (c) or (n, c, ...)")
    mode = _mode(op, reduction)
    if len(shape) > 2:                          # the classes last
        x, t = movedim(x, 1, -1), movedim(t, 1, -1)
    classes = x.shape[-1]
    rows = prod(x.shape[:-1])
    if mode == MEAN and rows == 0:
        raise ShapeError(f"{op}: input: got shape {shape}; need a row: the mean of nothing")
    w = _ABSENT if weight is None else _class_weight(op, weight, classes)
    inputs = (reshape(x, (rows, classes)), reshape(t, (rows, classes)), w)
    outputs = ((rows,) if mode == NONE else (), (3, rows))
    y = call(SOFT_CROSS_ENTROPY, inputs, outputs, (rows, classes, mode, weight is not None),
             (smoothing,), 1)
    return y if mode != NONE else view(y, x.shape[:-1])
