"""What fused records and kept panels of weights promise: the bits of the plain way, at any time."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest

import fastnn
from fastnn import _core
from fastnn.nn import functional as F

pytestmark = pytest.mark.skipif(os.environ.get("FASTNN_BACKEND") == "numpy",
                                reason="NumPy sums in its own order and reads no panels")

ACTIVATIONS = {
    None: lambda z: z, "relu": F.relu, "gelu": F.gelu, "silu": F.silu, "tanh": fastnn.tanh,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"), "sigmoid": fastnn.sigmoid,
}


def same_bits(a, b) -> bool:
    return a.detach().numpy().tobytes() == b.detach().numpy().tobytes()


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 300, 130), (150, 70, 90), (300, 33, 1), (3, 40, 1)])
def test_fused_has_the_bits_of_its_parts(shape, act, residual):
    m, k, n = shape
    rng = np.random.default_rng(5)
    sizes = [(m, k), (n, k), (n,)] + [(m, n)] * residual
    arrays = [rng.standard_normal(s).astype("f") for s in sizes]
    fused = [fastnn.tensor(a, requires_grad=True) for a in arrays]
    plain = [fastnn.tensor(a, requires_grad=True) for a in arrays]
    y = F.linear(*fused[:3], activation=act, residual=fused[3] if residual else None)
    z = F.linear(*plain[:3])
    expected = ACTIVATIONS[act](z + plain[3] if residual else z)
    assert same_bits(y, expected)
    slope = fastnn.tensor(rng.standard_normal((m, n)).astype("f"))
    (y * slope).sum().backward()
    (expected * slope).sum().backward()
    for a, b in zip(fused, plain, strict=True):
        assert same_bits(a.grad, b.grad)


# ---------------------------------------------------------------- packs

N, K = 150, 140


@pytest.fixture
def weight():
    with fastnn.no_grad():
        yield fastnn.randn(N, K)


def product(w, rows=3):
    """x wᵀ, checked against the product without panels."""
    x = fastnn.tensor(np.random.default_rng(rows).standard_normal((rows, w.shape[1])).astype("f"))
    y = F.linear(x, w)
    fresh = fastnn.tensor(np.array(w.detach().clone().numpy()))
    assert same_bits(y, F.linear(x, fresh))
    return y


def used(w) -> bool:
    """Whether the next product takes panels of w."""
    _core.capture(True)
    F.linear(fastnn.ones(1, w.shape[1]), w)
    return bool(_core.capture(False)[-1][4][5])


def test_the_second_use_packs_and_the_copy_counts_as_memory(weight):
    before, live = fastnn.limits.packed_bytes(), fastnn.live_bytes()
    product(weight)
    gc.collect()
    assert (fastnn.limits.packed_bytes(), fastnn.live_bytes()) == (before, live)
    for rows in (1, 2, 5, 14, 15, 33, 128):
        product(weight, rows)
    assert used(weight)
    size = -(-N // 32) * 32 * K * 4
    assert fastnn.limits.packed_bytes() == before + size
    assert fastnn.live_bytes() >= live + size
    del weight


def test_it_goes_with_the_weight(weight):
    before = fastnn.limits.packed_bytes()
    w = weight.clone()
    assert not used(w) and used(w)
    assert fastnn.limits.packed_bytes() > before
    del w
    assert fastnn.limits.packed_bytes() == before


def change_in_place(w):
    w.mul_(2.0)


def change_an_element(w):
    w[3, 5] = 7.0


def change_through_a_view(w):
    w[4].fill_(3.0)


def copy_into(w):
    w.copy_(fastnn.randn(N, K))


def replace_data(w):
    w.data = fastnn.randn(N, K)


CHANGES = [change_in_place, change_an_element, change_through_a_view, copy_into, replace_data]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_a_changed_weight_is_read_anew(weight, change):
    product(weight)
    product(weight)
    assert used(weight)
    change(weight)
    product(weight)
    product(weight)
    assert used(weight)
    change(weight)
    product(weight)


def numpy_array(w):
    return w.numpy()


def buffer(w):
    return memoryview(w)


def dlpack(w):
    return np.from_dlpack(w)


def array_of_a_view(w):
    return w[2:].detach().numpy()


EXPORTS = [numpy_array, buffer, dlpack, array_of_a_view]


@pytest.mark.parametrize("export", EXPORTS, ids=lambda f: f.__name__)
def test_memory_that_others_may_write_is_never_packed(weight, export):
    """A write there leaves the version as it is, so a copy would be a silent lie."""
    product(weight)
    product(weight)
    assert used(weight)
    outside = export(weight)                    # while a copy exists
    for value in (5.0, 6.0, 7.0):
        outside[1, 1] = value
        product(weight)
        assert not used(weight)
    before = weight.clone()
    del outside
    product(weight)
    assert used(weight) and same_bits(weight, before)


def test_foreign_memory_is_never_packed(weight):
    array = np.random.default_rng(0).standard_normal((N, K)).astype("f")
    w = fastnn.from_numpy(array)
    for value in (1.0, 2.0, 3.0):
        array[0, 0] = value
        product(w)
        assert not used(w)


def test_a_weight_in_training_is_not_packed():
    w = fastnn.randn(N, K).requires_grad_(True)
    for _ in range(3):
        assert not used(w)


def test_an_optimizer_step_drops_it():
    layer = fastnn.nn.Linear(K, N)
    frozen = fastnn.nn.Linear(K, N)
    optimizer = fastnn.optim.Adam([*layer.parameters(), *frozen.parameters()], lr=0.1)
    for _ in range(3):
        with fastnn.no_grad():
            for _ in range(3):
                product(layer.weight)
                product(frozen.weight)
            assert used(layer.weight) and used(frozen.weight)
        optimizer.zero_grad()
        layer(fastnn.ones(2, K)).sum().backward()
        optimizer.step()


def test_gradients_used_as_weights_are_read_anew():
    w = fastnn.randn(N, K).requires_grad_(True)
    optimizer = fastnn.optim.SGD([w], lr=0.1)
    for scale in (1.0, 2.0, 3.0):
        optimizer.zero_grad()
        F.linear(scale * fastnn.ones(2, K), w).sum().backward()
        with fastnn.no_grad():
            for _ in range(3):
                product(w.grad)
            fastnn.nn.utils.clip_grad_norm_([w], 1.0)
            product(w.grad)


def test_views_have_panels_of_their_own(weight):
    parts = [weight[:70], weight[70:], weight]
    for _ in range(3):
        for part in parts:
            product(part)


def test_the_limit_and_the_switch(weight):
    most = fastnn.limits.max_packed_bytes()
    before = fastnn.limits.packed_bytes()
    try:
        fastnn.limits.set_max_packed_bytes(before + 1000)
        assert not any(used(weight) for _ in range(3))
        fastnn.limits.set_max_packed_bytes(most)
        used(weight)
        assert used(weight)
        fastnn.limits.set_max_packed_bytes(0)
        assert not used(weight)
        assert fastnn.limits.packed_bytes() == before
    finally:
        fastnn.limits.set_max_packed_bytes(most)
    with pytest.raises(ValueError, match="need a number of bytes"):
        fastnn.limits.set_max_packed_bytes(-1)


def test_without_memory_for_it_the_product_is_the_same(weight):
    product(weight)
    x = fastnn.ones(2, K)
    expected = F.linear(x, weight.clone())
    _core.fail_alloc_after(1)                   # the first allocation is that of the panels
    try:
        assert same_bits(F.linear(x, weight), expected)
    finally:
        _core.fail_alloc_after(0)
