"""What a compiled function may overwrite, what it allocates, and where its temporaries lie."""

from __future__ import annotations

import pytest
from replaying import OPTIMIZERS, batch, equal, network, trained, training_step

import fastnn
from fastnn import _core, optim
from fastnn.nn import functional as F

pytestmark = pytest.mark.skipif(_core.backend_is_numpy(), reason="replay is about C")


# ---------------------------------------------------------------- who holds what

def test_results_that_are_kept_stay_what_they_were() -> None:
    double = fastnn.compile(lambda x: x * 2)
    results = [double(fastnn.tensor([float(i)])) for i in range(6)]
    assert [r.item() for r in results] == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]


@pytest.mark.parametrize("arena", [False, True])
def test_gradients_that_are_kept_stay_what_they_were(arena: bool) -> None:
    w = fastnn.tensor([1.0, 1.0], requires_grad=True)
    sgd = optim.SGD([w], lr=0.0) if arena else None

    @fastnn.compile
    def step(x: fastnn.Tensor) -> None:
        w.grad = None
        (w * x).sum().backward()
        if sgd is not None:
            sgd.step()

    kept = []
    for i in range(6):
        step(fastnn.tensor([float(i), 1.0]))
        kept.append(w.grad)
    assert [g.tolist() for g in kept] == [[float(i), 1.0] for i in range(6)]


def test_steady_state_allocates_nothing() -> None:
    model = network()
    adam = optim.Adam(model.parameters(), 0.01)
    step = training_step(model, adam)

    x, y = batch(0)
    for _ in range(4):
        loss = step(x, y)
    before = _core.alloc_count()
    for _ in range(10):
        loss = step(x, y)
    assert _core.alloc_count() == before
    assert loss.item() > 0


def test_arguments_are_used_where_they_lie() -> None:
    def step(x: fastnn.Tensor) -> fastnn.Tensor:
        x.mul_(2.0)
        return x.sum()

    step = fastnn.compile(step)
    for _ in range(3):
        x = fastnn.tensor([1.0, 2.0])
        version = x._version
        assert step(x).item() == 6.0
        assert x.tolist() == [2.0, 4.0]
        assert x._version > version


def test_values_made_inside_start_afresh() -> None:
    @fastnn.compile
    def step(x: fastnn.Tensor) -> fastnn.Tensor:
        total = fastnn.zeros(2)
        for _ in range(3):
            total += x
        return total

    for i in range(4):
        assert step(fastnn.tensor([1.0, float(i)])).tolist() == [3.0, 3.0 * i]


# ---------------------------------------------------------------- the memory plan

def test_temporaries_that_live_together_lie_apart() -> None:
    model = network()
    sgd = optim.SGD(model.parameters(), 0.1)

    @fastnn.compile
    def step(x: fastnn.Tensor, y: fastnn.Tensor) -> None:
        sgd.zero_grad()
        F.cross_entropy(model(x), y).backward()
        sgd.step()

    step(*batch(0))
    program = step.programs[0].program
    assert 0 < program.arena_bytes < program.temporary_bytes + 128 * len(program.temporaries)
    for i, (at, size, first, last, over) in enumerate(program.temporaries):
        for k, (other, bytes_, begin, end, _) in enumerate(program.temporaries[:i]):
            if k == over:               # written where that one lay
                assert (at, size, first) == (other, bytes_, end)
            elif first <= end and begin <= last:
                assert at + size <= other or other + bytes_ <= at


def test_dead_memory_is_never_read() -> None:
    expected = trained(OPTIMIZERS["adam"], False, 5)
    _core.poison_dead_memory(True)
    try:
        assert equal(trained(OPTIMIZERS["adam"], True, 5), expected)
        _core.plant_planner_fault(1)
        assert not equal(trained(OPTIMIZERS["adam"], True, 5), expected)
    finally:
        _core.plant_planner_fault(0)
        _core.poison_dead_memory(False)


def test_results_take_the_place_of_what_dies() -> None:
    def chain(x: fastnn.Tensor) -> fastnn.Tensor:
        for _ in range(3):
            x = (x.abs() + 1.0).sqrt() @ w
        return x.sum()

    w, x = fastnn.randn(40, 40), fastnn.randn(40, 40)
    expected = chain(x).item()
    try:
        for fault in (0, 2):
            _core.plant_planner_fault(fault)
            step = fastnn.compile(chain)
            step(x)
            program = step.programs[0].program
            assert program.arena_bytes < (3 if fault == 0 else 2) * x.nbytes
            assert (step(x).item() == expected) == (fault == 0)
            assert program.memory()["eager_peak"] >= 3 * x.nbytes
    finally:
        _core.plant_planner_fault(0)
