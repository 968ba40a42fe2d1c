"""Activation functions; those with ``inplace`` can overwrite their input."""

from __future__ import annotations

from math import prod
from typing import Any

from .._core import OPS, Tensor, add_method, all_float32, as_tensor, call, elementwise, pointwise
from .checks import need_axis, need_float32
from .compare import where
from .pointwise import clamp, expm1, mul, neg, unary_

__all__ = [
    "celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "heaviside", "leaky_relu",
    "log_softmax", "logsigmoid", "relu", "relu6", "sigmoid", "silu", "softmax", "softplus", "tanh",
]

RELU, SIGMOID, TANH = OPS["relu"], OPS["sigmoid"], OPS["tanh"]


def _activate(
    op: int, name: str, input: Any, f: tuple[float, ...] = (), inplace: bool = False
) -> Tensor:
    """An elementwise function of a float32 tensor."""
    x = input
    if not all_float32(x):
        x = as_tensor(x)
        need_float32(name, input=x)
    if inplace:
        return unary_(op, x, f)
    return elementwise(op, x, f)


def relu(input: Any, inplace: bool = False) -> Tensor:
    """max(input, 0); its gradient at 0 is 0.

    Example:
        >>> import fastnn
        >>> fastnn.relu(fastnn.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """
    return _activate(RELU, "relu", input, (), inplace)


def relu6(input: Any, inplace: bool = False) -> Tensor:
    """min(max(input, 0), 6).

    Example:
        >>> import fastnn
        >>> fastnn.nn.functional.relu6(fastnn.tensor([-1.0, 2.0, 8.0])).tolist()
        [0.0, 2.0, 6.0]
    """
    return _activate(OPS["hardtanh"], "relu6", input, (0.0, 6.0), inplace)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input above 0, negative_slope · input below.

    Example:
        >>> import fastnn
        >>> fastnn.nn.functional.leaky_relu(fastnn.tensor([-1.0, 2.0]), 0.5).tolist()
        [-0.5, 2.0]
    """
    if negative_slope > 0:
        return _activate(OPS["leaky_relu"], "leaky_relu", input, (negative_slope,), inplace)
    if negative_slope == 0:
        return relu(input, inplace)
    x = as_tensor(input)
    return _replace(x, where(x > 0, x, mul(x, negative_slope)), inplace)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input above 0, alpha · (exp(input) - 1) below (Clevert et al. 2016).

    Example:
        >>> import fastnn
        >>> round(fastnn.nn.functional.elu(fastnn.tensor([-1.0])).item(), 4)
        -0.6321
    """
    if alpha > 0:
        return _activate(OPS["elu"], "elu", input, (alpha,), inplace)
    x = as_tensor(input)
    return _replace(x, where(x > 0, x, mul(expm1(clamp(x, max=0)), alpha)), inplace)


def _replace(x: Tensor, y: Tensor, inplace: bool) -> Tensor:
    return x.copy_(y) if inplace else y


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + exp(-input)); within 2 ULP.

    Example:
        >>> import fastnn
        >>> fastnn.sigmoid(fastnn.tensor([0.0])).tolist()
        [0.5]
    """
    return _activate(SIGMOID, "sigmoid", input)


def logsigmoid(input: Any) -> Tensor:
    """log(sigmoid(input)), accurate for large negative inputs too.

    Example:
        >>> import fastnn
        >>> fastnn.nn.functional.logsigmoid(fastnn.tensor([-100.0])).item()
        -100.0
    """
    return neg(softplus(neg(input)))


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent; within 2 ULP.

    Example:
        >>> import fastnn
        >>> fastnn.tanh(fastnn.tensor([0.0])).tolist()
        [0.0]
    """
    return _activate(TANH, "tanh", input)


def hardtanh(
    input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """input, but no less than min_val and no more than max_val; the gradient at both is 0.

    Example:
        >>> import fastnn
        >>> fastnn.nn.functional.hardtanh(fastnn.tensor([-3.0, 0.5])).tolist()
        [-1.0, 0.5]
    """
    return _activate(OPS["hardtanh"], "hardtanh", input, (min_val, max_val), inplace)


def hardsigmoid(input: Any, inplace: bool = False) -> Tensor:
    """min(max(input + 3, 0), 6) / 6.

    Example:
        >>> import fastnn
        >>> fastnn.nn.functional.hardsigmoid(fastnn.tensor([-4.0, 0.0])).tolist()
        [0.0, 0.5]
    """
    return _activate(OPS["hardsigmoid"], "hardsigmoid", input, (), inplace)


def hardswish(input: Any, inplace: bool = False) -> Tensor:
    """input · hardsigmoid(input) (Howard et al. 2019).

    Example:
        >>> import fastnn
        >>> fastnn.nn.functional.hardswish(fastnn.tensor([0.0, 5.0])).tolist()
        [0.0, 5.0]
    """
    return _activate(OPS["hardswish"], "hardswish", input, (), inplace)


def silu(input: Any, inplace: bool = False) -> Tensor:
    """input · sigmoid(input) (Elfwing et al. 2017); within 4 ULP from -87 up.

    Example:
        >>> import fastnn
        >>> fastnn.nn.functional.silu(fastnn.tensor([0.0])).tolist()
        [0.0]
    """
    return _activate(OPS["silu"], "silu", input, (), inplace)


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """input · Φ(input), Φ the normal distribution (Hendrycks, Gimpel 2016); 4 ULP from -1 up.

    approximate: "none", or "tanh" for (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2 in place of Φ.

    Example:
        >>> import fastnn
        >>> round(fastnn.nn.functional.gelu(fastnn.tensor([1.0])).item(), 4)
        0.8413
    """
    if approximate == "none":
        return _activate(OPS["gelu"], "gelu", input)
    if approximate == "tanh":
        return _activate(OPS["gelu_tanh"], "gelu", input)
    raise ValueError(f"gelu: approximate: got {approximate!r}; need 'none' or 'tanh'")


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta · input)) / beta, and input itself where beta · input > threshold; 2 ULP for
    beta = 1.

    Example:
        >>> import fastnn
        >>> round(fastnn.nn.functional.softplus(fastnn.tensor([0.0])).item(), 4)
        0.6931
    """
    return _activate(OPS["softplus"], "softplus", input, (beta, threshold))


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input above 0, alpha · (exp(input / alpha) - 1) below (Barron 2017).

    Example:
        >>> import fastnn
        >>> round(fastnn.nn.functional.celu(fastnn.tensor([-1.0])).item(), 4)
        -0.6321
    """
    if alpha == 0:
        raise ValueError("celu: alpha: got 0; need a number other than 0")
    x = as_tensor(input)
    return _replace(x, where(x > 0, x, mul(expm1(clamp(x, max=0) / alpha), alpha)), inplace)


def heaviside(input: Any, values: Any) -> Tensor:
    """0 below 0, values at 0, 1 above: the perceptron's step. Its gradient is 0 everywhere.

    Example:
        >>> import fastnn
        >>> fastnn.heaviside(fastnn.tensor([-1.0, 0.0, 2.0]), fastnn.tensor(0.5)).tolist()
        [0.0, 0.5, 1.0]
    """
    a, b = as_tensor(input), as_tensor(values)
    need_float32("heaviside", input=a, values=b)
    return pointwise(OPS["heaviside"], a, b)


def softmax(
    input: Any, dim: int | None = None, dtype: Any = None, *, axis: int | None = None
) -> Tensor:
    """exp(input) divided by its sum along dim: positive numbers that add up to 1.

    Rows are shifted by their maximum, so that no size overflows; a row of -inf gives NaN.

    Errors: IndexRangeError for an axis that is not there.

    Example:
        >>> import fastnn
        >>> fastnn.softmax(fastnn.tensor([1.0, 1.0]), dim=0).tolist()
        [0.5, 0.5]
    """
    return _softmax("softmax", input, axis if dim is None else dim, dtype)


def log_softmax(
    input: Any, dim: int | None = None, dtype: Any = None, *, axis: int | None = None
) -> Tensor:
    """log(softmax(input, dim)), accurate where softmax is tiny.

    Errors: IndexRangeError for an axis that is not there.

    Example:
        >>> import fastnn
        >>> fastnn.log_softmax(fastnn.tensor([0.0, 1000.0]), dim=0).tolist()
        [-1000.0, 0.0]
    """
    return _softmax("log_softmax", input, axis if dim is None else dim, dtype)


def _softmax(name: str, input: Any, dim: int | None, dtype: Any) -> Tensor:
    x = input
    if dtype is not None or not all_float32(x):
        x = as_tensor(x, dtype)
        need_float32(name, input=x)
    if dim is None:
        raise TypeError(f"{name}: dim: got None; need an axis")
    shape = x.shape
    d = need_axis(name, dim, len(shape))
    if d == len(shape) - 1:
        sizes = (x.numel() // (shape[d] or 1), shape[d], 1)
    else:
        sizes = (prod(shape[:d]), shape[d], prod(shape[d + 1:])) if shape else (1, 1, 1)
    return call(OPS[name], (x,), (shape,), sizes)


for _name in ("heaviside", "log_softmax", "relu", "sigmoid", "softmax", "tanh"):
    add_method(_name, globals()[_name])
