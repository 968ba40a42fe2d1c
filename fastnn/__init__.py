"""fastnn: neural networks on the CPU, fast and with the same bits at any thread count."""

# ruff: noqa: F403
from math import e, inf, nan, pi
from typing import TYPE_CHECKING

from ._core import (
    DTYPES,
    DType,
    Tensor,
    as_tensor,
    from_dlpack,
    from_numpy,
    get_num_threads,
    live_bytes,
    set_num_threads,
    tensor,
)
from ._device import (
    Size,
    device,
    finfo,
    get_default_dtype,
    iinfo,
    is_floating_point,
    is_tensor,
    numel,
    set_default_dtype,
)
from ._startup import start
from .autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from .errors import (
    CorruptFileError,
    DTypeError,
    GraphError,
    IndexRangeError,
    LimitError,
    ShapeError,
    UnsupportedOpError,
)
from .ops.activation import *
from .ops.cast import *
from .ops.compare import *
from .ops.composed import addmm, diag, einsum, median, unique
from .ops.conv import conv1d, conv2d, conv_transpose1d, conv_transpose2d, exact_conv
from .ops.creation import *
from .ops.indexing import *
from .ops.linear import *
from .ops.loss import *
from .ops.movement import *
from .ops.pointwise import *
from .ops.random import *
from .ops.reduce import *
from .ops.sorting import *
from .profiler import profile
from .replay import compile
from .serialization import load, save

dtype = DType
float32 = float = DTYPES["float32"]
float64 = double = DTYPES["float64"]
float16 = half = DTYPES["float16"]
int8, uint8, int16 = DTYPES["int8"], DTYPES["uint8"], DTYPES["int16"]
int32 = int = DTYPES["int32"]
int64 = long = DTYPES["int64"]
bool = DTYPES["bool"]

__version__ = "0.1.0"
start()

from . import autograd, cuda, data, limits, nn, optim, utils  # noqa: E402

if TYPE_CHECKING:
    from . import models, vision
else:
    _LATE = ("models", "vision")            # packages that load when they are first named

    def __getattr__(name):
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module
        return import_module(f"{__name__}.{name}")

    def __dir__():
        return sorted({*globals(), *_LATE})
