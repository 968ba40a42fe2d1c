"""Questions of torch code that have one answer here: which device, which default dtype."""

from __future__ import annotations

from typing import Any

from . import _core
from ._core import DTYPES, DType, Tensor
from .errors import DTypeError

Size = tuple


class device(str):
    """The place of a tensor: always the CPU.

    Errors: DTypeError for any other.

    Example:
        >>> import fastnn
        >>> fastnn.device("cpu").type
        'cpu'
    """

    type = "cpu"
    index = None

    def __new__(cls, type: Any = "cpu", index: int | None = None) -> device:
        _core.check_device(type)
        return super().__new__(cls, "cpu")

    def __repr__(self) -> str:
        return "device(type='cpu')"


CPU = device()
_core.add_method("device", property(lambda self: CPU))


def is_tensor(obj: Any) -> bool:
    """Whether obj is a fastnn tensor."""
    return isinstance(obj, Tensor)


def get_default_dtype() -> DType:
    """The dtype of new tensors of real numbers: float32."""
    return DTYPES["float32"]


def set_default_dtype(d: Any) -> None:
    """Accept float32, the only default there is."""
    if _core.as_dtype(d).name != "float32":
        raise DTypeError(f"set_default_dtype: got {_core.as_dtype(d).name}; need float32")
