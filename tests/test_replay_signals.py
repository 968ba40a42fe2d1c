"""Ctrl-C in the middle of a compiled step: it happens wholly or not at all."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest
from replaying import arrays_of, batch, equal, training_step

import fastnn
from fastnn import _core, nn, optim
from fastnn.nn import functional as F

pytestmark = pytest.mark.skipif(_core.backend_is_numpy(), reason="replay is about C")


@pytest.fixture
def impatient() -> Any:
    """Programs look at signals after every call; a shell may have started us deaf to Ctrl-C."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    old = _core.poll_signals_every(0.0)
    yield
    signal.signal(signal.SIGINT, handler)
    _core.interrupt_after(0)
    _core.poll_signals_every(old)


def mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(12, width), nn.ReLU(), nn.Dropout(0.3),
                         nn.Linear(width, width), nn.Linear(width, 4))


def images() -> nn.Module:
    """With statistics that every step changes."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 3, 4)), nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Dropout(0.3), nn.Conv2d(6, 4, 3, padding=1), nn.MaxPool2d((1, 2)), nn.Flatten(),
        nn.Linear(24, 4))


@pytest.mark.parametrize("net", [lambda: mlp(16), lambda: mlp(256), images],
                         ids=["small", "big", "images"])
def test_an_interrupted_step_happens_wholly_or_not_at_all(impatient: Any, net: Any) -> None:
    """Wherever the signal comes: parameters, states, buffers and generators change together."""
    def make() -> tuple[Any, Any, Any]:
        fastnn.manual_seed(0)
        model = net()
        adam = optim.Adam(model.parameters(), 0.01)
        step = training_step(model, adam)

        def state() -> list[Any]:
            states = [arrays_of(s) for s in adam.state.values()]
            return [arrays_of([*model.parameters(), *model.buffers()]), states,
                    [np.array(fastnn.get_rng_state())]]

        for i in range(2):
            step(*batch(i))
        return step, state, model

    step, state, _ = make()
    before = [state()]
    for i in range(2, 4):
        step(*batch(i))
        before.append(state())
    interrupted = 0
    for n in range(1, 200):
        step, state, _ = make()
        assert equal(state(), before[0])
        _core.interrupt_after(n)
        try:
            step(*batch(2))
        except KeyboardInterrupt:
            interrupted += 1
            assert equal(state(), before[0])
            step(*batch(2))             # the generator, too, is where it was
        _core.interrupt_after(0)
        assert equal(state(), before[1])
        step(*batch(3))
        assert equal(state(), before[2])
        if interrupted < n:
            break
    assert interrupted > 4


@pytest.mark.parametrize("width", [16, 256])
@pytest.mark.parametrize("given", ["none", "all", "some"])
def test_an_interrupted_accumulation_leaves_gradients_as_they_were(
        impatient: Any, width: int, given: str) -> None:
    """Those that were there before keep their values; those that were not are None."""
    def make() -> tuple[Any, list[fastnn.Tensor]]:
        fastnn.manual_seed(0)
        model = mlp(width)
        weights = list(model.parameters())
        optim.SGD(weights, 0.1)

        @fastnn.compile
        def add(x: fastnn.Tensor, y: fastnn.Tensor) -> fastnn.Tensor:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        for _ in range(2):              # so that the second round replays
            for p in weights:
                p.grad = None
            add(*batch(0))
            for p in weights[:{"none": 6, "all": 0, "some": 3}[given]]:
                p.grad = None
            add(*batch(1))
        for p in weights:
            p.grad = None
        add(*batch(0))
        for p in weights[:{"none": 6, "all": 0, "some": 3}[given]]:
            p.grad = None
        return add, weights

    def gradients(weights: list[fastnn.Tensor]) -> list[Any]:
        return [arrays_of(p.grad) for p in weights]

    add, weights = make()
    before = gradients(weights)
    add(*batch(1))
    after, interrupted = gradients(weights), 0
    for n in range(1, 100):
        add, weights = make()
        assert equal(gradients(weights), before)
        _core.interrupt_after(n)
        try:
            add(*batch(1))
        except KeyboardInterrupt:
            interrupted += 1
            assert equal(gradients(weights), before)
            add(*batch(1))
        _core.interrupt_after(0)
        assert equal(gradients(weights), after)
        if interrupted < n:
            break
    assert interrupted > 4


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_signal_at_any_time(impatient: Any) -> None:
    def make() -> tuple[Any, Any]:
        fastnn.manual_seed(0)
        model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 4))
        adam = optim.Adam(model.parameters(), 0.01)

        def step(x: fastnn.Tensor, y: fastnn.Tensor) -> None:
            adam.zero_grad()
            F.cross_entropy(model(x), y).backward()
            adam.step()

        def state() -> list[Any]:
            states = [arrays_of(s) for s in adam.state.values()]
            return [arrays_of(list(model.parameters())), states]

        return step, state

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    data = batch(0, 512)
    eager, state = make()
    expected = []
    for _ in range(61):
        eager(*data)
        expected.append(state())
    step, state = make()
    step = fastnn.compile(step)
    step(*data)
    done = 0
    old = signal.signal(signal.SIGALRM, stop)
    try:
        for i in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + 3 * i))
                step(*data)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
            done += equal(state(), expected[done + 1])
            assert equal(state(), expected[done])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


MANY = 40       # looks at signals, of which few are between the calls of the steps below


def layers(*kinds: nn.Module) -> nn.Module:
    return nn.Sequential(*kinds).eval()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("net, shape", [
    (lambda: layers(nn.Linear(300, 256), nn.Linear(256, 300)), (400, 300)),
    (lambda: layers(nn.Conv2d(40, 40, 3), nn.Conv2d(40, 40, 3, padding=1)), (2, 40, 23, 23)),
    (lambda: layers(nn.Conv2d(40, 20, 3, stride=2)), (3, 40, 41, 41)),
], ids=["linear", "winograd", "direct"])
def test_a_signal_in_the_middle_of_a_call(
        impatient: Any, net: Any, shape: Any, threads: int) -> None:
    """Long products look for signals, too: a step stops within a call, and the next is whole."""
    fastnn.manual_seed(0)
    model = net()
    adam = optim.Adam(model.parameters(), 0.01)

    @fastnn.compile
    def step(x: fastnn.Tensor) -> fastnn.Tensor:
        adam.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        adam.step()
        return loss

    fastnn.set_num_threads(threads)
    _core.always_team(True)
    try:
        x = fastnn.randn(*shape)
        for _ in range(2):
            step(x)
        before = arrays_of(list(model.parameters()))
        for n in range(1, MANY + 1):
            _core.interrupt_after(n)
            with pytest.raises(KeyboardInterrupt):
                step(x)
            assert equal(arrays_of(list(model.parameters())), before)
        _core.interrupt_after(0)
        step(x)
        assert not equal(arrays_of(list(model.parameters())), before)
    finally:
        _core.always_team(False)
        fastnn.set_num_threads(2)
