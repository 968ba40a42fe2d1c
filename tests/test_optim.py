"""Optimizers: arenas, groups, state, failures. What they compute is also in cases and peers."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import pytest

import fastnn
from fastnn import _core, nn, optim, reference
from fastnn.errors import DTypeError, GraphError, ShapeError, UnsupportedOpError
from fastnn.nn import utils

SHAPES = [(13, 7), (5,), (1,), (64, 33), (0, 3), (20001,)]
CONFIGS = {
    "sgd": optim.SGD,
    "sgd-momentum": partial(optim.SGD, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "sgd-nesterov": partial(optim.SGD, lr=0.1, momentum=0.9, nesterov=True, maximize=True),
    "rmsprop": partial(optim.RMSprop, weight_decay=0.01),
    "rmsprop-all": partial(optim.RMSprop, momentum=0.9, centered=True),
    "adagrad": partial(optim.Adagrad, lr_decay=0.1, initial_accumulator_value=0.1),
    "adam": partial(optim.Adam, weight_decay=0.01),
    "adam-amsgrad": partial(optim.Adam, amsgrad=True, maximize=True),
    "adamw": optim.AdamW,
    "lion": partial(optim.Lion, lr=1e-3, weight_decay=0.1),
}
every_config = pytest.mark.parametrize("make", CONFIGS.values(), ids=CONFIGS)


def weights(shapes=SHAPES, seed=0):
    rng = np.random.default_rng(seed)
    return [fastnn.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]


def set_gradients(params, seed):
    """Random gradients through backward, so that they land where backward puts them."""
    rng = np.random.default_rng(1000 + seed)
    for p in params:
        g = fastnn.tensor(rng.standard_normal(p.shape))
        (p * g).backward(fastnn.tensor(np.ones(p.shape)))


def arrays(params):
    return [p.detach().numpy().copy() for p in params]


def bits(params):
    return b"".join(a.tobytes() for a in arrays(params))


def train(optimizer, params, steps, first=0):
    for k in range(first, first + steps):
        optimizer.zero_grad()
        set_gradients(params, k)
        optimizer.step()
    return bits(params)


def launches(function):
    """The ops that function launches."""
    _core.capture(True)
    try:
        function()
    finally:
        records = _core.capture(False)
    return [r[0] for r in records]


def address(t):
    return t.detach().numpy().ctypes.data


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


# ---- memory: views never diverge ----


def test_what_was_made_before_keeps_showing_the_parameter():
    source = np.ones(4, np.float32)
    shared = fastnn.from_numpy(source).requires_grad_()
    viewed, exported, free = weights([(4,)] * 3)
    view, array = viewed.detach(), exported.detach().numpy()
    places = [address(p) for p in (shared, viewed, exported, free)]
    params = [shared, viewed, exported, free]
    optimizer = optim.SGD(params, lr=0.5)
    set_gradients(params, 0)
    optimizer.step()
    assert [address(p) for p in params[:3]] == places[:3] and address(free) != places[3]
    np.testing.assert_array_equal(source, shared.detach().numpy())
    np.testing.assert_array_equal(view.numpy(), viewed.detach().numpy())
    np.testing.assert_array_equal(array, exported.detach().numpy())
    del view, array
    optimizer.step()                    # nobody looks any more: they move in
    assert address(viewed) != places[1] and address(exported) != places[2]
    assert address(shared) == places[0]


def test_a_graph_in_flight_keeps_its_values():
    w = weights([(4,)])[0]
    x = fastnn.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = w * x
    optim.SGD([w])
    y.backward(fastnn.tensor(np.ones(4)))
    np.testing.assert_array_equal(x.grad.numpy(), w.detach().numpy())


def test_views_made_afterwards_show_the_parameter():
    params = weights()
    optimizer = optim.SGD(params, lr=0.5)
    views = [p.detach() for p in params]
    train(optimizer, params, 2)
    assert bits(params) == bits(views)


def test_a_parameter_of_two_optimizers():
    """Each step is the one its optimizer would make, whichever was made last or is gone."""
    params, expected = weights(), weights()
    momentum = partial(optim.SGD, lr=0.1, momentum=0.9)
    first, second = momentum(params), optim.Adam(params)
    views = [p.detach() for p in expected]                 # keeps these outside of any arena
    one, two = momentum(expected), optim.Adam(expected)
    for k in range(3):
        for a, b in ((first, one), (second, two)):
            assert train(a, params, 1, k) == train(b, expected, 1, k)
    assert bits(views) == bits(params)
    for optimizer, stepped in ((second, params), (two, expected)):
        optimizer.zero_grad()
        set_gradients(stepped, 9)
    assert len(launches(second.step)) == 1
    two.step()
    del second
    train(first, params, 1)
    train(one, expected, 1)
    assert bits(params) == bits(expected)


def test_two_optimizers_share_one_parameter():
    a, b, c = weights([(3,), (3,), (3,)])
    optimizers = optim.SGD([a, b], lr=0.5), optim.SGD([b, c], lr=0.25)
    before = arrays([a, b, c])
    for p in (a, b, c):
        p.grad = fastnn.tensor(np.ones(3))
    for o in optimizers:
        o.step()
    for p, start, moved in zip((a, b, c), before, (0.5, 0.75, 0.25), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), start - moved, rtol=1e-6)


def test_tensors_that_share_memory_each_step_it():
    a = fastnn.tensor([1.0, 1.0], requires_grad=True)
    b = a.detach().requires_grad_()
    optimizer = optim.SGD([a, b], lr=0.25)
    a.grad = b.grad = fastnn.tensor([1.0, 2.0])
    optimizer.step()
    assert a.tolist() == b.tolist() == [0.5, 0.0]


def test_replaced_data_is_what_is_stepped():
    params = weights([(3,), (4,)])
    optimizer = optim.SGD(params, lr=0.5)
    kept = fastnn.tensor([4.0, 5.0, 6.0])
    params[0].data = kept
    set_gradients(params, 0)
    before, g = kept.numpy().copy(), params[0].grad.numpy().copy()
    optimizer.step()
    np.testing.assert_allclose(kept.numpy(), before - 0.5 * g, rtol=1e-6)
    assert bits([kept]) == bits(params[:1])


def test_a_kept_gradient_is_not_overwritten():
    params = weights([(3,), (4,)])
    optimizer = optim.SGD(params)
    set_gradients(params, 0)
    kept, place = params[0].grad, address(params[1].grad)
    values = kept.numpy().copy()
    optimizer.zero_grad()
    set_gradients(params, 1)
    np.testing.assert_array_equal(kept.numpy(), values)
    assert address(params[0].grad) != address(kept)
    assert address(params[1].grad) == place
    del kept
    optimizer.zero_grad()
    set_gradients(params, 2)
    assert address(params[1].grad) - address(params[0].grad) == 64    # side by side again


def test_gradients_accumulate_in_the_arena():
    params = weights()
    optimizer = optim.SGD(params)
    set_gradients(params, 0)
    once = [p.grad.numpy().copy() for p in params]
    set_gradients(params, 0)
    for p, g in zip(params, once, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), 2 * g)
    optimizer.zero_grad(set_to_none=False)
    for p in params:
        assert not p.grad.numpy().any()


def test_a_step_between_forward_and_backward_is_noticed():
    """Also under neighbours in the arena: only what was stepped counts as changed."""
    a, b = weights([(3,), (3,)])
    x = fastnn.tensor([1.0, 2.0, 3.0], requires_grad=True)
    optimizer = optim.SGD([a, b])
    y, z = a * x, b * x
    a.grad = fastnn.tensor(np.ones(3))
    set_gradients([a], 0)
    optimizer.step()
    z.backward(fastnn.tensor(np.ones(3)))
    with pytest.raises(GraphError, match="version"):
        y.backward(fastnn.tensor(np.ones(3)))


def test_memory_does_not_grow():
    params = weights()
    optimizer = optim.Adam(params)
    train(optimizer, params, 3)
    before = fastnn.live_bytes()
    train(optimizer, params, 50)
    assert fastnn.live_bytes() == before
    del optimizer, params
    assert fastnn.live_bytes() < before


# ---- dictionaries ----


@every_config
def test_resume_is_exact(make):
    params = weights()
    optimizer = make(params)
    train(optimizer, params, 3)
    saved = optimizer.state_dict()
    saved["state"] = {                  # as a file would give it back: arrays, and lists in groups
        i: {k: v.numpy().copy() for k, v in s.items()} for i, s in saved["state"].items()
    }
    for group in saved["param_groups"]:
        group.update({k: list(v) for k, v in group.items() if isinstance(v, tuple)})
    other = [fastnn.tensor(p, requires_grad=True) for p in params]
    again = make(other)
    train(again, other, 1)                                   # must all be replaced
    for p, q in zip(params, other, strict=True):
        q.data = fastnn.tensor(p)
    again.load_state_dict(saved)
    assert train(again, other, 4, 3) == train(optimizer, params, 4, 3)


def test_state_dict_layout():
    a, b, c = weights([(2,), (3,), (4,)])
    optimizer = optim.Adam([{"params": [a, b]}, {"params": [c], "lr": 0.5}])
    assert optimizer.state_dict()["state"] == {}
    set_gradients([a, c], 0)
    optimizer.step()
    saved = optimizer.state_dict()
    assert list(saved) == ["state", "param_groups"]
    assert {i: list(s) for i, s in saved["state"].items()} == {
        0: ["step", "exp_avg", "exp_avg_sq"], 2: ["step", "exp_avg", "exp_avg_sq"]}
    assert saved["state"][0]["step"].shape == () and saved["state"][2]["exp_avg"].shape == (4,)
    assert [g["params"] for g in saved["param_groups"]] == [[0, 1], [2]]
    assert [g["lr"] for g in saved["param_groups"]] == [1e-3, 0.5]


def test_state_is_the_optimizers_own_memory():
    params, other = weights(), weights()
    a, b = optim.Adam(params), optim.Adam(other)
    train(a, params, 2)
    train(b, other, 2)
    with pytest.raises(TypeError):
        a.state[params[0]]["exp_avg"] = None
    with pytest.raises(ValueError, match="load_state_dict"):
        a.state = {params[0]: {}}
    a.state[params[0]]["exp_avg"].numpy()[...] = 0
    assert train(a, params, 1) != train(b, other, 1)
    a.state = {}                                       # start afresh
    assert dict(a.state) == {}
    fresh = [fastnn.tensor(p, requires_grad=True) for p in params]
    assert train(a, params, 2) == train(optim.Adam(fresh), fresh, 2)


def test_load_state_dict_refuses_what_does_not_fit():
    params = weights([(2,), (3,)])
    optimizer = optim.Adam(params)
    train(optimizer, params, 2)
    good = optimizer.state_dict()
    before = bits([s[k] for s in optimizer.state.values() for k in s])
    group = good["param_groups"][0]
    state = good["state"]
    bad = [
        (ValueError, {**good, "param_groups": []}),
        (ValueError, {**good, "param_groups": [{**group, "params": [0]}]}),
        (ValueError, {**good, "state": {**state, 1: {"step": 1.0}}}),
        (ShapeError, {**good, "state": {**state, 1: state[0]}}),
    ]
    for error, saved in bad:
        with pytest.raises(error):
            optimizer.load_state_dict(saved)
    assert bits([s[k] for s in optimizer.state.values() for k in s]) == before


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


@pytest.mark.parametrize("copy_of", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],
                         ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("make", [
    lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.AdamW(p, lr=0.1),
    lambda p: optim.Adam([{"params": [q], "lr": 0.1 * (i + 1)} for i, q in enumerate(p)]),
], ids=["sgd", "adamw", "groups"])
def test_copies_of_an_optimizer_go_their_own_way(make, copy_of):
    """A copy made together with its model steps that copy, from the same state."""
    model = nn.Linear(3, 2)
    optimizer = make(model.parameters())

    def step(model, optimizer):
        optimizer.zero_grad()
        (model(fastnn.ones(1, 3)) ** 2).sum().backward()
        optimizer.step()

    step(model, optimizer)
    twin, twins = copy_of((model, optimizer))
    assert twins.param_groups[0]["params"][0] is twin.weight
    assert twins.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]
    before = model.weight.tolist()
    step(twin, twins)
    assert model.weight.tolist() == before != twin.weight.tolist()
    step(model, optimizer)
    assert model.weight.tolist() == twin.weight.tolist()
    for ours, theirs in zip(optimizer.state.values(), twins.state.values(), strict=True):
        assert all(ours[name].tolist() == theirs[name].tolist() for name in ours)
