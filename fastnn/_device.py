"""Questions of torch code that have one answer here: which device, which default dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core
from ._core import DTYPES, DType, Tensor
from .errors import DTypeError

Size = tuple


class device:
    """The place of a tensor: always the CPU; equal to "cpu" and to any other device.

    Errors: DTypeError for any other place.

    Example:
        >>> import fastnn
        >>> fastnn.device("cpu").type
        'cpu'
    """

    type = "cpu"
    index = None

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        _core.check_device(type)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) or other == "cpu"

    def __hash__(self) -> int:
        return hash("cpu")

    def __str__(self) -> str:
        return "cpu"

    def __repr__(self) -> str:
        return "device(type='cpu')"


CPU = device()
_core.add_method("device", property(lambda self: CPU))
_core.add_method("is_cuda", False)


def is_tensor(obj: Any) -> bool:
    """Whether obj is a fastnn tensor."""
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


def is_floating_point(input: Tensor) -> bool:
    """Whether the elements are float32, or stored as float16 or float64."""
    return input.dtype.is_floating_point


def get_default_dtype() -> DType:
    """The dtype of new tensors of real numbers: float32."""
    return DTYPES["float32"]


def set_default_dtype(d: Any) -> None:
    """Accept float32, the only default there is."""
    if _core.as_dtype(d).name != "float32":
        raise DTypeError(f"set_default_dtype: got {_core.as_dtype(d).name}; need float32")


class finfo:
    """The limits of a float dtype, float32 if none is given: bits, eps, max, min, tiny, resolution.

    Kernels flush float32 numbers below `tiny`, the smallest normal one, to 0.

    Example:
        >>> import fastnn
        >>> fastnn.finfo(fastnn.float32).eps == 2**-23
        True
    """

    def __init__(self, type: Any = "float32") -> None:
        d = _core.as_dtype(type)
        if not d.is_floating_point:
            raise DTypeError(f"finfo: type: got {d.name}; need a float dtype: use iinfo")
        info = np.finfo(d.numpy)
        self.dtype, self.bits = d.name, d.itemsize * 8
        self.eps, self.resolution = float(info.eps), 10.0**-info.precision
        self.max, self.min = float(info.max), float(info.min)
        self.tiny = self.smallest_normal = float(info.tiny)

    def __repr__(self) -> str:
        return (f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
                f"eps={self.eps:g}, smallest_normal={self.tiny:g}, tiny={self.tiny:g}, "
                f"dtype={self.dtype})")


class iinfo:
    """The limits of an integer dtype: bits, max, min.

    Example:
        >>> import fastnn
        >>> fastnn.iinfo(fastnn.uint8).max
        255
    """

    def __init__(self, type: Any) -> None:
        d = _core.as_dtype(type)
        if d.is_floating_point or d.name == "bool":
            raise DTypeError(f"iinfo: type: got {d.name}; need an integer dtype: use finfo")
        info = np.iinfo(d.numpy)
        self.dtype, self.bits = d.name, d.itemsize * 8
        self.max, self.min = int(info.max), int(info.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


_core.add_method("is_floating_point", is_floating_point)
