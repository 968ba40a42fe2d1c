"""What optimizers keep: arenas that views never leave, state dicts, copies."""

from __future__ import annotations

import copy
import pickle
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
from fastnn import nn, optim
from fastnn.errors import GraphError, ShapeError

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
