"""Questions of torch code that have one answer here: which device, which default dtype."""

from __future__ import annotations

from typing import Any

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


_core.add_method("is_floating_point", is_floating_point)
