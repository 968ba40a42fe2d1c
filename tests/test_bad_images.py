"""The catalogue of bad inputs of convolutions, pooling, and what else works on images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from bad import Bad, F, check, f, leaf, outcome

import fastnn
from fastnn import nn
from fastnn.errors import DTypeError, LimitError, ShapeError

X, W, BACK = (2, 4, 6, 6), (8, 4, 3, 3), (4, 8, 3, 3)
MOST = 2**31 - 1


def rows(op: str, call: Callable[..., Any], table: Any) -> Iterator[Bad]:
    """op must refuse each of these options, naming the argument."""
    for options, message in table:
        yield Bad(f"{op}-{options}", lambda options=options: call(**options), ShapeError,
                  "^" + re.escape(f"{op}: {message}"))


def shapes(op: str, function: Callable[..., Any], table: Any) -> Iterator[Bad]:
    for x, w, b, argument in table:
        yield Bad(f"{op}-{x}-{w}-{b}", lambda x=x, w=w, b=b: function(
            fastnn.zeros(x), fastnn.zeros(w), None if b is None else fastnn.zeros(b)),
            ShapeError, f"^{op}: {argument}: got shape .*; need")


WINDOWS = [         # what no convolution takes
    ({"stride": 0}, "stride: got 0; need 1 to 2147483647"),
    ({"stride": -1}, "stride: got -1; need 1 to"),
    ({"stride": (1, 2, 3)}, "stride: got (1, 2, 3); need one integer or 2"),
    ({"stride": 2**63}, "stride: got 9223372036854775808; need 1 to"),
    ({"padding": -1}, "padding: got -1; need 0 to"),
    ({"padding": 2**62}, "padding: got 4611686018427387904; need 0 to"),
    ({"dilation": 0}, "dilation: got 0; need 1 to"),
    ({"dilation": MOST}, "input: got (6, 6)"),
    ({"padding": MOST}, "input: got (6, 6)"),
    ({"groups": 0}, "groups: got 0; need a divisor of the"),
    ({"groups": -2}, "groups: got -2; need a divisor"),
    ({"groups": 3}, "groups: got 3; need a divisor"),
]
CONVOLUTIONS = [
    *rows("conv2d", lambda **options: F.conv2d(leaf(*X), leaf(*W), **options), [
        *WINDOWS,
        ({"dilation": 3}, "input: got (6, 6) and padding (0, 0); need a padded size of 7"),
        ({"groups": 2}, "input: got shape (2, 4, 6, 6) with 4 channels; need 8"),
        ({"padding": "same", "stride": 2}, "padding: got 'same' with stride (2, 2); need stride 1"),
    ]),
    *rows("conv_transpose2d", lambda **options: F.conv_transpose2d(
        leaf(*X), leaf(*BACK), **options), [
        *WINDOWS,
        ({"stride": MOST}, "input: got (6, 6), kernel (3, 3) and padding (0, 0); need outputs"),
        ({"padding": 4}, "input: got (6, 6), kernel (3, 3) and padding (4, 4); need outputs of 1"),
        ({"output_padding": -1}, "output_padding: got -1; need 0 to"),
        ({"output_padding": 1}, "output_padding: got (1, 1); need less than stride (1, 1)"),
        ({"output_padding": (1, 2), "stride": 2}, "output_padding: got (1, 2); need less than"),
        ({"output_padding": 2**62}, "output_padding: got"),
    ]),
    *rows("conv1d", lambda **options: F.conv1d(f(2, 4, 6), f(8, 4, 3), **options), [
        ({"stride": 0}, "stride: got 0; need 1"), ({"padding": -1}, "padding: got -1; need 0"),
        ({"stride": (1, 1)}, "stride: got (1, 1); need one integer or 1"),
        ({"groups": 3}, "groups: got 3; need a divisor"),
        ({"dilation": 3}, "input: got (6,) and padding (0,); need a padded size of 7"),
    ]),
    *rows("conv_transpose1d", lambda **options: F.conv_transpose1d(
        f(2, 4, 6), f(4, 8, 3), **options), [
        ({"stride": 0}, "stride: got 0; need 1"),
        ({"padding": 4}, "input: got (6,), kernel (3,) and padding (4,); need outputs of 1"),
        ({"output_padding": 1}, "output_padding: got (1,); need less than stride (1,)"),
    ]),
    *shapes("conv2d", F.conv2d, [
        ((4, 6, 6), W, None, "input"), (X, (8, 4, 3), None, "weight"),
        (X, (8, 5, 3, 3), None, "input"), (X, (0, 4, 3, 3), None, "weight"),
        (X, (8, 4, 0, 3), None, "weight"), (X, W, (7,), "bias"), (X, W, (8, 1), "bias")]),
    *shapes("conv_transpose2d", F.conv_transpose2d, [
        ((4, 6, 6), BACK, None, "input"), (X, (4, 8, 3), None, "weight"),
        (X, (5, 8, 3, 3), None, "input"), (X, (0, 8, 3, 3), None, "weight"),
        (X, (4, 0, 3, 3), None, "weight"), (X, (4, 8, 0, 3), None, "weight"),
        (X, BACK, (4,), "bias"), ((2, 8, 6, 6), BACK, None, "input")]),
    Bad("conv-kernel-beyond", lambda: F.conv2d(f(*X), f(8, 4, 7, 3)), ShapeError,
        r"conv2d: input: got \(6, 6\) and padding \(0, 0\); need a padded size of 7 at least"),
    Bad("conv-no-rows", lambda: F.conv2d(f(2, 4, 0, 6), f(*W)), ShapeError, "need a padded size"),
    Bad("conv-transpose-no-rows", lambda: F.conv_transpose2d(f(2, 4, 0, 6), f(*BACK)), ShapeError,
        "need outputs of 1"),
    Bad("conv-stride-real", lambda: F.conv2d(f(*X), f(*W), stride=1.5), DTypeError,
        "conv2d: stride: got 1.5; need an integer"),
    Bad("conv-integers", lambda: F.conv2d(f(*X).long(), f(*W)), DTypeError,
        r"conv2d: input: got int64; need float32: use \.float\(\)"),
    Bad("conv-transpose-integers", lambda: F.conv_transpose2d(f(*X).long(), f(*BACK)), DTypeError,
        "conv_transpose2d: input: got int64"),
    Bad("conv-transpose-stride-real", lambda: F.conv_transpose2d(f(*X), f(*BACK), stride=1.5),
        DTypeError, "conv_transpose2d: stride"),
    Bad("conv-padding-word", lambda: F.conv2d(f(*X), f(*W), padding="full"), ValueError,
        "conv2d: padding: got 'full'; need 'same', 'valid' or integers"),
    Bad("conv-taps", lambda: F.conv2d(f(1, 1, 1, 1), fastnn.zeros(1, 1, 512, 512), padding=512),
        LimitError, "conv2d: weight: got .*; need at most 131072 taps"),
    Bad("conv-transpose-taps", lambda: F.conv_transpose2d(
        f(1, 1, 1, 1), fastnn.zeros(1, 1, 512, 512)), LimitError, "conv_transpose2d: weight"),
    Bad("conv-huge-padding", lambda: F.conv2d(f(1, 1, 1, 1), f(64, 1, 1, 1), padding=2**20),
        MemoryError, "bytes"),
    Bad("conv-transpose-huge-stride", lambda: F.conv_transpose2d(
        f(1, 64, 2, 2), f(64, 64, 1, 1), stride=2**20), MemoryError, "bytes"),
]

POOLED = [          # what neither pooling takes
    ({"kernel_size": 0}, "kernel_size: got 0; need 1 to"),
    ({"kernel_size": -1}, "kernel_size: got -1; need 1 to"),
    ({"kernel_size": 2, "stride": 0}, "stride: got 0; need 1 to"),
    ({"kernel_size": 2, "stride": -3}, "stride: got -3; need 1 to"),
    ({"kernel_size": 2, "padding": 2},
     "padding: got (2, 2); need half the kernel size (2, 2) at most"),
    ({"kernel_size": 2, "padding": -1}, "padding: got -1; need 0 to"),
    ({"kernel_size": 7}, "input: got (6, 6) and padding (0, 0); need a padded size of 7"),
    ({"kernel_size": 2**63}, "kernel_size: got 9223372036854775808; need 1 to"),
    ({"kernel_size": (2, 2, 2)}, "kernel_size: got (2, 2, 2); need one integer or 2"),
]
ADAPTIVE = [
    ({"output_size": 0}, "output_size: got (0, 0); need 1 to"),
    ({"output_size": (2, -1)}, "output_size: got (2, -1); need 1 to"),
    ({"output_size": (1, 2, 3)}, "output_size: got (1, 2, 3); need one integer or 2"),
    ({"output_size": 2**62}, "output_size: got"),
]


def pooled(op: str, *x: int) -> Bad:
    return Bad(f"{op}-{x}", lambda: getattr(F, op)(fastnn.zeros(x), 1), ShapeError,
               f"^{op}: input: got shape .*; need . axes, ")


POOLINGS = [
    *(bad for op, table in (
        ("max_pool2d", [*POOLED, ({"kernel_size": 2, "dilation": 0}, "dilation: got 0; need 1")]),
        ("avg_pool2d", POOLED), ("adaptive_avg_pool2d", ADAPTIVE),
        ("adaptive_max_pool2d", ADAPTIVE))
      for bad in rows(op, lambda op=op, **options: getattr(F, op)(leaf(*X), **options), table)),
    *(pooled(op, *x) for op in ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d",
                                "adaptive_max_pool2d")
      for x in ((4, 6, 6), (2, 3, 0, 4), (2, 0, 3, 4))),
    *(pooled(op, *x) for op in ("max_pool1d", "avg_pool1d", "adaptive_avg_pool1d",
                                "adaptive_max_pool1d") for x in ((4, 6), (2, 3, 0))),
    Bad("avg-pool-divisor", lambda: F.avg_pool2d(f(*X), 2, divisor_override=0), ValueError,
        "avg_pool2d: divisor_override: got 0; need 1 to"),
    Bad("max-pool-taps", lambda: F.max_pool2d(fastnn.zeros(1, 1, 300, 1), (300, 1)), LimitError,
        "max_pool2d: kernel_size: got .*; need at most 256"),
    Bad("max-pool-integers", lambda: F.max_pool2d(f(*X).long(), 2), DTypeError,
        "max_pool2d: input: got int64; need float32"),
    Bad("adaptive-max-huge", lambda: F.adaptive_max_pool2d(f(*X), MOST), ShapeError,
        r"need 1 to 2\*\*24"),
    Bad("adaptive-avg-huge", lambda: F.adaptive_avg_pool2d(f(*X), 2**20), MemoryError, "bytes"),
]

OTHERS = [
    Bad("batch-norm-no-momentum", lambda: F.batch_norm(f(8, 3), f(3), f(3), training=True,
                                                       momentum=None), ValueError,
        r"batch_norm: momentum: got None; need a number, or nn\.BatchNorm"),
    Bad("batch-norm-no-momentum-at-all", lambda: F.batch_norm(f(8, 3), None, None, training=True,
                                                              momentum=None), ValueError,
        "momentum: got None"),
    Bad("dropout2d-word", lambda: F.dropout2d(f(*X), "same"), DTypeError,
        "dropout2d: p: got 'same'; need a number from 0 to 1"),
    Bad("dropout2d-p", lambda: F.dropout2d(f(*X), 1.5), ValueError, "dropout2d: p: got 1.5; need"),
    Bad("pad-replicate-huge", lambda: F.pad(f(*X), (2**40, 0), "replicate"), MemoryError, "bytes"),
    Bad("pad-replicate-overflow", lambda: F.pad(f(*X), (2**62, 0), "replicate"), ShapeError),
    Bad("pad-replicate-nothing", lambda: F.pad(f(2, 0), (1, 0), "replicate"), ShapeError,
        "need elements along axis 1"),
    Bad("pad-constant-huge", lambda: F.pad(f(*X), (2**40, 0)), MemoryError, "bytes"),
    Bad("pad-reflect-size", lambda: F.pad(f(*X), (6, 0), "reflect"), ShapeError,
        "pad: pad: got 6 and 0 for size 6; need less than the size"),
    Bad("pad-circular-size", lambda: F.pad(f(*X), (7, 0), "circular"), ShapeError, "at most"),
    Bad("interpolate-huge", lambda: F.interpolate(f(64, 64, 6, 6), 2**20), MemoryError, "bytes"),
]

CATALOGUE = CONVOLUTIONS + POOLINGS + OTHERS


@pytest.mark.parametrize("bad", CATALOGUE, ids=lambda b: b.name)
def test_bad_input(bad: Bad) -> None:
    check(bad)


def test_names_are_unique() -> None:
    assert len({b.name for b in CATALOGUE}) == len(CATALOGUE)


# ---------------------------------------------------------------- layers, state, empty batches

LAYERS = [
    (nn.Conv2d, "Conv2d", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (2, 4, 3, 1, 0, 1, 3), (1, 1, -2)]),
    (nn.Conv1d, "Conv1d", [(0, 1, 1), (1, 1, 0), (1, 1, (1, 2)), (1, 1, 1, 0)]),
    (nn.ConvTranspose2d, "ConvTranspose2d", [
        (0, 1, 1), (1, 0, 1), (1, 1, 0), (4, 2, 3, 1, 0, 0, 3), (1, 1, 2, 1, -1),
        (1, 1, 2, 1, 0, -1)]),
]


@pytest.mark.parametrize("layer,name,arguments", [
    (layer, name, a) for layer, name, table in LAYERS for a in table], ids=str)
def test_bad_layers(layer: Any, name: str, arguments: tuple) -> None:
    with pytest.raises(ShapeError, match=f"{name}: .*; need"):
        layer(*arguments)


def test_bad_padding_modes() -> None:
    with pytest.raises(ValueError, match="Conv2d: padding_mode: got 'mirror'; need"):
        nn.Conv2d(1, 1, 1, padding_mode="mirror")
    with pytest.raises(ValueError, match="ConvTranspose2d: padding_mode"):
        nn.ConvTranspose2d(1, 1, 1, padding_mode="reflect")


def test_errors_name_the_layer() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 8, 3)))
    with pytest.raises(ShapeError, match=r"^1\.1 \[conv2d\]: input: got shape .* with 8 channels; "
                                         "need 4"):
        net(f(2, 3, 9, 9))


@pytest.mark.parametrize("call", [
    lambda x, w: F.conv2d(x, w, groups=3), lambda x, w: F.conv_transpose2d(x, w, stride=0),
    lambda x, w: F.max_pool2d(x, 9), lambda x, w: F.conv2d(x, w, f(3)),
    lambda x, w: F.conv2d(x, w).backward(f(1, 2, 3)),
], ids=["conv2d", "conv_transpose2d", "max_pool2d", "bias", "backward"])
def test_a_failed_call_leaves_its_inputs_alone(call: Any) -> None:
    x, w = leaf(2, 4, 6, 6), leaf(4, 4, 3, 3)
    before = [t.detach().numpy().tobytes() for t in (x, w)]
    assert isinstance(outcome(lambda: call(x, w)), ShapeError)
    assert [t.detach().numpy().tobytes() for t in (x, w)] == before
    assert x.grad is None and w.grad is None


def test_a_refused_step_changes_no_state() -> None:
    """Parameters, statistics and momenta are as before: later steps have the same bits."""
    def make() -> tuple[Any, Any]:
        fastnn.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Flatten(),
                            nn.Linear(16, 2))
        return net, fastnn.optim.Adam(net.parameters(), 0.01)

    states = []
    for refused in (False, True):
        net, adam = make()
        for _ in range(2):
            adam.zero_grad()
            net(f(3, 1, 6, 6)).square().sum().backward()
            adam.step()
            for x in (f(1, 1, 6, 6).long(), f(2, 2, 6, 6), f(2, 1, 2, 9)) if refused else ():
                assert isinstance(outcome(lambda net=net, x=x: net(x)), (ShapeError, DTypeError))
        states.append([v.numpy().tobytes() for v in net.state_dict().values()])
    assert states[0] == states[1]


@pytest.mark.parametrize("function,shape", [
    (lambda x, w: F.conv2d(x, w, padding=1), (8, 4, 3, 3)),
    (lambda x, w: F.conv2d(x, w, groups=4), (8, 1, 3, 3)),
    (lambda x, w: F.conv_transpose2d(x, w, stride=2), (4, 8, 3, 3)),
    (lambda x, w: F.max_pool2d(x, 2) * w, (1,)), (lambda x, w: F.avg_pool2d(x, 2) * w, (1,)),
    (lambda x, w: F.adaptive_max_pool2d(x, (2, 5)) * w, (1,)),
    (lambda x, w: F.interpolate(x, 3, mode="bilinear") * w, (1,)),
    (lambda x, w: F.pad(F.unfold(x, 3), (1, 1), "replicate") * w, (1,)),
    (lambda x, w: F.pixel_shuffle(x, 2) * w, (1,)), (lambda x, w: F.dropout2d(x) * w, (1,)),
], ids=["conv", "groups", "transposed", "max", "avg", "adaptive", "interpolate", "unfold",
        "shuffle", "dropout"])
def test_no_images_give_no_results_and_zero_gradients(function: Any, shape: tuple) -> None:
    x, w = fastnn.zeros(0, 4, 6, 6).requires_grad_(), leaf(*shape)
    y = function(x, w)
    assert y.shape[0] == 0 == y.numel()
    y.sum().backward()
    assert x.grad.shape == x.shape and not np.any(w.grad.numpy())
