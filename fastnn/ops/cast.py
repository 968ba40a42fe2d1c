"""Which dtype operands compute in, and conversion from one to another."""

from __future__ import annotations

from typing import Any

from .. import _core
from .._core import (
    DTYPES,
    OPS,
    DType,
    Tensor,
    add_method,
    as_dtype,
    as_tensor,
    call,
    check_device,
    pointwise,
)
from ..errors import DTypeError, ShapeError

__all__ = ["result_type"]

F32, I64, BOOL = DTYPES["float32"], DTYPES["int64"], DTYPES["bool"]
CAST = OPS["cast"]
CODES = {DTYPES[name]: i for i, name in enumerate((  # as in op_cast.h
    "float32", "int64", "int32", "uint8", "bool", "float64", "float16", "int8", "int16"))}

_NUMBERS = {bool: BOOL, int: I64, float: F32}
_RANK = {BOOL: 0, DTYPES["uint8"]: 1, DTYPES["int32"]: 2, I64: 3, F32: 4}


def kind(dtype: DType) -> int:
    """0 bool, 1 integer, 2 float."""
    return 2 if dtype.is_floating_point else 0 if dtype is BOOL else 1


def cast(x: Tensor, dtype: DType) -> Tensor:
    """x as another dtype; out of an integer's range comes its nearest end, NaN becomes 0."""
    if x.dtype is dtype:
        return x
    dim = (x.numel(), CODES[x.dtype], CODES[dtype])
    return call(CAST, (x,), (x.shape,), dim, (), 0, (dtype,))


def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype that two operands compute in.

    Tensors with axes decide; 0-dimensional ones, and after them Python numbers, only count where
    they are of a higher kind (bool < integer < float).

    Errors: DTypeError for dtypes that only store (float64, float16, int8, int16).

    Example:
        >>> import fastnn
        >>> fastnn.result_type(fastnn.tensor([1, 2]), 1.5)
        fastnn.float32
    """
    return common_dtype("result_type", tensor1, tensor2)


def common_dtype(op: str, *operands: Any) -> DType:
    """result_type on behalf of an op."""
    levels: list[Any] = [None, None, None]
    for x in operands:
        number = _NUMBERS.get(type(x))
        level, dtype = (2, number) if number else (int(x.ndim == 0), x.dtype)
        if dtype not in _RANK:
            raise DTypeError(f"{op}: got {dtype.name}; need float32, int64, int32, uint8 or bool: "
                             "use .float() or .long()")
        best = levels[level]
        if best is None or _RANK[dtype] > _RANK[best]:
            levels[level] = dtype
    result = None
    for dtype in levels:
        if dtype is not None and (result is None or kind(dtype) > kind(result)):
            result = dtype
    assert result is not None
    return result


def operand(x: Any) -> Any:
    """A tensor, or a Python number that adapts to the other operands."""
    return x if isinstance(x, Tensor) or type(x) in _NUMBERS else as_tensor(x)


def as_operand(x: Any, dtype: DType) -> Tensor:
    """A tensor or number as a tensor of that dtype."""
    if isinstance(x, Tensor):
        return x if x.dtype is dtype else cast(x, dtype)
    return as_tensor(float(x)) if dtype is F32 else as_tensor(x, dtype)


def all_int64(a: Any, b: Any) -> bool:
    """Whether both are int64 tensors, or one is and the other a Python int."""
    x, y = isinstance(a, Tensor), isinstance(b, Tensor)
    if x and y:
        return a.dtype is I64 and b.dtype is I64
    return x and a.dtype is I64 and type(b) is int or y and b.dtype is I64 and type(a) is int


def is_integer(x: Any) -> bool:
    """Whether x is a tensor of integers or booleans."""
    return isinstance(x, Tensor) and not x.dtype.is_floating_point


# The functions of int_arithmetic and int_compare, in the order of the tables in op_pointwise.h.
INT_CODES = {name: (float(i),) for names in (
    ("add", "sub", "mul", "floor_divide", "remainder", "maximum", "minimum", "and", "or", "xor"),
    ("eq", "ne", "lt", "le", "gt", "ge"),
) for i, name in enumerate(names)}


def _int_pair(kernel: str, name: str, a: Any, b: Any, dtype: DType) -> Tensor:
    """One of the functions of an integer kernel, under its own name in errors."""
    a, b = as_operand(a, I64), as_operand(b, I64)
    try:
        return pointwise(OPS[kernel], a, b, INT_CODES[name], dtype)
    except ShapeError as e:
        raise ShapeError(str(e).replace(kernel, name, 1)) from None


def integer(name: str, a: Any, b: Any, dtype: DType) -> Tensor:
    """Arithmetic in int64, returned as dtype; both wrap around at the ends of their range."""
    return cast(_int_pair("int_arithmetic", name, a, b, I64), dtype)


def int_compare(name: str, a: Any, b: Any) -> Tensor:
    """A comparison in int64."""
    return _int_pair("int_compare", name, a, b, BOOL)


def to(
    input: Tensor, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False,
    copy: bool = False,
) -> Tensor:
    """The tensor as another dtype, or on a device (there is only "cpu"); itself if nothing changes.

    Takes ``to(dtype)``, ``to(device)``, ``to(device, dtype)`` and ``to(other_tensor)``. Gradients
    flow from any float dtype to any other, and are float32 themselves.

    Example:
        >>> import fastnn
        >>> fastnn.tensor([1.7, -1.7]).to(fastnn.int64).tolist()
        [1, -1]
    """
    for arg in args:
        if isinstance(arg, Tensor):
            dtype = arg.dtype
        elif arg is None or isinstance(arg, bool):
            continue
        elif str(arg).split(":")[0] in ("cpu", "cuda", "mps", "xpu", "meta"):
            device = arg
        else:
            dtype = arg
    check_device(device)
    x = input if dtype is None else cast(input, as_dtype(dtype))
    return x.clone() if copy and x is input else x


def _converter(dtype: DType) -> Any:
    def method(input: Tensor) -> Tensor:
        return cast(input, dtype)

    method.__doc__ = f"The tensor as {dtype.name}; itself if it is that already."
    return method


for _name, _dtype in {
    "bool": "bool", "byte": "uint8", "char": "int8", "double": "float64", "float": "float32",
    "half": "float16", "int": "int32", "long": "int64", "short": "int16",
}.items():
    add_method(_name, _converter(DTYPES[_dtype]))
_core.bind(copy=CAST)
add_method("to", to)
add_method("type", lambda input, dtype: cast(input, as_dtype(dtype)))
add_method("type_as", lambda input, other: cast(input, other.dtype))
add_method("cpu", lambda input: input)
