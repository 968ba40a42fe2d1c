"""Convolutions of images (N, C, H, W) and sequences (N, C, L), computed channels last."""

from __future__ import annotations

from typing import Any

from .. import _core
from .._core import (
    OPS,
    Tensor,
    all_float32,
    as_tensor,
    call,
    channels_last,
    from_channels_last,
    grad_enabled,
    is_channels_last,
    packed,
    view,
)
from ..errors import LimitError, ShapeError
from .checks import need_float32, need_int

__all__ = ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "exact_conv"]

CONV2D, PACK_CONV = OPS["conv2d"], OPS["pack_conv"]
CONV_TRANSPOSE2D = OPS["conv_transpose2d"]
_ABSENT = _core.empty((0,))
_CACHED = 1 << 17               # weights whose 36 transformed ones stay in a cache of 32 MB
_TURNED, _WINOGRAD, _WINOGRAD_ONCE = 4, 8, 64
_PLANES, _PLANES_OUT = 16, 32
_MOST = 1 << 31                 # no stride, padding or dilation goes beyond
_MOST_TAPS, _MOST_CHANNELS = 1 << 17, 1 << 17
_DEPTHWISE_TAPS = 64            # of kernels that csrc/conv_depthwise.h takes
_PLANES_KERNELS = ([3, 3], [5, 5], [7, 7])      # ... and conv_depthwise_planes.h
_PLANES_WIDTH = 12              # of rows that fill its registers well enough
_FEW, _BAND, _FEW_MOST = 8, 1 << 16, 1 << 17    # FEW_CHANNELS, CONV_BAND, FEW_MOST in csrc


def sizes(op: str, name: str, value: Any, rank: int, least: int) -> tuple[int, ...]:
    """One integer for every axis, or one for each.

    Errors: ShapeError for a number below `least`, or one that no image can have.
    """
    if type(value) is int and least <= value < _MOST:
        return (value,) * rank
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(given) != rank:
        raise ShapeError(f"{op}: {name}: got {value}; need one integer or {rank}")
    found = tuple(need_int(op, name, v) for v in given)
    for v in found:
        if not least <= v < _MOST:
            raise ShapeError(f"{op}: {name}: got {value}; need {least} to {_MOST - 1}")
    return found


def _padding(
    op: str, padding: Any, kernel: tuple[int, ...], stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Zeros in front of and behind each axis."""
    rank = len(kernel)
    if padding == "valid":
        return (0,) * rank, (0,) * rank
    if padding == "same":
        if stride != (1,) * rank:
            raise ShapeError(f"{op}: padding: got 'same' with stride {stride}; need stride 1")
        total = tuple(d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        front = tuple(t // 2 for t in total)
        return front, tuple(t - f for t, f in zip(total, front, strict=True))
    if isinstance(padding, str):
        raise ValueError(f"{op}: padding: got {padding!r}; need 'same', 'valid' or integers")
    both = sizes(op, "padding", padding, rank, 0)
    return both, both


def _operands(
    op: str, input: Any, weight: Any, bias: Any, rank: int, groups: Any, transposed: bool = False
) -> tuple[Tensor, Tensor, Tensor, int]:
    """float32 tensors whose shapes fit; a transposed weight is (in, out / groups, *kernel)."""
    x, w, b = input, weight, _ABSENT if bias is None else bias
    if not all_float32(x, w, b):
        x, w, b = as_tensor(x), as_tensor(w), as_tensor(b)
        need_float32(op, input=x, weight=w, bias=b)
    groups = need_int(op, "groups", groups)
    shape, weight_shape = x.shape, w.shape
    if len(weight_shape) != rank + 2 or 0 in weight_shape:
        names = "in, out" if transposed else "out, in"
        raise ShapeError(f"{op}: weight: got shape {weight_shape}; need {rank + 2} positive sizes: "
                         f"({names} / groups, *kernel)")
    if len(shape) != rank + 2:
        raise ShapeError(f"{op}: input: got shape {shape}; need {rank + 2} axes: (N, C, *size)")
    first, inner, *kernel = weight_shape
    if groups < 1 or first % groups:
        raise ShapeError(f"{op}: groups: got {groups}; need a divisor of the {first} "
                         f"{'inputs' if transposed else 'outputs'} of weight {weight_shape}")
    channels, out = (first, inner * groups) if transposed else (inner * groups, first)
    if shape[1] != channels:
        raise ShapeError(f"{op}: input: got shape {shape} with {shape[1]} channels; need "
                         f"{channels} for weight {weight_shape} and {groups} groups")
    if bias is not None and b.shape != (out,):
        raise ShapeError(
            f"{op}: bias: got shape {b.shape}; need ({out},) for weight {weight_shape}"
        )
    taps = 1
    for k in kernel:
        taps *= k
    if taps > _MOST_TAPS or max(out, shape[1]) > _MOST_CHANNELS:
        raise LimitError(f"{op}: weight: got shape {weight_shape}; need at most {_MOST_TAPS} taps "
                         f"and {_MOST_CHANNELS} channels")
    return x, w, b, groups


def _outputs(
    op: str, size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...],
    front: tuple[int, ...], back: tuple[int, ...], dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """How many windows fit along each axis."""
    out = []
    for n, k, s, f, b, d in zip(size, kernel, stride, front, back, dilation, strict=True):
        room, reach = n + f + b, d * (k - 1) + 1
        if room < reach or room >= _MOST:
            raise ShapeError(f"{op}: input: got {size} and padding {front}; need a padded size of "
                             f"{reach} at least for kernel {kernel} with dilation {dilation}")
        out.append((room - reach) // s + 1)
    return tuple(out)


class exact_conv:
    """Whether convolutions add up products of x and w themselves, one after the other.

    Otherwise kernels of 3×3 with stride 1 over 32 channels and more, and larger ones with a stride
    over up to 8 channels, use Winograd's transform, which takes a quarter to a third of the
    multiplications at about twice the rounding error; NaN and infinity then reach all outputs of
    their tiles of 4×4 or 3×3. exact_conv(True) switches at once; as a with block, until its end. A
    compiled step stays as it was recorded.

    Example:
        >>> import fastnn
        >>> with fastnn.exact_conv(True):
        ...     fastnn.exact_conv.on
        True
        >>> fastnn.exact_conv.on
        False
    """

    on = False

    def __init__(self, mode: bool = True) -> None:
        self._before, exact_conv.on = exact_conv.on, bool(mode)

    def __enter__(self) -> exact_conv:
        return self

    def __exit__(self, *error: Any) -> None:
        exact_conv.on = self._before


def _by_winograd(
    inner: int, outputs: int, groups: int, taps: list[int], out: tuple[int, ...],
    stride: tuple[int, ...], dilation: tuple[int, ...],
) -> int:
    """The flag of what the transform pays for, 0 for nothing. It does not ask for the number of
    images: one alone has the bits it has in a batch. 36 matrices that do not fit the caches, or
    serve few tiles, are made where they are used."""
    if taps != [3, 3] or stride != (1, 1) or dilation != (1, 1) or groups != 1:
        return 0
    if min(inner, outputs) < 32 or max(inner, outputs) > 2048 or min(out) < 2:
        return 0
    tiles = -(-out[0] // 4) * -(-out[1] // 4)
    if inner * outputs <= _CACHED or tiles >= 16:
        return _WINOGRAD
    return _WINOGRAD_ONCE if 8 * tiles <= out[0] * out[1] else 0    # saves half of the products


def _by_winograd_of_blocks(
    inner: int, outputs: int, groups: int, taps: list[int], out: tuple[int, ...],
    stride: tuple[int, ...], dilation: tuple[int, ...],
) -> int:
    """The same for few channels and a stride, whose blocks of pixels see kernels of 3×3 or 4×4;
    the lines of a row of tiles must fit csrc/conv_few.h."""
    s, size = stride[0], -(-taps[0] // stride[0])
    if not (stride == (s, s) and 1 < s <= 4 and size == -(-taps[1] // s) and size in (3, 4)):
        return 0
    if groups > 1 or dilation != (1, 1) or outputs < 32 or inner > _FEW or inner * s * s < 12:
        return 0
    fits = min(out) > 1 and 6 * s * s * inner * (out[1] + 6) <= _FEW_MOST
    return _WINOGRAD if fits else 0


def _is_few(
    inner: int, taps: list[int], size: list[int] | tuple[int, ...], out: tuple[int, ...],
    stride: tuple[int, ...], dilation: tuple[int, ...],
) -> bool:
    """As conv_is_few in csrc/op_conv.h."""
    if inner > _FEW:
        return False
    area, reach = taps[0] * taps[1], dilation[0] * (taps[0] - 1) + 1
    width = stride[1] * (out[1] - 1) + dilation[1] * (taps[1] - 1) + 1
    line = inner * stride[1] * -(-size[1] // stride[1])
    return (
        line > 0 and area > 1 and area * inner <= _BAND // out[1]
        and (size[0] * line <= _BAND or 4 * reach <= _BAND // line)
        and inner * reach <= _FEW_MOST // width)


def _from_planes(
    x: Tensor, w: Tensor, out: tuple[int, ...], stride: tuple[int, ...], front: tuple[int, ...],
    dilation: tuple[int, ...], groups: int,
) -> int:
    """The flags of a convolution that reads images (N, C, H, W) as they lie; 0 for others.

    They return channels last all the same; depthwise ones planes, a plain tensor.
    """
    (outputs, inner, *taps), size = w.shape, x.shape[2:]
    if is_channels_last(x):
        return 0
    if inner == 1 < groups == outputs and taps[0] * taps[1] <= _DEPTHWISE_TAPS:
        simple = taps in _PLANES_KERNELS and stride == dilation == (1, 1)
        return _PLANES | _PLANES_OUT if simple and out[1] >= _PLANES_WIDTH else 0
    if taps == [1, 1]:
        plain = stride == (1, 1) and front == (0, 0) and out == size != (1, 1)
        return _PLANES if plain and inner > 1 else 0
    return _PLANES if _is_few(inner, taps, size, out, stride, dilation) else 0


def record_of(
    x: Tensor, w: Tensor, b: Tensor, out: tuple[int, ...], stride: tuple[int, ...],
    pad: tuple[int, ...], dilation: tuple[int, ...], groups: int, planes: int = 0,
) -> tuple[tuple[Tensor, ...], tuple[int, ...], tuple[int, ...]]:
    """Operands, shape of the result and dim of a record; x is (N, H, W, C), unless `planes` says
    otherwise."""
    (n, *size), (outputs, inner, *taps) = x.shape, w.shape
    channels = size.pop(0 if planes else 2)
    area, flags = taps[0] * taps[1], groups << 8
    few = _is_few(inner, taps, size, out, stride, dilation)
    of_weight = (0, 0, 0, channels, outputs, *taps, 0, 0)
    shape: tuple[int, ...] = (groups, -(-outputs // groups // 32), area * inner, 32)
    dim = (*of_weight, 1, 1, 0, 0, 1, 1, flags)
    depthwise = 1 < groups == channels == outputs and area <= _DEPTHWISE_TAPS
    if depthwise:
        shape = (area, outputs)
    elif not exact_conv.on:
        sizes = inner, outputs, groups, taps, out, stride, dilation
        flags |= (_by_winograd_of_blocks if few else _by_winograd)(*sizes)
        if flags & _WINOGRAD:
            rows = stride[0] ** 2 * inner
            shape = (36, -(-outputs // 32), rows, 32)
            dim = (*of_weight, *stride, 0, 0, 1, 1, flags)
    panels = turned = _ABSENT
    if not (planes & _PLANES_OUT or flags & _WINOGRAD_ONCE):
        panels = packed(PACK_CONV, w, shape, dim)
        if panels is None:
            panels = call(PACK_CONV, (w,), (shape,), dim)
    if depthwise:
        turned = panels
    elif x.requires_grad and grad_enabled() and not (planes or few or flags & _WINOGRAD_ONCE):
        shape = (groups, -(-inner // 32), area * (outputs // groups), 32)
        if flags & _WINOGRAD:
            shape = (36, -(-inner // 32), outputs, 32)
        turned = call(PACK_CONV, (w,), (shape,),
                      (*of_weight, *stride, *pad, *dilation, flags | _TURNED))
    result = (n, outputs, *out) if planes & _PLANES_OUT else (n, *out, outputs)
    return ((x, w, b, _ABSENT, panels, turned), result,
            (n, *size, channels, outputs, *taps, *out, *stride, *pad, *dilation,
             flags | planes | (b is not _ABSENT)))


def _convolution(
    op: str, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
    groups: Any, rank: int,
) -> tuple[Any, ...]:
    """Operands, then outputs, stride, padding in front and dilation of each axis, and groups."""
    x, w, b, groups = _operands(op, input, weight, bias, rank, groups)
    kernel = w.shape[2:]
    stride = sizes(op, "stride", stride, rank, 1)
    dilation = sizes(op, "dilation", dilation, rank, 1)
    front, back = _padding(op, padding, kernel, stride, dilation)
    out = _outputs(op, x.shape[2:], kernel, stride, front, back, dilation)
    return x, w, b, out, stride, front, dilation, groups


def record_of_images(
    op: str, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
    groups: Any, last: bool = False,
) -> tuple[tuple[Tensor, ...], tuple[int, ...], tuple[int, ...]]:
    """record_of what conv2d is told, checked; last: the result must lie channels last."""
    x, w, b, out, stride, front, dilation, groups = _convolution(
        op, input, weight, bias, stride, padding, dilation, groups, 2)
    planes = _from_planes(x, w, out, stride, front, dilation, groups)
    if last and planes & _PLANES_OUT:
        planes = 0
    return record_of(x if planes else channels_last(x), w, b, out, stride, front, dilation, groups,
                     planes)


def _as_images(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Sequences (N, L, C) as images of one line, and their kernels."""
    n, length, channels = x.shape
    outputs, inner, taps = w.shape
    return view(x, (n, 1, length, channels)), view(w, (outputs, inner, 1, taps))


def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of images with a bank of kernels.

    Shapes: input (N, C, H, W), weight (O, C / groups, KH, KW), bias (O) to (N, O, OH, OW) with
    OH = (H + 2 padding - dilation (KH - 1) - 1) // stride + 1. stride, padding and dilation: an
    integer or a pair (down, across); padding may be "valid" (none) or, for stride 1, "same"
    (OH = H).

    Errors: ShapeError naming the shapes; LimitError for kernels beyond 131072 taps.

    Example:
        >>> import fastnn
        >>> fastnn.nn.functional.conv2d(fastnn.ones(1, 3, 8, 8), fastnn.ones(4, 3, 3, 3)).shape
        (1, 4, 6, 6)
    """
    inputs, shape, dim = record_of_images("conv2d", input, weight, bias, stride, padding, dilation,
                                          groups)
    y = call(CONV2D, inputs, (shape,), dim)
    return y if dim[15] & _PLANES_OUT else from_channels_last(y)


def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of sequences with a bank of kernels.

    Shapes: input (N, C, L), weight (O, C / groups, K), bias (O) to (N, O, OL) with
    OL = (L + 2 padding - dilation (K - 1) - 1) // stride + 1. padding may be "valid" or "same".

    Errors: ShapeError naming the shapes; LimitError for kernels beyond 131072 taps.

    Example:
        >>> import fastnn
        >>> fastnn.nn.functional.conv1d(fastnn.ones(1, 3, 8), fastnn.ones(4, 3, 3)).shape
        (1, 4, 6)
    """
    x, w, b, out, stride, front, dilation, groups = _convolution(
        "conv1d", input, weight, bias, stride, padding, dilation, groups, 1)
    x, w = _as_images(channels_last(x), w)
    inputs, shape, dim = record_of(x, w, b, (1, *out), (1, *stride), (0, *front), (1, *dilation),
                                   groups)
    y = call(CONV2D, inputs, (shape,), dim)
    return from_channels_last(view(y, (shape[0], *shape[2:])))


def _sizes_before(
    op: str, size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...],
    padding: tuple[int, ...], extra: tuple[int, ...], dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """The sizes from which a convolution makes `size`; extra tells which of several."""
    out = []
    for n, k, s, p, e, d in zip(size, kernel, stride, padding, extra, dilation, strict=True):
        if e >= max(s, d):
            raise ShapeError(f"{op}: output_padding: got {extra}; need less than stride {stride} "
                             f"or dilation {dilation}")
        reach = (n - 1) * s + d * (k - 1) + 1 + e
        if n < 1 or not 2 * p < reach < _MOST:
            raise ShapeError(f"{op}: input: got {size}, kernel {kernel} and padding {padding}; "
                             f"need outputs of 1 to {_MOST - 1}")
        out.append(reach - 2 * p)
    return tuple(out)


def _transposed_convolution(
    op: str, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any,
    groups: Any, dilation: Any, rank: int,
) -> tuple[Any, ...]:
    """Operands, then outputs, stride, padding and dilation of each axis, and groups."""
    x, w, b, groups = _operands(op, input, weight, bias, rank, groups, transposed=True)
    stride, padding = sizes(op, "stride", stride, rank, 1), sizes(op, "padding", padding, rank, 0)
    extra = sizes(op, "output_padding", output_padding, rank, 0)
    dilation = sizes(op, "dilation", dilation, rank, 1)
    size = _sizes_before(op, x.shape[2:], w.shape[2:], stride, padding, extra, dilation)
    return x, w, b, size, stride, padding, dilation, groups


def _convolve_back(
    x: Tensor, w: Tensor, b: Tensor, size: tuple[int, ...], stride: tuple[int, ...],
    pad: tuple[int, ...], dilation: tuple[int, ...], groups: int,
) -> Tensor:
    """One record of the convolution that makes x (N, OH, OW, O) from images (N, *size, C)."""
    (n, *out, outputs), (_, inner, *taps) = x.shape, w.shape
    area, each = taps[0] * taps[1], outputs // groups
    of_weight, flags = (0, 0, 0, inner * groups, outputs, *taps, 0, 0), groups << 8
    depthwise = 1 < groups == outputs and inner == 1 and area <= _DEPTHWISE_TAPS
    shape: tuple[int, ...] = (groups, -(-inner // 32), area * each, 32)
    dim = (*of_weight, *stride, *pad, *dilation, flags | _TURNED)
    if depthwise:
        shape = (area, outputs)
    turned = packed(PACK_CONV, w, shape, dim)
    if turned is None:
        turned = call(PACK_CONV, (w,), (shape,), dim)
    panels = _ABSENT
    if depthwise:
        panels = turned
    elif x.requires_grad and grad_enabled():
        panels = call(PACK_CONV, (w,), ((groups, -(-each // 32), area * inner, 32),),
                      (*of_weight, 1, 1, 0, 0, 1, 1, flags))
    return call(CONV_TRANSPOSE2D, (x, w, b, turned, panels), ((n, *size, inner * groups),),
                (n, *size, inner * groups, outputs, *taps, *out, *stride, *pad, *dilation,
                 flags | (b is not _ABSENT)))


def conv_transpose2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv2d` as a linear map: each input pixel adds its kernel to the output.

    Shapes: input (N, C, H, W), weight (C, O / groups, KH, KW), bias (O) to (N, O, OH, OW) with
    OH = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1. output_padding, less
    than stride or dilation, chooses among the sizes from which conv2d makes H.

    Errors: ShapeError naming the shapes; LimitError for kernels beyond 131072 taps.

    Source: Zeiler et al., "Deconvolutional networks", CVPR 2010.

    Example:
        >>> import fastnn
        >>> x, w = fastnn.ones(1, 3, 4, 4), fastnn.ones(3, 2, 2, 2)
        >>> fastnn.nn.functional.conv_transpose2d(x, w, stride=2).shape
        (1, 2, 8, 8)
    """
    x, *rest = _transposed_convolution("conv_transpose2d", input, weight, bias, stride, padding,
                                       output_padding, groups, dilation, 2)
    return from_channels_last(_convolve_back(channels_last(x), *rest))


def conv_transpose1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv1d` as a linear map: each input value adds its kernel to the output.

    Shapes: input (N, C, L), weight (C, O / groups, K), bias (O) to (N, O, OL) with
    OL = (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.

    Errors: ShapeError naming the shapes; LimitError for kernels beyond 131072 taps.

    Example:
        >>> import fastnn
        >>> x, w = fastnn.ones(1, 3, 4), fastnn.ones(3, 2, 2)
        >>> fastnn.nn.functional.conv_transpose1d(x, w, stride=2).shape
        (1, 2, 8)
    """
    x, w, b, size, stride, pad, dilation, groups = _transposed_convolution(
        "conv_transpose1d", input, weight, bias, stride, padding, output_padding, groups, dilation,
        1)
    x, w = _as_images(channels_last(x), w)
    y = _convolve_back(x, w, b, (1, *size), (1, *stride), (0, *pad), (1, *dilation), groups)
    n, _, length, channels = y.shape
    return from_channels_last(view(y, (n, length, channels)))
