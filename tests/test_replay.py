"""Compiled functions: the same bits as the functions themselves, or an error."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest
from cases import Case, all_cases
from cases.harness import same_bits

import fastnn
from fastnn import GraphError, IndexRangeError, UnsupportedOpError, _core, nn, optim
from fastnn.nn import functional as F

pytestmark = pytest.mark.skipif(_core.backend_is_numpy(), reason="replay is about C")

CALLS = 4       # one that records, and replays


def arrays_of(value: Any) -> list[np.ndarray]:
    """Copies of all tensors in a result."""
    if isinstance(value, fastnn.Tensor):
        return [np.array(value.detach().numpy())]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [a for v in value for a in arrays_of(v)]
    return []


def tensors_of(value: Any) -> list[fastnn.Tensor]:
    if isinstance(value, fastnn.Tensor):
        return [value]
    return [t for v in value for t in tensors_of(v)] if isinstance(value, (tuple, list)) else []


def step_of(case: Case) -> Any:
    """The case's function with its gradients, as a step that returns all it computes."""
    def step(*inputs: fastnn.Tensor) -> Any:
        if not case.grad:
            return [t.detach() for t in tensors_of(case.fn(*inputs))]
        leaves = [t.clone().requires_grad_() if t.dtype is fastnn.float32 else t for t in inputs]
        result = case.fn(*leaves)
        outputs = [t for t in tensors_of(result) if t.requires_grad]
        if outputs:
            sum((t.float() * t.float()).sum() for t in outputs).backward()
        return [t.detach() for t in tensors_of(result)], [
            t.grad for t in leaves if t.grad is not None]
    return step


REFUSED = {
    "take-mask": "a mask's result has a size that depends on values",
    "randint-permutation": "randperm sorts in NumPy",
}


@pytest.mark.parametrize("case", [c for c in all_cases() if c.id in REFUSED], ids=lambda c: c.id)
def test_what_a_replay_would_miss_is_refused(case: Case) -> None:
    inputs = [fastnn.tensor(a) for a in case.inputs(np.random.default_rng(7))]
    with pytest.raises((GraphError, UnsupportedOpError), match="compile: .*inside a compiled step"):
        fastnn.compile(step_of(case))(*inputs)
    step_of(case)(*inputs)


@pytest.mark.parametrize("case", [c for c in all_cases() if c.id not in REFUSED],
                         ids=lambda c: c.id)
def test_every_case_replays_its_bits(case: Case) -> None:
    step = step_of(case)
    threads = fastnn.get_num_threads()
    try:
        compiled = fastnn.compile(step)
        for call in range(CALLS):
            fastnn.set_num_threads(1 + call % 3)
            _core.always_team(call % 2 == 1)
            runs = []
            for function in (step, compiled):
                fastnn.manual_seed(call)
                rng = np.random.default_rng(7 + call)
                inputs = [fastnn.tensor(a, dtype=a.dtype) for a in case.inputs(rng)]
                runs.append(arrays_of(function(*inputs)) + arrays_of(inputs))
            for eager, replayed in zip(*runs, strict=True):
                assert same_bits(eager, replayed), f"call {call}"
    finally:
        _core.always_team(False)
        fastnn.set_num_threads(threads)


# ---------------------------------------------------------------- training

def network(seed: int = 0) -> nn.Sequential:
    fastnn.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 4))


def batch(i: int, n: int = 8) -> tuple[fastnn.Tensor, fastnn.Tensor]:
    rng = np.random.default_rng(i)
    x = rng.standard_normal((n, 12)).astype(np.float32)
    return fastnn.tensor(x), fastnn.tensor(rng.integers(0, 4, n))


def trained(make: Any, compiled: bool, steps: int = 50, plan: Any = None, sizes=(8,)) -> list[Any]:
    """Losses, parameters and optimizer states after some steps."""
    model = network()
    optimizer = make(model.parameters())
    schedule = plan(optimizer) if plan else None

    def step(x: fastnn.Tensor, y: fastnn.Tensor) -> fastnn.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        return loss

    run = fastnn.compile(step) if compiled else step
    losses = [run(*batch(i, sizes[i % len(sizes)])) for i in range(steps)]
    rates = [group["lr"] for group in optimizer.param_groups]
    states = [arrays_of(s) for s in optimizer.state.values()]
    grads = [arrays_of(p.grad) for p in model.parameters()]
    return [arrays_of(losses), arrays_of(list(model.parameters())), states, grads, rates]


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return same_bits(a, b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: optim.RMSprop(p, 0.01),
    "adagrad": lambda p: optim.Adagrad(p, 0.05),
    "adam": lambda p: optim.Adam(p, 0.01, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, 0.01),
    "lion": lambda p: optim.Lion(p, 0.001),
}


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


def test_gradients_accumulate() -> None:
    def run(compiled: bool) -> list[Any]:
        model = network()
        adam = optim.Adam(model.parameters(), 0.01)

        def add(x: fastnn.Tensor, y: fastnn.Tensor) -> fastnn.Tensor:
            loss = F.cross_entropy(model(x), y) / 4
            loss.backward()
            return loss

        def apply() -> None:
            adam.step()
            adam.zero_grad()

        if compiled:
            add, apply = fastnn.compile(add), fastnn.compile(apply)
        losses = []
        for i in range(24):
            losses.append(add(*batch(i)))
            if i % 4 == 3:
                apply()
        return [arrays_of(losses), arrays_of(list(model.parameters()))]

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

    @fastnn.compile
    def step(x: fastnn.Tensor, y: fastnn.Tensor) -> fastnn.Tensor:
        adam.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        adam.step()
        return loss

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


# ---------------------------------------------------------------- guards and errors

def test_another_layer_records_anew() -> None:
    model = network().eval()
    infer = fastnn.compile(lambda x: model(x))
    x = batch(0)[0]
    with fastnn.no_grad():
        infer(x)
        model[3] = nn.Linear(16, 4)
        assert same_bits(infer(x).numpy(), model(x).numpy())
        model[2].p = 0.9
        model.train()
        fastnn.manual_seed(0)
        expected = model(x).numpy().copy()
        fastnn.manual_seed(0)
        assert same_bits(infer(x).numpy(), expected)


def test_layers_that_come_and_go_record_anew() -> None:
    chain = nn.Sequential(nn.Linear(4, 4))
    parts = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.ReLU()})

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.chain, self.parts = chain, parts

        def forward(self, x: fastnn.Tensor) -> fastnn.Tensor:
            x = self.chain(x)
            for part in self.parts.values():
                x = part(x)
            return x

    model = Both()
    infer = fastnn.compile(lambda x: model(x))
    x = fastnn.randn(2, 4)
    with fastnn.no_grad():
        for change in (lambda: None, lambda: chain.append(nn.Tanh()), lambda: chain.pop(0),
                       lambda: parts.pop("b")):
            change()
            for _ in range(2):
                assert same_bits(infer(x).numpy(), model(x).numpy())


def test_panels_of_weights_are_those_of_the_moment() -> None:
    layer = nn.Linear(256, 128)
    infer = fastnn.compile(lambda x: layer(x))
    x = fastnn.randn(2, 256)
    with fastnn.no_grad():
        for change in (lambda: None, lambda: layer.weight.mul_(2.0),
                       lambda: layer.load_state_dict(nn.Linear(256, 128).state_dict())):
            change()
            for _ in range(3):
                assert same_bits(infer(x).numpy(), layer(x).numpy())
        values = layer.weight.detach().numpy()
        for _ in range(3):
            values += 1.0               # unseen by version counters
            assert same_bits(infer(x).numpy(), layer(x).numpy())


def test_loaded_states_take_effect() -> None:
    def run(compiled: bool) -> list[Any]:
        model = network()
        adam = optim.Adam(model.parameters(), 0.01)

        def step(x: fastnn.Tensor, y: fastnn.Tensor) -> None:
            adam.zero_grad()
            F.cross_entropy(model(x), y).backward()
            adam.step()

        step = fastnn.compile(step) if compiled else step
        for i in range(3):
            step(*batch(i))
        saved = {k: v.clone() for k, v in model.state_dict().items()}
        state = adam.state_dict()
        for i in range(3):
            step(*batch(i))
        model.load_state_dict(saved)
        adam.load_state_dict(state)
        for i in range(3):
            step(*batch(i))
        return arrays_of(list(model.parameters()))

    assert equal(run(True), run(False))


def test_indices_are_checked_at_every_call() -> None:
    table = fastnn.randn(5, 3)
    look = fastnn.compile(lambda i: F.embedding(i, table))
    assert look(fastnn.tensor([1, 2])).shape == (2, 3)
    assert look(fastnn.tensor([0, 4])).shape == (2, 3)
    with pytest.raises(IndexRangeError, match="got 5 at"):
        look(fastnn.tensor([0, 5]))
    inner = fastnn.compile(lambda x: F.embedding(x.long(), table))
    inner(fastnn.tensor([1.0, 2.0]))
    inner(fastnn.tensor([1.0, 3.0]))
    with pytest.raises(IndexRangeError, match="out of range"):
        inner(fastnn.tensor([1.0, 9.0]))


@pytest.mark.parametrize("read", [
    lambda t: t.item(), lambda t: float(t), lambda t: bool(t > 0), lambda t: t.tolist(),
    lambda t: t.numpy(), lambda t: np.asarray(t), lambda t: repr(t),
], ids=["item", "float", "bool", "tolist", "numpy", "asarray", "repr"])
def test_reading_a_value_names_the_line(read: Any) -> None:
    @fastnn.compile
    def step(x: fastnn.Tensor) -> Any:
        y = x.sum()
        return read(y)

    with pytest.raises(GraphError, match=r"inside a compiled step at .*test_replay\.py:\d+"):
        step(fastnn.tensor([1.0]))
    assert not _core.is_recording()


def test_a_result_kept_elsewhere_is_an_error() -> None:
    kept = []

    @fastnn.compile
    def step(x: fastnn.Tensor) -> None:
        kept.append(x * 2)

    with pytest.raises(GraphError, match="result of mul that is kept outside"):
        step(fastnn.tensor([1.0]))


def test_a_live_graph_is_an_error() -> None:
    w = fastnn.tensor([1.0], requires_grad=True)
    with pytest.raises(GraphError, match="graph is alive"):
        fastnn.compile(lambda x: (w * x).sum())(fastnn.tensor([1.0]))


def test_errors_of_the_function_come_through() -> None:
    step = fastnn.compile(lambda x: x @ fastnn.ones(3, 3))
    step(fastnn.ones(2, 3))
    with pytest.raises(fastnn.ShapeError):
        step(fastnn.ones(2, 4))
    assert step(fastnn.ones(2, 3)).shape == (2, 3)


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


# ---------------------------------------------------------------- Ctrl-C

@pytest.fixture
def impatient() -> Any:
    """Programs look at signals after every call; a shell may have started us deaf to Ctrl-C."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    old = _core.poll_signals_every(0.0)
    yield
    signal.signal(signal.SIGINT, handler)
    _core.interrupt_after(0)
    _core.poll_signals_every(old)


@pytest.mark.parametrize("big", [False, True], ids=["small", "big"])
def test_an_interrupted_step_happens_wholly_or_not_at_all(impatient: Any, big: bool) -> None:
    """Wherever the signal comes: parameters, states and generators are old or new together."""
    width = 256 if big else 16

    def make() -> tuple[Any, Any, Any]:
        fastnn.manual_seed(0)
        model = nn.Sequential(nn.Linear(12, width), nn.ReLU(), nn.Dropout(0.3),
                              nn.Linear(width, width), nn.Linear(width, 4))
        adam = optim.Adam(model.parameters(), 0.01)

        @fastnn.compile
        def step(x: fastnn.Tensor, y: fastnn.Tensor) -> fastnn.Tensor:
            adam.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            adam.step()
            return loss

        def state() -> list[Any]:
            states = [arrays_of(s) for s in adam.state.values()]
            return [arrays_of(list(model.parameters())), states, [np.array(fastnn.get_rng_state())]]

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
