"""What images may be made of: layouts, other types, NaN and infinity, tensors changed too early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bad import F

import fastnn
from fastnn.errors import DTypeError, GraphError

rng = np.random.default_rng(0)
X = rng.standard_normal((2, 4, 6, 6)).astype(np.float32)
W = rng.standard_normal((8, 4, 3, 3)).astype(np.float32)
BACK = np.ascontiguousarray(W.swapaxes(0, 1))
FUNCTIONS: dict[str, tuple[Callable[..., Any], np.ndarray]] = {
    "conv2d": (F.conv2d, W), "groups": (lambda x, w: F.conv2d(x, w[:, :1], groups=4), W),
    "conv_transpose2d": (F.conv_transpose2d, BACK), "conv2d_act": (F.conv2d_act, W),
    "max_pool2d": (lambda x, w: F.max_pool2d(x, 2), W),
    "avg_pool2d": (lambda x, w: F.avg_pool2d(x, 3, 2, 1), W),
    "adaptive_avg": (lambda x, w: F.adaptive_avg_pool2d(x, (2, 5)), W),
    "adaptive_max": (lambda x, w: F.adaptive_max_pool2d(x, (2, 5)), W),
    "interpolate": (lambda x, w: F.interpolate(x, 9, mode="bilinear"), W),
    "unfold": (lambda x, w: F.unfold(x, 3), W),
    "batch_norm": (lambda x, w: F.batch_norm(x, None, None, training=True), W),
    "group_norm": (lambda x, w: F.group_norm(x, 2), W),
    "instance_norm": (lambda x, w: F.instance_norm(x), W),
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)
LAYOUTS = {
    "negative": lambda a: a[::-1, ::-1, ::-1, ::-1], "fortran": np.asfortranarray,
    "big-endian": lambda a: a.astype(">f4"), "float64": lambda a: a.astype(np.float64),
    "repeated": lambda a: np.broadcast_to(a[:1], a.shape),
    "channels-last": lambda a: np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "misaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(
        np.float32).reshape(a.shape),
    "part": lambda a: np.repeat(a, 2, 3)[..., ::2], "lists": lambda a: a.tolist(),
}


@every_function
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_bits_of_a_plain_array(name: str, layout: str) -> None:
    f, w = FUNCTIONS[name]
    x = LAYOUTS[layout](X)
    plain = fastnn.tensor(np.ascontiguousarray(x, np.float32))
    want = f(plain, fastnn.tensor(w)).numpy()
    assert f(fastnn.tensor(x), fastnn.tensor(w)).numpy().tobytes() == want.tobytes()
    if name != "groups":
        assert f(x, LAYOUTS["fortran"](w)).numpy().tobytes() == want.tobytes()


@every_function
@pytest.mark.parametrize("kind", ["object", "complex64", "M8[s]", "S1", "f4,f4", "masked",
                                  "float16", "int64", "bool"])
def test_other_types_are_refused(name: str, kind: str) -> None:
    f, w = FUNCTIONS[name]
    x = np.ma.masked_array(X, X > 0) if kind == "masked" else np.zeros(X.shape, kind)
    with pytest.raises(DTypeError, match="got .*; need"):
        f(x, fastnn.tensor(w))


SEEN = ["conv2d", "groups", "conv_transpose2d", "max_pool2d", "avg_pool2d", "adaptive_avg",
        "adaptive_max", "interpolate", "unfold"]


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_reaches_the_outputs_that_see_it_and_no_others(
        name: str, value: float) -> None:
    """Those that follow a large number in its place; a maximum hides minus infinity."""
    f, w = FUNCTIONS[name]
    spoiled, moved = X.copy(), X.copy()
    spoiled[1, 2, 3, 3], moved[1, 2, 3, 3] = value, 1e6
    plain, got, seen = (f(fastnn.tensor(a), fastnn.tensor(w)).numpy() for a in (X, spoiled, moved))
    if value == -np.inf and name in ("max_pool2d", "adaptive_max"):
        assert np.isfinite(got).all()
        return
    np.testing.assert_array_equal(~np.isfinite(got), seen != plain)
    assert np.isnan(got).any() == np.isnan(value)
    np.testing.assert_array_equal(got[seen == plain], plain[seen == plain])


def test_winograd_loses_nothing_that_is_not_finite() -> None:
    """There it reaches the whole tile of 4 by 4 outputs; `exact_conv` keeps it to its windows."""
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((1, 64, 24, 24), (64, 64, 3, 3)))
    x[0, 5, 9, 9] = np.nan
    with fastnn.exact_conv():
        exact = np.isnan(F.conv2d(x, w, padding=1).numpy())
    got = np.isnan(F.conv2d(x, w, padding=1).numpy())
    assert exact.any((0, 1)).sum() == 9 and got[exact].all()
    assert got.any((0, 1)).sum() <= 64


@every_function
@pytest.mark.parametrize("which", [0, 1])
def test_a_tensor_changed_before_backward(name: str, which: int) -> None:
    """GraphError, or the gradients of what it was, where backward needs it no more."""
    f, w = FUNCTIONS[name]
    found = []
    for change in (False, True):
        leaves = [fastnn.tensor(a, requires_grad=True) for a in (X, w)]
        inputs = [t * 1 for t in leaves]
        loss = (f(*inputs) * 2).sum()
        if change:
            with fastnn.no_grad():
                inputs[which].mul_(3)
        try:
            loss.backward()
        except GraphError as e:
            assert change and "version" in str(e)
            return
        found.append([t.grad.numpy().tobytes() for t in leaves if t.grad is not None])
    assert found[0] == found[1]
