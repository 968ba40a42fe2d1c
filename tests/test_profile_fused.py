"""fastnn.profile of fused launches: a chain or a convolution with all behind it is one row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import _core, nn, optim
from fastnn.nn import functional as F

pytestmark = pytest.mark.skipif(_core.backend_is_numpy(), reason="fusion is about C")

Tensor = fastnn.Tensor


@pytest.fixture(autouse=True)
def chains_of_any_size() -> Iterator[None]:
    before = _core.set_chain_minimum(2)
    yield
    _core.set_chain_minimum(before)


def profiled(function: Callable[..., Any], *shapes: tuple[int, ...], fuse: Any = True) -> list[Any]:
    """The events of a replay, but for packed weights and images laid channels last."""
    step = fastnn.compile(function, fuse=fuse)
    inputs = [fastnn.randn(*shape) for shape in shapes]
    for _ in range(2):
        step(*inputs)
    with fastnn.profile() as prof:
        step(*inputs)
    return [e for e in prof.events if e.op not in ("pack_conv", "pack_weight", "turn")]


def inference(function: Callable[..., Any]) -> Callable[..., Any]:
    def step(*inputs: Tensor) -> Any:
        with fastnn.no_grad():
            return function(*inputs)
    return step


def test_bytes_of_a_chain_are_those_that_leave_its_scratch() -> None:
    n, m = 300, 40
    (event,) = profiled(lambda x, y: ((x + y) * y - x).exp() * x, (n, m), (n, m))
    assert event.op == "chain" and event.nbytes == 3 * 4 * n * m        # x, y and the result
    (event,) = profiled(inference(lambda x, row, col: F.softmax((x + row) * x - col, 1)),
                        (n, m), (m,), (n, 1))
    assert event.op == "chain" and event.nbytes == 4 * (2 * n * m + m + n)


def test_flops_of_a_chain_are_those_of_its_links() -> None:
    def work(fuse: bool) -> float:
        step = fastnn.compile(lambda x, y: ((x + y) * y).exp(), fuse=fuse)
        x = fastnn.randn(3000)
        for _ in range(2):
            step(x, x)
        core = _core.start_profile()
        try:
            step(x, x)
        finally:
            _core.stop_profile()
        return sum(record[8] for record in core.records())

    assert work(True) == work(False) > 0


def test_a_chain_belongs_to_the_module_around_its_links() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Tanh(), nn.Sigmoid()

        def forward(self, x: Tensor) -> Tensor:
            return self.left(x) * self.right(x)

    net = nn.Sequential(Gate(), nn.Linear(40, 3))
    events = profiled(inference(net), (50, 40))
    assert [(e.op, e.module) for e in events] == [("chain", "Sequential.0"),
                                                  ("linear", "Sequential.1")]


N, C, K, H = 2, 12, 20, 9
IMAGE, OUT, WEIGHT = N * C * H * H, N * K * H * H, K * C * 9


def block() -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(C, K, 3, padding=1, bias=False), nn.BatchNorm2d(K).eval()


def test_a_fused_convolution_moves_what_is_left_of_its_parts() -> None:
    conv, norm = block()
    (event,) = profiled(inference(lambda x: F.relu(conv(x))), (N, C, H, H))
    assert event.op == "conv2d_act" and event.nbytes == 4 * (IMAGE + WEIGHT + OUT)
    assert event.flops == 2 * OUT * C * 9 + OUT
    (event,) = profiled(inference(lambda x, r: F.relu(norm(conv(x)) + r)), (N, C, H, H),
                        (N, K, H, H))
    assert event.op == "conv2d_norm"
    # The norm's numbers for each channel come on top; four of them are read, one is saved.
    assert 0 <= event.nbytes - 4 * (IMAGE + WEIGHT + 2 * OUT) <= 4 * 5 * K
    assert event.flops == 2 * OUT * C * 9 + 5 * OUT


def test_a_fused_linear_layer_moves_what_is_left_of_its_parts() -> None:
    layer = nn.Linear(24, 20)
    (event,) = profiled(inference(lambda x: F.relu(layer(x))), (9, 24))
    assert event.op == "linear_act"
    assert event.nbytes <= 4 * (9 * 24 + 20 * 24 + 20 + 9 * 20)
    plain = profiled(inference(lambda x: F.relu(layer(x))), (9, 24), fuse=False)
    assert sum(e.nbytes for e in plain) - event.nbytes == 2 * 4 * 9 * 20


def test_flops_of_a_fused_step_are_those_of_the_plain_one() -> None:
    """Of products; what a fused one adds for its activation is a few flops an element."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Linear(8 * 16, 10), nn.Tanh())

    def step(x: Tensor) -> None:
        net.zero_grad()
        net(x).square().sum().backward()

    fused, plain = (profiled(step, (4, 3, 8, 8), fuse=fuse) for fuse in (True, False))
    assert len(fused) < len(plain)
    found = [sum(e.flops for e in events if e.flops) for events in (fused, plain)]
    assert 1 <= found[0] / found[1] < 1.1
    assert sum(e.nbytes for e in fused) < sum(e.nbytes for e in plain)


def test_modules_of_a_fused_network_have_figures() -> None:
    conv, norm = block()
    net = nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), nn.Linear(K * H * H, 4))
    step = fastnn.compile(inference(net))
    x = fastnn.randn(N, C, H, H)
    for _ in range(2):
        step(x)
    with fastnn.profile() as prof:
        step(x)
    rows = {row.name: row for row in prof.by_module()}
    assert set(rows) == {"Sequential", "Sequential.0", "Sequential.3", "Sequential.4"} \
        or set(rows) == {"Sequential", "Sequential.0", "Sequential.4"}
    assert all(np.isfinite(r.of_roof) and r.nbytes > 0 and r.time > 0 for r in rows.values())
    assert rows["Sequential"].flops == pytest.approx(
        rows["Sequential.0"].flops + rows["Sequential.4"].flops)


def test_states_that_stay_move_no_bytes_at_the_start_of_a_step() -> None:
    """An optimizer's first step makes them; the copies that would set them back are empty."""
    model = nn.Linear(64, 64)
    adam = optim.Adam(model.parameters())

    @fastnn.compile
    def step(x: Tensor) -> None:
        adam.zero_grad()
        model(x).square().mean().backward()
        adam.step()

    x = fastnn.randn(8, 64)
    for _ in range(2):
        step(x)
    with fastnn.profile() as prof:
        step(x)
    copies = [e.nbytes for e in prof.events if e.op == "cast"]
    assert copies == [8, 0, 0]          # the factor of the mean, both moments
