"""Optimizers: kernels, groups, failures, clipping. What they compute is also in cases and peers."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from optimizers import (
    address,
    arrays,
    bits,
    every_config,
    launches,
    set_gradients,
    train,
    weights,
)

import fastnn
from fastnn import _core, optim, reference
from fastnn.errors import DTypeError, ShapeError, UnsupportedOpError
from fastnn.nn import utils

# ---- what is computed ----


@every_config
def test_native_and_numpy_agree(make):
    """20 steps; float32 rounding differs by a few units in 2**-24 of the largest weight a step."""
    results = []
    native = _core.use_reference
    for table in (None, reference.table(list(_core.OPS))):
        params = weights()
        native(table)
        try:
            train(make(params), params, 20)
        finally:
            native(None)
        results.append(arrays(params))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=20 * 4 * 2.0**-24 * 5)


@every_config
def test_bits_do_not_depend_on_threads(make):
    results = set()
    for threads in (1, 2, 3, 7):
        fastnn.set_num_threads(threads)
        params = weights()
        results.add(train(make(params), params, 10))
    assert len(results) == 1


@every_config
def test_bits_do_not_depend_on_place(make):
    """All in the arena, all outside, only gradients outside, and every other parameter outside."""
    params = weights()
    together = train(make(params), params, 5)

    for held in (slice(None), slice(0, None, 2)):
        params = weights()
        views = [p.detach() for p in params[held]]
        assert train(make(params), params, 5) == together
        assert [address(v) for v in views] == [address(p) for p in params[held]]

    params = weights()
    optimizer = make(params)
    for k in range(5):
        optimizer.zero_grad()
        set_gradients(params, k)
        for p in params:
            p.grad = fastnn.tensor(p.grad)
        optimizer.step()
    assert bits(params) == together


@every_config
def test_one_kernel_per_step(make):
    params = weights()
    optimizer = make(params)
    set_gradients(params, 0)
    assert len(launches(optimizer.step)) == 1
    optimizer.zero_grad()
    set_gradients(params, 1)
    assert len(launches(optimizer.step)) == 1


def test_lion_by_hand():
    w = fastnn.tensor([1.0, 1.0, 1.0, np.nan], requires_grad=True)
    w.grad = fastnn.tensor([2.0, -3.0, 0.0, 1.0])
    optimizer = optim.Lion([w], lr=0.25, betas=(0.5, 0.75), weight_decay=1.0)
    optimizer.step()
    np.testing.assert_array_equal(w.detach().numpy(), [0.5, 1.0, 0.75, np.nan])
    w.grad = fastnn.tensor([-0.5, np.nan, 0.0, 1.0])    # m = 0.5, -0.75, 0: update sign(0), NaN, 0
    optimizer.step()
    np.testing.assert_array_equal(w.detach().numpy(), [0.375, np.nan, 0.5625, np.nan])


def test_adam_first_step_is_lr_times_sign():
    """m / sqrt(v) after the corrections is g / |g|, even for a beta float32 rounds to 1."""
    w = fastnn.tensor([1.0, 1.0], requires_grad=True)
    w.grad = fastnn.tensor([1e-3, -1e3])
    optim.Adam([w], lr=0.5, betas=(0.9, 1 - 1e-9), eps=0).step()
    np.testing.assert_allclose(w.detach().numpy(), [0.5, 1.5], rtol=1e-6)


def test_centered_rmsprop_survives_a_constant_gradient():
    """v - a² rounds below zero when the variance vanishes; its root must not be NaN."""
    w = fastnn.tensor(np.linspace(-1, 1, 64), requires_grad=True)
    optimizer = optim.RMSprop([w], centered=True, alpha=0.5)
    for _ in range(60):
        w.grad = fastnn.tensor(np.linspace(0.1, 3, 64))
        optimizer.step()
    assert np.isfinite(w.detach().numpy()).all()


def test_options_may_change_between_steps():
    params, other = weights(), weights()
    a, b = optim.Adam(params, lr=0.1), optim.Adam(other, lr=0.5, betas=(0.8, 0.99))
    train(a, params, 3)
    b.load_state_dict({**a.state_dict(), "param_groups": b.state_dict()["param_groups"]})
    for p, q in zip(params, other, strict=True):
        q.data = fastnn.tensor(p)
    a.param_groups[0].update(lr=0.5, betas=(0.8, 0.99))
    assert train(a, params, 3, 3) == train(b, other, 3, 3)


def test_groups_have_their_own_options():
    a, b = weights([(3,), (4,)])
    optimizer = optim.SGD([{"params": [a], "lr": 0.5}, {"params": b}], lr=0.25)
    before = arrays([a, b])
    a.grad, b.grad = fastnn.tensor(np.ones(3)), fastnn.tensor(np.ones(4))
    optimizer.step()
    np.testing.assert_array_equal(arrays([a])[0], before[0] - np.float32(0.5))
    np.testing.assert_array_equal(arrays([b])[0], before[1] - np.float32(0.25))
    c = weights([(2,)])[0]
    optimizer.add_param_group({"params": c, "lr": 1.0})
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.25, 1.0]
    c.grad = fastnn.tensor(np.ones(2))
    before = arrays([c])[0]
    optimizer.zero_grad()
    c.grad = fastnn.tensor(np.ones(2))
    optimizer.step()
    np.testing.assert_array_equal(arrays([c])[0], before - 1)


def test_named_parameters():
    a, b = weights([(3,), (4,)])
    optimizer = optim.SGD([("a", a), ("b", b)])
    assert optimizer.param_groups[0]["param_names"] == ["a", "b"]
    assert optimizer.param_groups[0]["params"] == [a, b]


def test_closure_runs_with_gradients():
    w = fastnn.tensor([2.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = w * w
        loss.backward()
        return loss

    _core.set_grad_enabled(False)
    assert optimizer.step(closure).item() == 4.0
    assert not _core.grad_enabled()
    assert w.item() == 1.0


def test_a_custom_optimizer_uses_state():
    class Signs(optim.Optimizer):
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    state["step"] = state.get("step", 0) + 1
                    p.detach().numpy()[...] -= group["lr"] * np.sign(p.grad.numpy())

    w = fastnn.tensor([1.0, 1.0], requires_grad=True)
    w.grad = fastnn.tensor([3.0, -3.0])
    optimizer = Signs([w], {"lr": 0.5})
    optimizer.step()
    assert w.tolist() == [0.5, 1.5]
    again = Signs([w], {"lr": 0.25})
    again.load_state_dict(optimizer.state_dict())
    assert again.state[w] == {"step": 1} and again.param_groups[0]["lr"] == 0.5


# ---- who is stepped ----


@every_config
def test_parameters_without_gradient_are_skipped(make):
    """Each steps as if it were alone, with its own step count."""
    params, alone = weights(), weights()
    optimizer, each = make(params), [make([p]) for p in alone]
    pattern = [(0, 1, 2, 3, 4, 5), (1, 3, 4), (0, 1, 2, 3, 4, 5), (0, 5), (2,), (0, 1, 2, 3, 4, 5)]
    for k, chosen in enumerate(pattern):
        optimizer.zero_grad()
        set_gradients([params[i] for i in chosen], k)
        optimizer.step()
        for i in chosen:
            each[i].zero_grad()
        set_gradients([alone[i] for i in chosen], k)
        for i in chosen:
            each[i].step()
        assert bits(params) == bits(alone)
    if optimizer.counted:
        steps = [optimizer.state[p]["step"].item() for p in params]
        assert steps == [sum(i in chosen for chosen in pattern) for i in range(len(params))]


def test_frozen_parameters_stay():
    params = weights()
    params[1].requires_grad_(False)
    before = bits(params[1:2])
    optimizer = optim.AdamW(params)
    for _ in range(2):
        optimizer.zero_grad()
        set_gradients([p for p in params if p.requires_grad], 0)
        optimizer.step()
    assert bits(params[1:2]) == before
    assert params[1] not in optimizer.state


def test_nothing_to_do():
    optimizer = optim.Adam([{"params": []}, {"params": weights([(0, 4)])}])
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    assert dict(optimizer.state) == {}


# ---- what is refused ----


def test_bad_parameters():
    w = weights([(2,)])[0]
    computed = w * w
    for error, params in (
        (ValueError, []), (TypeError, w), (TypeError, [1.0]), (ValueError, [computed]),
        (DTypeError, [fastnn.tensor([1, 2])]), (ValueError, [w, w]),
        (ValueError, [{"params": [w]}, {"params": [w]}]), (TypeError, [{"params": {w}}]),
    ):
        with pytest.raises(error):
            optim.Adam(params)
    with pytest.raises(ValueError, match="empty parameter list"):
        optim.SGD(iter(()))


@pytest.mark.parametrize("make", [
    partial(optim.SGD, lr=-1), partial(optim.SGD, momentum=-1), partial(optim.SGD, nesterov=True),
    partial(optim.SGD, lr=float("nan")), partial(optim.Adam, betas=(1.0, 0.9)),
    partial(optim.Adam, betas=(0.9,)), partial(optim.AdamW, eps=-1),
    partial(optim.RMSprop, alpha=-1), partial(optim.Adagrad, lr_decay=-1),
    partial(optim.Adagrad, initial_accumulator_value=-1), partial(optim.Lion, weight_decay=-1),
])
def test_bad_options(make):
    with pytest.raises(ValueError):
        make(weights([(2,)]))


def test_flags_of_torch():
    params = weights([(2,)])
    optim.Adam(params, foreach=True, fused=True, capturable=True)
    with pytest.raises(UnsupportedOpError, match="differentiable"):
        optim.Adam(params, differentiable=True)


def test_a_failed_step_changes_nothing():
    a, b = weights([(3,), (4,)])
    optimizer = optim.Adam([{"params": [a]}, {"params": [b]}])
    set_gradients([a, b], 0)
    before = bits([a, b])
    group = optimizer.param_groups[1]
    for wrong in ({"lr": "fast"}, {"betas": (0.9, None)}, {"params": [b, a]}):
        right = {k: group[k] for k in wrong}
        group.update(wrong)
        with pytest.raises((TypeError, ValueError)):
            optimizer.step()
        group.update(right)
        assert bits([a, b]) == before and dict(optimizer.state) == {}
    optimizer.step()
    assert bits([a, b]) != before


def test_read_only_memory_is_refused():
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    a, b = weights([(3,)])[0], fastnn.from_numpy(array).requires_grad_()
    optimizer = optim.SGD([a, b])
    before = bits([a])
    set_gradients([a, b], 0)
    with pytest.raises(ValueError, match="read-only"):
        optimizer.step()
    assert bits([a]) == before


def test_no_memory_for_states():
    """Whichever allocation fails, nothing has changed and the next step is the right one."""
    params = weights()
    expected = train(optim.Adam(params), params, 1)
    for n in range(1, 8):
        params = weights()
        optimizer = optim.Adam(params)
        set_gradients(params, 0)
        before = bits(params)
        _core.fail_alloc_after(n)
        try:
            optimizer.step()
        except MemoryError:
            assert bits(params) == before and dict(optimizer.state) == {}
            _core.fail_alloc_after(0)
            optimizer.step()
        _core.fail_alloc_after(0)
        assert bits(params) == expected


# ---- clipping ----


def with_gradients(together):
    params = weights()
    optimizer = optim.SGD(params) if together else None
    set_gradients(params, 0)
    return params, optimizer


@pytest.mark.parametrize("kind", [1, 2, np.inf])
def test_clip_grad_norm(kind):
    grads, norms = set(), set()
    for together in (True, False):
        for threads in (1, 2, 3, 7):
            fastnn.set_num_threads(threads)
            params, _ = with_gradients(together)
            flat = np.concatenate([p.grad.numpy().ravel() for p in params]).astype(np.float64)
            norms.add(utils.clip_grad_norm_(params, 3.0, kind).item())
            after = np.concatenate([p.grad.numpy().ravel() for p in params])
            grads.add(after.tobytes())
    norm = np.linalg.norm(flat, kind)
    assert len(grads) == len(norms) == 1                # neither place nor threads show
    # 64 additions in a row per lane, then float64: 64 * 2**-24 at worst
    np.testing.assert_allclose(norms.pop(), norm, rtol=4e-6)
    np.testing.assert_allclose(after, flat * (3 / (norm + 1e-6)), rtol=1e-5)


def test_clip_grad_norm_leaves_small_gradients():
    params, _ = with_gradients(True)
    before = [p.grad.numpy().copy() for p in params]
    params[1].grad = None
    utils.clip_grad_norm_(iter(params), 1e6)
    for k in (0, 2, 3, 4, 5):
        np.testing.assert_array_equal(params[k].grad.numpy(), before[k])


def test_clip_grad_norm_of_nothing():
    assert utils.clip_grad_norm_([], 1.0).item() == 0
    assert utils.clip_grad_norm_(weights([(2,)]), 1.0).item() == 0


def test_clip_grad_norm_nonfinite():
    w = weights([(3,)])[0]
    for bad in (np.inf, np.nan):
        w.grad = fastnn.tensor([1.0, bad, 2.0])
        with pytest.raises(RuntimeError, match="finite"):
            utils.clip_grad_norm_(w, 1.0, error_if_nonfinite=True)
        np.testing.assert_array_equal(w.grad.numpy(), [1.0, bad, 2.0])
    for kind in (1, 2, np.inf):
        w.grad = fastnn.tensor([1.0, np.nan, np.inf])
        assert np.isnan(utils.clip_grad_norm_(w, 1.0, kind).item())
        assert np.isnan(w.grad.numpy()).all()
    with pytest.raises(ValueError, match="norm_type"):
        utils.clip_grad_norm_(w, 1.0, norm_type=3)


@pytest.mark.parametrize("together", [True, False])
def test_clip_grad_value(together):
    params, _ = with_gradients(together)
    before = [p.grad.numpy().copy() for p in params]
    utils.clip_grad_value_(params, 0.5)
    for p, g in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), np.clip(g, -0.5, 0.5))


def test_parameters_to_vector():
    params = weights([(2, 3), (4,), (0,)])
    vector = utils.parameters_to_vector(params)
    np.testing.assert_array_equal(
        vector.detach().numpy(), np.concatenate([a.ravel() for a in arrays(params)]))
    vector.backward(fastnn.tensor(np.arange(10.0)))
    assert params[0].grad.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert params[1].grad.tolist() == [6, 7, 8, 9]
    with pytest.raises(ValueError):
        utils.parameters_to_vector([])


def test_vector_to_parameters():
    params = weights([(2, 3), (4,), (0,)])
    utils.vector_to_parameters(fastnn.tensor(np.arange(10.0)), params)
    assert params[0].tolist() == [[0, 1, 2], [3, 4, 5]] and params[1].tolist() == [6, 7, 8, 9]
    with pytest.raises(ShapeError):
        utils.vector_to_parameters(fastnn.tensor(np.ones(9)), params)
