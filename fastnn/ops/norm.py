"""Normalisation: by rows (layer, RMS, group, instance) and by channels (batch)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from .. import _core
from .._core import (
    DTYPES,
    OPS,
    Tensor,
    all_float32,
    as_tensor,
    call,
    channels_last,
    from_channels_last,
    is_channels_last,
)
from ..errors import DTypeError, ShapeError
from .checks import need_float32, need_int, need_number, need_sizes

__all__ = [
    "add_layer_norm", "add_rms_norm", "batch_norm", "group_norm", "instance_norm", "layer_norm",
    "rms_norm",
]

LAYER_NORM, ADD_LAYER_NORM = OPS["layer_norm"], OPS["add_layer_norm"]
RMS_NORM, ADD_RMS_NORM = OPS["rms_norm"], OPS["add_rms_norm"]
GROUP_NORM = OPS["group_norm"]
BATCH_NORM, BATCH_NORM_EVAL = OPS["batch_norm"], OPS["batch_norm_eval"]
_ABSENT = _core.empty((0,))
_UNTRACKED = _core.empty((0,))      # stands for running statistics, which the kernel writes
_EPS32 = 2.0**-23
_INT64 = DTYPES["int64"]


def _floats(op: str, **tensors: Any) -> list[Tensor]:
    """The arguments as float32 tensors, None as an empty one."""
    ts = {k: _ABSENT if t is None else as_tensor(t) for k, t in tensors.items()}
    need_float32(op, **ts)
    return list(ts.values())


# ---------------------------------------------------------------- by rows

def layer_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None,
    eps: float = 1e-05,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) · weight + bias over the last axes.

    Shapes: input (..., *normalized_shape), weight and bias normalized_shape. The variance is summed
    around the mean; a row has the same bits alone and in a batch.

    Errors: ShapeError where the last axes, weight or bias are not normalized_shape.

    Source: Ba, Kiros and Hinton, "Layer normalization", 2016.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([[1.0, 3.0], [-4.0, 4.0]])
        >>> fastnn.nn.functional.layer_norm(x, (2,), eps=0.0).tolist()
        [[-1.0, 1.0], [-1.0, 1.0]]
    """
    x, w, b, rows, n = _rows("layer_norm", input, normalized_shape, weight, bias)
    dim = (rows, 1, n, 1, weight is not None, bias is not None)
    f = (need_number("layer_norm", "eps", eps),)
    return call(LAYER_NORM, (x, w, b), (x.shape, (rows,), (rows,)), dim, f, 2)


def add_layer_norm(
    input: Any, residual: Any, normalized_shape: int | Sequence[int], weight: Any = None,
    bias: Any = None, eps: float = 1e-05,
) -> tuple[Tensor, Tensor]:
    """(layer_norm(s), s) for s = input + residual, in one pass and with the bits of two.

    Shapes: input and residual (..., *normalized_shape), as both results.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([[1.0, 3.0]])
        >>> y, s = fastnn.nn.functional.add_layer_norm(x, x, (2,), eps=0.0)
        >>> y.tolist(), s.tolist()
        ([[-1.0, 1.0]], [[2.0, 6.0]])
    """
    x, w, b, rows, n = _rows("add_layer_norm", input, normalized_shape, weight, bias)
    r = _residual("add_layer_norm", residual, x)
    dim = (rows, 1, n, 1, weight is not None, bias is not None)
    shapes = (x.shape, x.shape, (rows,), (rows,))
    f = (need_number("add_layer_norm", "eps", eps),)
    return call(ADD_LAYER_NORM, (x, r, w, b), shapes, dim, f, 2)


def rms_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Any = None,
    eps: float | None = None,
) -> Tensor:
    """x / sqrt(mean of x² + eps) · weight over the last axes; eps None = 2⁻²³.

    Shapes: input (..., *normalized_shape), weight normalized_shape.

    Errors: ShapeError where the last axes or weight are not normalized_shape.

    Source: Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019.

    Example:
        >>> import fastnn
        >>> fastnn.nn.functional.rms_norm(fastnn.tensor([2.0, -2.0]), (2,), eps=0.0).tolist()
        [1.0, -1.0]
    """
    x, w, _, rows, n = _rows("rms_norm", input, normalized_shape, weight, None)
    dim = (rows, 1, n, 1, weight is not None)
    f = (_EPS32 if eps is None else need_number("rms_norm", "eps", eps),)
    return call(RMS_NORM, (x, w), (x.shape, (rows,)), dim, f, 1)


def add_rms_norm(
    input: Any, residual: Any, normalized_shape: int | Sequence[int], weight: Any = None,
    eps: float | None = None,
) -> tuple[Tensor, Tensor]:
    """(rms_norm(s), s) for s = input + residual, in one pass and with the bits of two.

    Shapes: input and residual (..., *normalized_shape), as both results.
    """
    x, w, _, rows, n = _rows("add_rms_norm", input, normalized_shape, weight, None)
    r = _residual("add_rms_norm", residual, x)
    dim = (rows, 1, n, 1, weight is not None)
    f = (_EPS32 if eps is None else need_number("add_rms_norm", "eps", eps),)
    return call(ADD_RMS_NORM, (x, r, w), (x.shape, x.shape, (rows,)), dim, f, 1)


def _rows(
    op: str, input: Any, normalized_shape: int | Sequence[int], weight: Any, bias: Any
) -> tuple[Tensor, Tensor, Tensor, int, int]:
    """input, weight, bias, and the rows and columns of input; all checked."""
    x = input
    w = _ABSENT if weight is None else weight
    b = _ABSENT if bias is None else bias
    if not all_float32(x, w, b):
        x, w, b = _floats(op, input=x, weight=weight, bias=bias)
    shape = x.shape
    if type(normalized_shape) is tuple:
        last = normalized_shape
    else:
        last = need_sizes(op, "normalized_shape", normalized_shape)
    rank = len(shape) - len(last)
    if not last or rank < 0 or shape[rank:] != last:
        need = "".join(f", {s}" for s in last)
        raise ShapeError(f"{op}: input: got shape {shape}; need (...{need}) for normalized_shape "
                         f"{last}" if last else
                         f"{op}: normalized_shape: got {last}; need at least one axis")
    for name, given, t in (("weight", weight, w), ("bias", bias, b)):
        if given is not None and t.shape != last:
            raise ShapeError(f"{op}: {name}: got shape {t.shape}; need {last}, normalized_shape")
    n = last[0] if len(last) == 1 else prod(last)
    return x, w, b, shape[0] if rank == 1 else prod(shape[:rank]), n


def _residual(op: str, residual: Any, x: Tensor) -> Tensor:
    (r,) = _floats(op, residual=residual)
    if r.shape != x.shape:
        raise ShapeError(f"{op}: residual: got shape {r.shape}; need {x.shape}, that of input")
    return r


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-05
) -> Tensor:
    """Normalises each group of neighbouring channels of each item; weight and bias by channel.

    Shapes: input (n, c, ...), weight and bias (c); c is a multiple of num_groups.

    Errors: ShapeError where it is not, or where one item has one value per group.

    Source: Wu and He, "Group normalization", ECCV 2018.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([[[1.0], [3.0], [5.0], [9.0]]])
        >>> fastnn.nn.functional.group_norm(x, 2, eps=0.0).flatten().tolist()
        [-1.0, 1.0, -1.0, 1.0]
    """
    x, w, b = _by_channel("group_norm", input, weight, bias)
    groups = need_int("group_norm", "num_groups", num_groups)
    n, c, *rest = x.shape
    if groups < 1 or c % groups:
        raise ShapeError(f"group_norm: num_groups: got {groups} for {c} channels, input {x.shape}; "
                         "need a divisor of the channels")
    if n * c // groups * prod(rest) == 1:
        raise ShapeError(f"group_norm: input: got one value per group, input {x.shape} in {groups} "
                         "groups; need more")
    return _group_norm(x, groups, w, b, weight is not None, bias is not None,
                       need_number("group_norm", "eps", eps))


def _group_norm(
    x: Tensor, groups: int, w: Tensor, b: Tensor, has_w: bool, has_b: bool, eps: float
) -> Tensor:
    n, c, *rest = x.shape
    dim = (n, groups, c, prod(rest), has_w, has_b)
    return call(GROUP_NORM, (x, w, b), (x.shape, (n, groups), (n, groups)), dim, (eps,), 2)


def instance_norm(
    input: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None,
    bias: Any = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-05,
) -> Tensor:
    """Normalises each channel of each item by its own mean and variance.

    Shapes: input (n, c, ...), the others (c). Running statistics, if given, move by momentum
    towards the mean over the items; use_input_stats=False normalises with them instead.

    Errors: ShapeError where a channel of an item has one value.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance normalization", 2016.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([[[1.0, 3.0]], [[5.0, 9.0]]])
        >>> fastnn.nn.functional.instance_norm(x, eps=0.0).flatten().tolist()
        [-1.0, 1.0, -1.0, 1.0]
    """
    op = "instance_norm"
    x, w, b = _by_channel(op, input, weight, bias)
    n, c, *rest = x.shape
    mean, var, _ = _running(op, running_mean, running_var, None, c)
    momentum, eps = need_number(op, "momentum", momentum), need_number(op, "eps", eps)
    if not use_input_stats:
        if running_mean is None:
            raise ValueError(f"{op}: running_mean: got None; need running statistics where "
                             "use_input_stats=False")
        return _batch_norm_rows(
            x, (n, c, prod(rest)), running_mean, running_var, None,
            w if weight is not None else None, b if bias is not None else None, False, momentum,
            eps, False, None)
    if prod(rest) == 1:
        raise ShapeError(f"{op}: input: got one value per channel, input {x.shape}; need more")
    if running_mean is not None and x.numel():
        _move_running(x, mean, var, momentum)
    return _group_norm(x, c, w, b, weight is not None, bias is not None, eps)


def _move_running(x: Tensor, mean: Tensor, var: Tensor, momentum: float) -> None:
    """Running statistics of instances: those of the items, averaged."""
    mode = _core.set_grad_enabled(False)
    try:
        items = _core.view(x.detach(), (*x.shape[:2], prod(x.shape[2:])))
        for running, now in ((mean, items.mean(2)), (var, items.var(2))):
            running.mul_(1 - momentum).add_(now.mean(0), alpha=momentum)
    finally:
        _core.set_grad_enabled(mode)


# ---------------------------------------------------------------- by channels

def batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-05, *,
    activation: str | None = None, residual: Any = None,
) -> Tensor:
    """Normalises each channel by its mean and variance over all items, or by running ones.

    Shapes: input (n, c, ...), the others (c). In training, statistics are those of the batch, and
    the running ones, if given, move towards them by momentum (in place), the variance as that of
    n - 1. activation="relu" and residual (of input's shape) give relu(batch_norm(x) + residual) in
    the same pass.

    Errors: ShapeError for one value per channel in training.

    Source: Ioffe and Szegedy, "Batch normalization", ICML 2015.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor([[1.0, 5.0], [3.0, 9.0]])
        >>> fastnn.nn.functional.batch_norm(x, None, None, training=True, eps=0.0).tolist()
        [[-1.0, -1.0], [1.0, 1.0]]
    """
    return _batch_norm(input, running_mean, running_var, None, weight, bias, training, momentum,
                       eps, activation, residual)


def _batch_norm(
    input: Any, running_mean: Any, running_var: Any, count: Tensor | None, weight: Any, bias: Any,
    training: bool, momentum: float | None, eps: float, activation: str | None = None,
    residual: Any = None,
) -> Tensor:
    """batch_norm; count, if given, goes up by one in training; momentum None means 1 / count."""
    x, w, b = _by_channel("batch_norm", input, weight, bias)
    relu = _relu("batch_norm", activation)
    eps = need_number("batch_norm", "eps", eps)
    if momentum is not None:
        momentum = need_number("batch_norm", "momentum", momentum)
    r = None if residual is None else _residual("batch_norm", residual, x)
    n, c, *rest = x.shape
    length = prod(rest)
    if training and n * length == 1:
        raise ShapeError(f"batch_norm: input: got one value per channel in training, input "
                         f"{x.shape}; need more: a larger batch, or .eval()")
    more = (running_mean, running_var, count, None if weight is None else w,
            None if bias is None else b, training, momentum, eps, relu)
    if not is_channels_last(x):
        return _batch_norm_rows(x, (n, c, length), *more, r)
    y = _batch_norm_rows(channels_last(x), (n * length, c, 1), *more,
                         None if r is None else channels_last(r))
    return from_channels_last(y)


def _batch_norm_rows(
    x: Tensor, sizes: tuple[int, int, int], running_mean: Tensor | None,
    running_var: Tensor | None, count: Tensor | None, weight: Tensor | None, bias: Tensor | None,
    training: bool, momentum: float | None, eps: float, relu: bool, residual: Tensor | None,
) -> Tensor:
    """_batch_norm of memory that is (batch, channels, length), whatever shape x has.

    Images whose channels lie side by side are (n·h·w, c, 1). In training, batch · length is not 1.
    """
    batch, channels, length = sizes
    mean, var, n = _running("batch_norm", running_mean, running_var, count, channels)
    w, b, r = (_ABSENT if t is None else t for t in (weight, bias, residual))
    dim: tuple[int, ...] = (batch, channels, length, weight is not None, bias is not None,
                            residual is not None, relu)
    if not training:
        if running_mean is None:
            raise ValueError("batch_norm: running_mean: got None; need running statistics where "
                             "training=False")
        shapes = (x.shape, (channels,))
        return call(BATCH_NORM_EVAL, (x, w, b, r, mean, var), shapes, dim, (eps,), 1)
    if momentum is None and count is None:
        raise ValueError("batch_norm: momentum: got None; need a number, or nn.BatchNorm, which "
                         "counts the batches of an average")
    dim += (running_mean is not None, count is not None, momentum is None)
    return call(BATCH_NORM, (x, w, b, r, mean, var, n), (x.shape, (channels,), (channels,)), dim,
                (eps, 0.0 if momentum is None else momentum), 2)


def _by_channel(op: str, input: Any, weight: Any, bias: Any) -> tuple[Tensor, Tensor, Tensor]:
    """input (n, c, ...), weight and bias (c), checked."""
    x = input
    w = _ABSENT if weight is None else weight
    b = _ABSENT if bias is None else bias
    if not all_float32(x, w, b):
        x, w, b = _floats(op, input=x, weight=weight, bias=bias)
    if x.ndim < 2:
        raise ShapeError(f"{op}: input: got shape {x.shape}; need (n, c, ...)")
    c = x.shape[1]
    for name, given, t in (("weight", weight, w), ("bias", bias, b)):
        if given is not None and t.shape != (c,):
            raise ShapeError(f"{op}: {name}: got shape {t.shape}; need ({c},) for input {x.shape}")
    return x, w, b


def _running(
    op: str, mean: Any, var: Any, count: Any, channels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The running statistics, checked: they are changed in place, so they must be tensors."""
    if (mean is None) != (var is None):
        raise ValueError(f"{op}: running_mean, running_var: got one of them; need both or none")
    for name, t in (("running_mean", mean), ("running_var", var)):
        if t is None:
            continue
        if not isinstance(t, Tensor) or t.dtype.name != "float32":
            kind = t.dtype.name if isinstance(t, Tensor) else type(t).__name__
            raise DTypeError(f"{op}: {name}: got {kind}; need a float32 Tensor")
        if t.shape != (channels,):
            raise ShapeError(f"{op}: {name}: got shape {t.shape}; need ({channels},), the channels "
                             "of input")
    if count is not None and (count.dtype is not _INT64 or count.numel() != 1):
        raise DTypeError(f"{op}: num_batches_tracked: got {count.dtype.name} {count.shape}; need "
                         "one int64")
    return tuple(_UNTRACKED if t is None else t for t in (mean, var, count))   # type: ignore


def _relu(op: str, activation: str | None) -> bool:
    if activation is not None and (not isinstance(activation, str) or activation != "relu"):
        raise ValueError(f"{op}: activation: got {activation!r}; need None or 'relu'")
    return activation is not None
