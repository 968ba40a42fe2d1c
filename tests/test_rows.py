"""A row alone has the bits it has in a batch, forward and backward, for every op with rows.

Each function takes a batch of 67 rows; it is run again on single rows and on other batches cut out
of them, on every ISA, on one thread and on a team. Outputs and the gradient of the batch must agree
byte by byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases.harness import on_a_team

import fastnn
from fastnn import _core
from fastnn.nn import functional as F

pytestmark = pytest.mark.skipif(os.environ.get("FASTNN_BACKEND") == "numpy",
                                reason="NumPy sums in its own order")
ROWS = 67
CUTS = [slice(i, i + 1) for i in (0, 1, 15, 16, 31, 66)] + [
    slice(0, 2), slice(5, 8), slice(3, 17), slice(16, 49), slice(1, 67)]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def given(*shape: int, seed: int = 7) -> Any:
    return fastnn.tensor(normal(*shape, seed=seed))


W, B, WIDE, TABLE = given(50, 37), given(50), given(37, 1030), given(91, 37)
CLASSES = np.random.default_rng(1).integers(0, 37, ROWS)
SAME = given(37)                                  # one operand that all rows share

UNARY = {
    **{n: getattr(fastnn, n) for n in (
        "neg", "abs", "sign", "exp", "expm1", "sin", "cos", "floor", "ceil", "round", "square",
        "reciprocal", "tanh", "sigmoid", "erf")},
    **{n: lambda x, n=n: getattr(fastnn, n)(x.abs() + 0.1) for n in (
        "log", "log1p", "log2", "log10", "sqrt", "rsqrt")},
    **{n: getattr(F, n) for n in (
        "relu", "relu6", "leaky_relu", "elu", "silu", "gelu", "softplus", "hardsigmoid",
        "hardswish", "hardtanh")},
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "where": lambda x: fastnn.where(x > 0, x, 2 * x),
    "compare": lambda x: (x > SAME).to(fastnn.float32),
    **{n: lambda x, n=n: getattr(fastnn, n)(x, SAME) for n in (
        "add", "sub", "mul", "div", "maximum", "minimum", "remainder", "floor_divide")},
    "pow": lambda x: (x.abs() + 0.1) ** SAME,
}
ALONG_ROWS = {
    "softmax": lambda x: F.softmax(x, 1), "log_softmax": lambda x: F.log_softmax(x, 1),
    **{n: lambda x, n=n: getattr(x, n)(1) for n in (
        "sum", "mean", "amax", "amin", "var", "std", "logsumexp", "prod", "cumsum")},
    "norm": lambda x: fastnn.norm(x, dim=1),
    "max": lambda x: x.max(1)[0], "min": lambda x: x.min(1)[0],
    "argmax": lambda x: x.argmax(1), "sort": lambda x: x.sort(1)[0],
    "flip": lambda x: x.flip(1), "cat": lambda x: fastnn.cat([x, x * 2], 1),
    "layer_norm": lambda x: F.layer_norm(x, (37,), SAME, SAME),
    "rms_norm": lambda x: F.rms_norm(x, (37,), SAME),
    "add_layer_norm": lambda x: F.add_layer_norm(x, x * x, (37,), SAME)[0],
    "group_norm": lambda x: F.group_norm(x.reshape(-1, 37, 1), 1, SAME),
    "instance_norm": lambda x: F.instance_norm(x.unsqueeze(1)),
    "batch_norm": lambda x: F.batch_norm(x, SAME, SAME * SAME, SAME, SAME),
    "batch_norm_planes": lambda x: F.batch_norm(x.unsqueeze(1), SAME[:1], SAME[:1] ** 2),
    "gather": lambda x: x.gather(1, fastnn.tensor(np.full((x.shape[0], 3), [4, 0, 4]))),
}
PRODUCTS = {
    "linear": lambda x: F.linear(x, W, B), "linear_no_bias": lambda x: F.linear(x, W),
    "linear_relu": lambda x: F.relu(F.linear(x, W, B)),
    **{f"linear_{a}": lambda x, a=a: F.linear(x, W, B, activation=a)
       for a in ("relu", "gelu", "tanh")},
    "matmul": lambda x: x @ WIDE, "matmul_transposed": lambda x: x @ W.transpose(0, 1),
    "matmul_column": lambda x: x @ SAME, "bmm": lambda x: x.unsqueeze(2) @ x.unsqueeze(1),
}
FUNCTIONS: dict[str, Callable[[Any], Any]] = {**UNARY, **ALONG_ROWS, **PRODUCTS}


def results(fn: Callable[..., Any], rows: np.ndarray, dy: np.ndarray,
            *more: Any) -> list[np.ndarray]:
    """The output of fn, and the gradient of rows for the output gradient dy."""
    x = fastnn.tensor(rows, requires_grad=True)
    y = fn(x, *more)
    if not y.requires_grad:
        return [y.numpy()]
    y.backward(fastnn.tensor(dy[:, :int(np.prod(y.shape[1:]))].reshape(y.shape)))
    return [y.detach().numpy(), x.grad.numpy()]


def check(fn: Callable[..., Any], *extra: np.ndarray, columns: int = 37) -> None:
    x, dy = normal(ROWS, columns, seed=3), normal(ROWS, 1400, seed=4)
    for isa in _core.isa_names():
        _core.select_isa(isa)
        fastnn.set_num_threads(2)
        whole = results(fn, x, dy, *map(fastnn.tensor, extra))
        for cut in CUTS:
            more = [fastnn.tensor(e[cut]) for e in extra]
            for team in (False, True):
                if team:
                    with on_a_team():
                        part = results(fn, x[cut], dy[cut], *more)
                else:
                    part = results(fn, x[cut], dy[cut], *more)
                for what, a, b in zip(("output", "gradient"), whole, part, strict=False):
                    assert a[cut].tobytes() == b.tobytes(), f"{isa}: {what} of rows {cut}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows(name: str) -> None:
    check(FUNCTIONS[name])


@pytest.mark.parametrize("name", ["sum", "softmax", "logsumexp", "linear", "instance_norm"])
def test_long_rows(name: str) -> None:
    """Rows beyond a block of the reduction, or of the product's depth."""
    weight = given(20, 1301)
    check({**FUNCTIONS, "linear": lambda x: F.linear(x, weight)}[name], columns=1301)


LOSSES = {n: getattr(F, n) for n in (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits")}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_without_reduction(name: str) -> None:
    loss = LOSSES[name]
    check(lambda x, t: loss(x, t, reduction="none"), np.abs(normal(ROWS, 37, seed=5)) % 1)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_class_losses_without_reduction(name: str) -> None:
    loss = getattr(F, name)
    check(lambda x, t: loss(x, t, reduction="none"), CLASSES)


def test_soft_cross_entropy_without_reduction() -> None:
    check(lambda x, t: F.cross_entropy(x, t, reduction="none"),
          np.abs(normal(ROWS, 37, seed=5)) % 1)


def test_embedding() -> None:
    whole = F.embedding(fastnn.tensor(CLASSES), TABLE).numpy()
    for cut in CUTS:
        assert F.embedding(fastnn.tensor(CLASSES[cut]), TABLE).numpy().tobytes() == (
            whole[cut].tobytes())


def test_a_batch_that_leaks_into_its_rows_is_found() -> None:
    """A planted fault: the whole batch moves each row in the last place."""
    with pytest.raises(AssertionError, match="of rows"):
        check(lambda x: x + x.sum() * 1e-6)
