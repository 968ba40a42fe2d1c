"""What a compiled function notices: other layers, weights and indices; and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases.harness import same_bits
from replaying import arrays_of, batch, equal, network

import fastnn
from fastnn import GraphError, IndexRangeError, _core, nn, optim
from fastnn.nn import functional as F

pytestmark = pytest.mark.skipif(_core.backend_is_numpy(), reason="replay is about C")


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

    with pytest.raises(GraphError, match=r"inside a compiled step at .*test_replay_guards\.py:\d+"):
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
