"""Compiled functions: the same bits as the functions themselves, or an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import Case, all_cases
from cases.harness import same_bits
from replaying import OPTIMIZERS, REFUSED, arrays_of, batch, equal, network, step_of, trained

import fastnn
from fastnn import GraphError, UnsupportedOpError, _core, optim
from fastnn.nn import functional as F

pytestmark = pytest.mark.skipif(_core.backend_is_numpy(), reason="replay is about C")

STEPS, INPUTS = 50, 4
LARGE = 1 << 14         # elements of all inputs


@pytest.mark.parametrize("case", [c for c in all_cases() if c.id in REFUSED], ids=lambda c: c.id)
def test_what_a_replay_would_miss_is_refused(case: Case) -> None:
    inputs = [fastnn.tensor(a) for a in case.inputs(np.random.default_rng(7))]
    with pytest.raises((GraphError, UnsupportedOpError), match="compile: .*inside a compiled step"):
        fastnn.compile(step_of(case))(*inputs)
    step_of(case)(*inputs)


@pytest.mark.parametrize("case", [c for c in all_cases() if c.id not in REFUSED],
                         ids=lambda c: c.id)
def test_every_case_replays_its_bits(case: Case) -> None:
    """Fifty calls (large: twelve) in turns at 1, 2 and 3 threads, every other round on teams."""
    step, threads = step_of(case), fastnn.get_num_threads()
    given = [case.inputs(np.random.default_rng(7 + i)) for i in range(INPUTS)]
    large = case.big or sum(a.size for a in given[0]) > LARGE

    def outcome(function: Any, i: int) -> list[np.ndarray]:
        fastnn.manual_seed(i)
        inputs = [fastnn.tensor(a, dtype=a.dtype) for a in given[i]]
        return arrays_of(function(*inputs)) + arrays_of(inputs)

    try:
        compiled = fastnn.compile(step)
        expected = [outcome(step, i) for i in range(INPUTS)]
        for call in range(12 if large else STEPS):
            fastnn.set_num_threads(1 + call % 3)
            _core.always_team(call // 3 % 2 == 1)
            replayed = outcome(compiled, call % INPUTS)
            for a, b in zip(expected[call % INPUTS], replayed, strict=True):
                assert same_bits(a, b), f"call {call}"
    finally:
        _core.always_team(False)
        fastnn.set_num_threads(threads)


# ---------------------------------------------------------------- training

@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fifty_steps(name: str) -> None:
    assert equal(trained(OPTIMIZERS[name], True), trained(OPTIMIZERS[name], False))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads(threads: int) -> None:
    before = fastnn.get_num_threads()
    expected = trained(OPTIMIZERS["adam"], False)
    try:
        fastnn.set_num_threads(threads)
        assert equal(trained(OPTIMIZERS["adam"], True), expected)
    finally:
        fastnn.set_num_threads(before)


@pytest.mark.parametrize("plan", [
    lambda o: optim.lr_scheduler.StepLR(o, 3, 0.5),
    lambda o: optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=50),
    lambda o: optim.lr_scheduler.SequentialLR(o, [
        optim.lr_scheduler.LinearLR(o, total_iters=5), optim.lr_scheduler.ExponentialLR(o, 0.9)],
        [5]),
], ids=["step", "one-cycle", "sequential"])
def test_schedules_step(plan: Any) -> None:
    assert equal(trained(OPTIMIZERS["adam"], True, plan=plan),
                 trained(OPTIMIZERS["adam"], False, plan=plan))


def test_an_odd_last_batch() -> None:
    sizes = (8, 8, 8, 3)
    assert equal(trained(OPTIMIZERS["sgd"], True, sizes=sizes),
                 trained(OPTIMIZERS["sgd"], False, sizes=sizes))


def test_a_changed_rate_takes_effect() -> None:
    w = fastnn.tensor([1.0], requires_grad=True)
    sgd = optim.SGD([w], lr=1.0)

    @fastnn.compile
    def step(x: fastnn.Tensor) -> None:
        sgd.zero_grad()
        (w * x).sum().backward()
        sgd.step()

    seen = []
    for lr in (1.0, 0.5, 0.25):
        sgd.param_groups[0]["lr"] = lr
        step(fastnn.tensor([1.0]))
        seen.append(w.item())
    assert seen == [0.0, -0.5, -0.75]
    assert len(step.programs) == 1


@pytest.mark.parametrize("filled", [False, True], ids=["none", "zeros"])
def test_gradients_accumulate(filled: bool) -> None:
    """A function for backward alone, one for the step: recorded once for what they may find."""
    recorded = []

    def run(compiled: bool) -> list[Any]:
        model = network()
        adam = optim.Adam(model.parameters(), 0.01)

        def add(x: fastnn.Tensor, y: fastnn.Tensor) -> fastnn.Tensor:
            loss = F.cross_entropy(model(x), y) / 4
            loss.backward()
            return loss

        def apply() -> None:
            adam.step()
            adam.zero_grad(set_to_none=not filled)

        if compiled:
            add, apply = fastnn.compile(add), fastnn.compile(apply)
        losses = []
        for i in range(50):
            losses.append(add(*batch(i)))
            if i % 4 == 3:
                apply()
            if compiled:
                recorded.append({id(r) for f in (add, apply) for r in f.programs})
        return [arrays_of(losses), arrays_of(list(model.parameters()))]

    assert equal(run(True), run(False))
    assert recorded[5:] == [recorded[4]] * 45
    assert len(recorded[4]) == 3


def adam_steps(function: Any) -> list[int]:
    """How many launches of Adam each program has."""
    return [sum(op == "adam" for op, *_ in r.program.calls_made()) for r in function.programs]


def test_two_rounds_in_one_step_find_gradients_at_home() -> None:
    """So that each of Adam's steps is one launch over all parameters."""
    def run(compiled: bool) -> list[Any]:
        model = network()
        adam = optim.Adam(model.parameters(), 0.01)

        def step(x: fastnn.Tensor, y: fastnn.Tensor) -> None:
            for part in (slice(0, 4), slice(4, 8)):
                adam.zero_grad()
                F.cross_entropy(model(x[part]), y[part]).backward()
                adam.step()

        step = fastnn.compile(step) if compiled else step
        for i in range(12):
            step(*batch(i))
        if compiled:
            assert adam_steps(step) == [2]
        return arrays_of(list(model.parameters()))

    assert equal(run(True), run(False))


def test_every_signature_finds_gradients_at_home() -> None:
    model = network()
    adam = optim.Adam(model.parameters(), 0.01)

    @fastnn.compile
    def step(x: fastnn.Tensor, y: fastnn.Tensor) -> None:
        adam.zero_grad()
        F.cross_entropy(model(x), y).backward()
        adam.step()

    for i in range(12):
        step(*batch(i, (8, 5, 3)[i % 3]))
    assert adam_steps(step) == [1, 1, 1]
    assert [r.program.memory()["results"] for r in step.programs] == [0, 0, 0]


def test_a_gradient_that_is_kept_does_not_stop_the_next_signature() -> None:
    """Somebody holds p.grad over some calls: it stays what it was, and no bit changes."""
    def run(compiled: bool) -> list[Any]:
        model = network()
        adam, seen, kept = optim.Adam(model.parameters(), 0.01), [], []

        def step(x: fastnn.Tensor, y: fastnn.Tensor) -> None:
            adam.zero_grad()
            F.cross_entropy(model(x), y).backward()
            adam.step()

        step = fastnn.compile(step) if compiled else step
        for i in range(20):
            if i % 7 == 3:
                seen.append(arrays_of(kept))
                kept = []
            step(*batch(i, 8 if i % 3 else 5))
            if i % 7 == 1:
                kept = [p.grad for p in model.parameters()]
        return [seen, arrays_of(list(model.parameters()))]

    assert equal(run(True), run(False))


def test_train_and_eval_side_by_side() -> None:
    model = network()
    infer = fastnn.compile(lambda x: model(x))
    x = batch(0)[0]
    with fastnn.no_grad():
        for _ in range(3):
            for mode in (True, False):
                model.train(mode)
                fastnn.manual_seed(3)
                expected = model(x).numpy().copy()
                fastnn.manual_seed(3)
                assert same_bits(infer(x).numpy(), expected)
    assert len(infer.programs) == 2
