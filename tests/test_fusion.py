"""Fused programs: the same bits as unfused ones, for every pattern; and what must not be fused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cases import Case, all_cases
from cases.harness import same_bits
from replaying import REFUSED, arrays_of, step_of

import fastnn
from fastnn import _core, nn
from fastnn.nn import functional as F
from fastnn.replay import FUSIONS

pytestmark = pytest.mark.skipif(_core.backend_is_numpy(), reason="fusion is about C")


@pytest.fixture(autouse=True)
def chains_of_any_size() -> Iterator[None]:
    before = _core.set_chain_minimum(2)
    yield
    _core.set_chain_minimum(before)


def linear(n_in: int, n_out: int, bias: bool = True) -> nn.Linear:
    fastnn.manual_seed(1)
    return nn.Linear(n_in, n_out, bias=bias)


def training(build: Callable[[], tuple[Any, Callable[..., fastnn.Tensor]]],
             *shapes: tuple[int, ...]) -> tuple[Any, tuple[tuple[int, ...], ...]]:
    """A step that returns the result, and all gradients, those of the inputs too."""
    module, forward = build()

    def step(*inputs: fastnn.Tensor) -> Any:
        leaves = [x.clone().requires_grad_() for x in inputs]
        module.zero_grad()
        y = forward(*leaves)
        (y * y).sum().backward()
        return y.detach(), [t.grad for t in [*leaves, *module.parameters()]]

    return step, shapes


def activated(name: str) -> Any:
    def build() -> Any:
        layer = linear(24, 20)
        act = getattr(F, name.removesuffix("_tanh"))
        more = {"approximate": "tanh"} if name == "gelu_tanh" else {}
        return layer, lambda x: act(layer(x), **more)
    return training(build, (9, 24))


def linear_residual() -> Any:
    layer = linear(24, 20)
    return training(lambda: (layer, lambda x, r: layer(x) + r), (9, 24), (9, 20))


def residual_first() -> Any:
    layer = linear(24, 20, bias=False)
    return training(lambda: (layer, lambda x, r: F.relu(r + layer(x))), (9, 24), (9, 20))


def residual_norm(norm: Any) -> Any:
    layer = norm(20)
    return training(lambda: (layer, lambda x, r: layer(x + r)), (9, 20), (9, 20))


def batch_norm(train: bool, shape: tuple[int, ...]) -> Any:
    norm = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(shape[1]).train(train)

    def forward(x: fastnn.Tensor, r: fastnn.Tensor) -> fastnn.Tensor:
        return F.relu(norm(x) + r)
    return training(lambda: (norm, forward), shape, shape)


def norm_of_residual() -> Any:
    """A block's end, where the residual is a norm, too."""
    net = nn.ModuleList([nn.BatchNorm2d(20), nn.BatchNorm2d(20)])
    return training(lambda: (net, lambda x, y: F.relu(net[0](x) + net[1](y))), *[(2, 20, 5, 7)] * 2)


def batch_norm_relu(train: bool) -> Any:
    norm = nn.BatchNorm1d(20).train(train)
    return training(lambda: (norm, lambda x: F.relu(norm(x))), (9, 20))


def conv(path: str, **options: Any) -> nn.Conv2d:
    """A layer whose kernel takes this path."""
    fastnn.manual_seed(1)
    options = {
        "few": {"in_channels": 3, "out_channels": 20, "kernel_size": 3, "stride": 2},
        "windows": {"in_channels": 12, "out_channels": 20, "kernel_size": 3, "padding": 1},
        "pointwise": {"in_channels": 12, "out_channels": 20, "kernel_size": 1},
        "depthwise": {"in_channels": 20, "out_channels": 20, "kernel_size": 3, "groups": 20},
        "groups": {"in_channels": 12, "out_channels": 20, "kernel_size": 3, "groups": 4},
        "winograd": {"in_channels": 32, "out_channels": 34, "kernel_size": 3, "padding": 1},
    }[path] | options
    return nn.Conv2d(**options)


def image_of(layer: nn.Conv2d) -> tuple[int, ...]:
    return (2, layer.in_channels, 9, 10)


def conv_activated(path: str, name: str) -> Any:
    layer, act = conv(path), getattr(F, name)
    return training(lambda: (layer, lambda x: act(layer(x))), image_of(layer))


def conv_residual(path: str) -> Any:
    layer, other = conv(path), conv(path, bias=False)
    net = nn.ModuleList([layer, other])
    return training(lambda: (net, lambda x, y: F.relu(layer(x) + other(y))), *[image_of(layer)] * 2)


def conv_norm(path: str, late: bool = False) -> Any:
    """A residual block's end; late: the residual is there only after the convolution."""
    layer, norm = conv(path, bias=False), conv(path).out_channels
    norm, other = nn.BatchNorm2d(norm).eval(), conv(path)
    rng = np.random.default_rng(3)
    norm.load_state_dict({k: fastnn.tensor(rng.random(v.shape).astype(np.float32) + 0.5)
                          if v.is_floating_point() else v for k, v in norm.state_dict().items()})

    def step(x: fastnn.Tensor, y: fastnn.Tensor) -> Any:
        with fastnn.no_grad():
            r = None if late else other(y)
            z = norm(layer(x))
            return F.relu(z + (other(y) if r is None else r)), F.relu6(norm(layer(y)))
    return step, (image_of(layer),) * 2


def chain(shape: tuple[int, ...]) -> Any:
    def step(x: fastnn.Tensor, a: fastnn.Tensor, b: fastnn.Tensor) -> Any:
        leaf = x.clone().requires_grad_()
        y = leaf * F.sigmoid(leaf) * a + b
        y = fastnn.where(y > 0.5, y * 2, -y).exp().clamp(0.1, 9.0)
        (y * y).sum().backward()
        return y.detach(), leaf.grad
    return step, (shape, shape, shape)


def chain_of_rows() -> Any:
    def step(x: fastnn.Tensor, r: fastnn.Tensor, g: fastnn.Tensor, c: fastnn.Tensor) -> Any:
        with fastnn.no_grad():
            return F.softmax((x + r) * g - c, 1) * r
    return step, ((150, 40), (150, 40), (40,), (150, 1))


def silu_of_conv() -> Any:
    layer = conv("windows")

    def step(x: fastnn.Tensor) -> fastnn.Tensor:
        with fastnn.no_grad():
            return F.silu(layer(x))
    return step, (image_of(layer),)


PATHS = ("few", "windows", "pointwise", "depthwise", "groups", "winograd")
# What it shows, how, and how often at least.
PATTERNS: dict[str, tuple[str, Callable[[], Any], int]] = {
    **{f"linear+{a}": ("linear+activation", lambda a=a: activated(a), 2)
       for a in _core.ACTIVATIONS},
    "linear+r": ("linear+residual", linear_residual, 2),
    "r+linear+relu": ("linear+residual", residual_first, 2),
    "add+layer_norm": ("residual+norm", lambda: residual_norm(nn.LayerNorm), 1),
    "add+rms_norm": ("residual+norm", lambda: residual_norm(nn.RMSNorm), 1),
    "batch_norm+r": ("norm+residual", lambda: batch_norm(True, (9, 20)), 2),
    "batch_norm2d+r": ("norm+residual", lambda: batch_norm(True, (3, 5, 6, 6)), 2),
    "batch_norm_eval+r": ("norm+residual", lambda: batch_norm(False, (9, 20)), 2),
    "batch_norm+norm": ("norm+residual", norm_of_residual, 2),
    "batch_norm+relu": ("norm+activation", lambda: batch_norm_relu(True), 2),
    "batch_norm_eval+relu": ("norm+activation", lambda: batch_norm_relu(False), 2),
    **{f"conv-{p}+{a}": ("conv+activation", lambda p=p, a=a: conv_activated(p, a), 2)
       for p in PATHS for a in ("relu", "relu6")},
    **{f"conv+{a}": ("conv+activation", lambda a=a: conv_activated("groups", a), 2)
       for a in ("tanh", "sigmoid")},
    "conv+silu": ("conv+activation", lambda: silu_of_conv(), 1),
    **{f"conv-{p}+r": ("conv+residual", lambda p=p: conv_residual(p), 2) for p in PATHS},
    **{f"conv-{p}+norm": ("conv+norm", lambda p=p: conv_norm(p), 2) for p in PATHS},
    "conv+norm+late": ("conv+norm", lambda: conv_norm("windows", late=True), 2),
    "chain": ("chain", lambda: chain((7, 1500)), 2),
    "chain-small": ("chain", lambda: chain((3,)), 2),
    "chain-odd": ("chain", lambda: chain((1023,)), 2),
    "chain-rows": ("chain", chain_of_rows, 1),
}


def runs(step: Any, shapes: Any, fuse: Any, calls: int = 4) -> tuple[list[Any], Any]:
    """What each call of the compiled step returns, with 1, 2, 3, 1 threads."""
    compiled = fastnn.compile(step, fuse=fuse)
    results = []
    threads = fastnn.get_num_threads()
    for call in range(calls):
        fastnn.set_num_threads(1 + call % 3)
        rng = np.random.default_rng(call)
        inputs = [fastnn.tensor(rng.standard_normal(s).astype(np.float32)) for s in shapes]
        results.append(arrays_of(compiled(*inputs)))
    fastnn.set_num_threads(threads)
    return results, compiled


def equal(a: list[Any], b: list[Any]) -> bool:
    return all(same_bits(x, y) for r, s in zip(a, b, strict=True)
               for x, y in zip(r, s, strict=True))


@pytest.mark.parametrize("isa", _core.isa_names())
@pytest.mark.parametrize("name", PATTERNS)
def test_each_pattern_keeps_the_bits(name: str, isa: str) -> None:
    pattern, make, least = PATTERNS[name]
    active = _core.isa()
    try:
        _core.select_isa(isa)
        expected, plain = runs(*make(), fuse=False)
        for fuse in ({pattern}, True):
            fused, compiled = runs(*make(), fuse=fuse)
            assert equal(fused, expected)
            program = compiled.programs[0].program
            assert len(program) < len(plain.programs[0].program)
            found = [p for patterns, _ in program.fused.values() for p in patterns]
            assert found.count(pattern) >= least or fuse is True and found
            assert pattern in compiled.describe() or fuse is True
        assert plain.programs[0].program.fused == {}
        assert plain.describe().endswith("fused: nothing")
    finally:
        _core.select_isa(active)


def test_every_pattern_is_tested() -> None:
    assert {pattern for pattern, _, _ in PATTERNS.values()} == set(FUSIONS)


@pytest.mark.parametrize("case", [c for c in all_cases() if c.id not in REFUSED],
                         ids=lambda c: c.id)
def test_every_case_in_chains_of_any_size(case: Case) -> None:
    step = step_of(case)
    compiled = fastnn.compile(step)
    _core.poison_dead_memory(True)
    try:
        for call in range(3):
            results = []
            for function in (step, compiled):
                fastnn.manual_seed(call)
                rng = np.random.default_rng(call)
                inputs = [fastnn.tensor(a, dtype=a.dtype) for a in case.inputs(rng)]
                results.append(arrays_of(function(*inputs)) + arrays_of(inputs))
            assert equal([results[0]], [results[1]])
    finally:
        _core.poison_dead_memory(False)


# ---------------------------------------------------------------- what must not be fused

def second_reader(x: fastnn.Tensor, w: fastnn.Tensor) -> Any:
    z = F.linear(x, w)
    y = F.relu(z)
    z.mul_(2.0)                         # so z is needed, and not what relu saw
    return y, z + 1


def test_a_planted_pattern_that_ignores_a_second_reader_is_found() -> None:
    shapes = ((9, 24), (20, 24))
    expected, _ = runs(second_reader, shapes, fuse=False)
    fused, compiled = runs(second_reader, shapes, fuse={"linear+activation"})
    assert equal(fused, expected)
    assert not compiled.programs[0].program.fused
    _core.plant_fusion_fault(True)
    try:
        wrong, compiled = runs(second_reader, shapes, fuse={"linear+activation"})
        assert compiled.programs[0].program.fused
        assert not equal(wrong, expected)
    finally:
        _core.plant_fusion_fault(False)


@pytest.mark.parametrize("step", [
    lambda x, y: (x * y + x[1:].sum(), x),
    lambda x, y: ((x + y)[1:] * (x + y)[:-1] + y[1:], (x * y)[:3] * 2),
    lambda x, y: x.mul_(y).add_(x).exp_() * y,
    lambda x, y: [x * 2 + y, (x + y.sum(0)) * y, x * y.sum(1, keepdim=True) - y],
], ids=["sum-between", "shifted", "in-place", "broadcast"])
def test_neighbours_that_are_hardly_chains(step: Any) -> None:
    shapes = ((600, 5), (600, 5))
    assert equal(runs(step, shapes, fuse=True)[0], runs(step, shapes, fuse=False)[0])


def test_a_large_chain_needs_less_memory() -> None:
    def step(x: fastnn.Tensor, y: fastnn.Tensor) -> fastnn.Tensor:
        return ((x + y) * y - x).exp() * x

    shapes = ((1 << 18,), (1 << 18,))
    expected, plain = runs(step, shapes, fuse=False)
    fused, compiled = runs(step, shapes, fuse=True)
    assert equal(fused, expected)
    assert compiled.programs[0].program.arena_bytes == 0 < plain.programs[0].program.arena_bytes


def test_a_residual_block_has_a_record_for_each_convolution() -> None:
    step, shapes = conv_norm("winograd", late=True)
    expected, plain = runs(step, shapes, fuse=False)
    fused, compiled = runs(step, shapes, fuse=True)
    assert equal(fused, expected)
    assert len(compiled.programs[0].program) == len(plain.programs[0].program) - 5
    found = [p for patterns, _ in compiled.programs[0].program.fused.values() for p in patterns]
    assert sorted(found) == sorted(["conv+norm", "conv+activation"] * 2 + ["conv+residual"])
    assert "conv2d_norm" in compiled.describe()


def test_a_norm_does_not_wait_for_a_convolution_whose_input_changes() -> None:
    first, layer = conv("windows", out_channels=12), conv("windows")
    norm = nn.BatchNorm2d(20).eval()

    def step(x: fastnn.Tensor) -> Any:
        with fastnn.no_grad():
            image = first(x)
            z = layer(image)
            image.add_(1.0)             # what a convolution that came later would read
            return norm(z), image

    expected, _ = runs(step, (image_of(layer),), fuse=False)
    fused, compiled = runs(step, (image_of(layer),), fuse=True)
    assert equal(fused, expected)
    assert not any("conv+norm" in p for p, _ in compiled.programs[0].program.fused.values())


# ---------------------------------------------------------------- switches and description

def test_names_of_patterns_are_checked() -> None:
    for wrong in ("chain", {"dw+adam"}):
        with pytest.raises(ValueError, match="compile: fuse: got"):
            fastnn.compile(lambda x: x, fuse=wrong)


def test_a_decorator_with_arguments() -> None:
    @fastnn.compile(fuse=False)
    def double(x: fastnn.Tensor) -> fastnn.Tensor:
        return x * 2

    assert double(fastnn.ones(2)).tolist() == [2.0, 2.0]


def test_description() -> None:
    layer = linear(24, 20)

    @fastnn.compile
    def infer(x: fastnn.Tensor) -> fastnn.Tensor:
        with fastnn.no_grad():
            return F.softmax(F.relu(layer(x)), 1)

    assert infer.describe() == ""
    infer(fastnn.ones(9, 24))
    text = infer.describe()
    assert text.startswith("2 launches for 3 recorded")
    for part in ("linear_act", "(9, 20, 24, 1, 0, 0, 1)", "argument 0, outside", "-> arena+0",
                 "result 0", "memory: arena ", "eager peak", "linear+activation: linear, relu"):
        assert part in text
