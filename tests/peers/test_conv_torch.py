"""Convolutions and pooling beside torch's: outputs, gradients, layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastnn

torch = pytest.importorskip("torch", reason="needs torch: pip install fastnn-engine[peers]")

CONVOLUTIONS = [        # input, weight, options
    ((3, 8, 9, 7), (6, 8, 3, 2), {}),
    ((3, 8, 9, 7), (6, 8, 3, 3), {"stride": (2, 1), "padding": (1, 2)}),
    ((2, 8, 9, 7), (6, 8, 3, 2), {"dilation": (2, 3), "padding": "same"}),
    ((2, 8, 9, 7), (6, 8, 4, 3), {"padding": "valid"}),
    ((2, 8, 6, 7), (12, 2, 3, 3), {"groups": 4, "stride": 2, "padding": 1}),
    ((2, 8, 6, 7), (8, 1, 3, 3), {"groups": 8, "padding": 1}),
    ((2, 8, 6, 7), (16, 1, 5, 3), {"groups": 8, "dilation": 2, "padding": (4, 2)}),
    ((2, 8, 6, 7), (12, 8, 1, 1), {"stride": 2}),
    ((2, 3, 33, 29), (16, 3, 7, 7), {"stride": 2, "padding": 3}),
    ((2, 64, 15, 14), (48, 64, 3, 3), {"padding": 1}),
    ((0, 8, 6, 7), (12, 8, 3, 3), {}),
    ((2, 8, 11), (6, 8, 4), {"stride": 3, "padding": 2}),
    ((2, 8, 11), (6, 4, 3), {"groups": 2, "dilation": 2, "padding": "same"}),
]


def named(name: str, shape: tuple[int, ...]) -> str:
    return f"{name}{len(shape) - 2}d"


def results(engine: Any, function: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The output and the gradient of each array, for a weighted sum of the output."""
    leaves = [engine.tensor(a, requires_grad=True) for a in arrays]
    y = function(*leaves)
    weights = np.random.default_rng(1).standard_normal(tuple(y.shape)).astype("float32")
    (y * engine.tensor(weights)).sum().backward()
    return [t.detach().numpy() for t in (y, *(leaf.grad for leaf in leaves))]


def compare(function: Any, arrays: list[np.ndarray]) -> None:
    """To some roundings of the largest value: sums have up to a thousand terms."""
    for ours, theirs in zip(results(fastnn, lambda *a: function(fastnn.nn.functional, *a), arrays),
                            results(torch, lambda *a: function(torch.nn.functional, *a), arrays),
                            strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5,
                                   atol=2e-6 * np.abs(theirs).max(initial=1.0))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("exact", [False, True], ids=["winograd", "exact"])
@pytest.mark.parametrize("x,w,options", CONVOLUTIONS, ids=str)
def test_convolutions_are_torchs(x: tuple, w: tuple, options: dict, exact: bool) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype("float32") for s in (x, w, w[:1])]
    with fastnn.exact_conv(exact):
        compare(lambda F, *a: getattr(F, named("conv", x))(*a, **options), arrays)


IMAGES, SEQUENCES = (3, 5, 11, 9), (3, 5, 13)
POOLINGS = [            # function, input, arguments
    ("max_pool", IMAGES, (2,)), ("max_pool", IMAGES, (3, 2, 1)),
    ("max_pool", IMAGES, ((3, 2), (2, 1), (1, 0), (2, 1))),
    ("max_pool", IMAGES, (3, 2, 1, 1, True)), ("max_pool", IMAGES, (2, 5, 0, 1, True)),
    ("max_pool", SEQUENCES, (3, 2, 1)), ("max_pool", (0, 5, 6, 6), (2,)),
    ("avg_pool", IMAGES, (2,)), ("avg_pool", IMAGES, (3, 2, 1)),
    ("avg_pool", IMAGES, (3, 2, 1, False, False)), ("avg_pool", IMAGES, (3, 2, 1, True)),
    ("avg_pool", IMAGES, ((2, 3), (3, 4), 1, True, False)),
    ("avg_pool", IMAGES, (2, 3, 0, False, True, 7)),
    ("avg_pool", SEQUENCES, (3, 2, 1)), ("avg_pool", SEQUENCES, (3, 2, 1, True, False)),
    *((name, IMAGES, (size,)) for name in ("adaptive_avg_pool", "adaptive_max_pool")
      for size in (1, (3, 4), (13, None), (11, 2))),
    *((name, SEQUENCES, (size,)) for name in ("adaptive_avg_pool", "adaptive_max_pool")
      for size in (1, 5, 20)),
]


@pytest.mark.parametrize("name,shape,arguments", POOLINGS, ids=str)
def test_poolings_are_torchs(name: str, shape: tuple, arguments: tuple) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    compare(lambda F, a: getattr(F, named(name, shape))(a, *arguments), [x])


@pytest.mark.parametrize("name,arguments", [("max_pool2d", (3, 2, 1)),
                                            ("adaptive_max_pool2d", ((3, 4),))], ids=str)
def test_equal_maxima_send_the_gradient_where_torch_does(name: str, arguments: tuple) -> None:
    x = np.random.default_rng(0).integers(0, 2, (2, 3, 7, 8)).astype("float32")
    compare(lambda F, a: getattr(F, name)(a, *arguments), [x])


LAYERS = [
    "Conv1d(8, 12, 3)", "Conv2d(8, 12, 3)", "Conv2d(8, 12, (3, 2), stride=2, padding=(1, 0))",
    "Conv2d(8, 12, 3, padding='same', dilation=2, groups=4, bias=False)",
    "Conv2d(8, 8, 3, padding=1, padding_mode='reflect', groups=8)",
    "Conv2d(8, 12, 3, padding=(2, 1), padding_mode='replicate')",
    "Conv1d(8, 12, 4, padding='same', padding_mode='circular')",
    "MaxPool1d(3, 2)", "MaxPool2d(3, 2, padding=1)", "MaxPool2d((2, 3), ceil_mode=True)",
    "AvgPool1d(2)", "AvgPool2d(3, stride=2, padding=1)", "AvgPool2d(2, divisor_override=3)",
    "AdaptiveAvgPool1d(3)", "AdaptiveAvgPool2d((2, 3))", "AdaptiveAvgPool2d(1)",
    "AdaptiveMaxPool1d(3)", "AdaptiveMaxPool2d((2, None))",
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("text", LAYERS)
def test_layers_are_torchs(text: str) -> None:
    """Names and shapes of parameters, the range of their draws, and what the layer computes."""
    fastnn.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = (eval(f"nn.{text}", {"nn": engine.nn}) for engine in (fastnn, torch))
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()]
    for parameter in ours.parameters():
        bound = ours.weight[0].numel() ** -0.5          # of torch's uniform draws, too
        assert 0.5 * bound < parameter.abs().max().item() <= bound * (1 + 1e-6)
    if "AvgPool1d(2)" != text:                          # torch shows its sizes as tuples
        assert repr(ours).replace("'", "") == repr(theirs)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    shape = (2, 8, 13) if "1d" in text else (2, 8, 9, 8)
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    np.testing.assert_allclose(ours(fastnn.tensor(x)).detach().numpy(),
                               theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("text,shape", [
    ("conv2d(x, w, stride=0)", (2, 4, 6, 6)), ("conv2d(x, w, dilation=0)", (2, 4, 6, 6)),
    ("conv2d(x, w, padding=-1)", (2, 4, 6, 6)), ("conv2d(x, w, groups=3)", (2, 4, 6, 6)),
    ("conv2d(x, w, groups=0)", (2, 4, 6, 6)), ("conv2d(x, w)", (2, 5, 6, 6)),
    ("conv2d(x, w)", (2, 4, 2, 6)), ("conv2d(x, w, padding='same', stride=2)", (2, 4, 6, 6)),
    ("max_pool2d(x, 0)", (2, 4, 6, 6)), ("max_pool2d(x, 2, 0, 2)", (2, 4, 6, 6)),
    ("max_pool2d(x, 2, padding=2)", (2, 4, 6, 6)), ("max_pool2d(x, 7)", (2, 4, 6, 6)),
    ("avg_pool2d(x, 2, padding=2)", (2, 4, 6, 6)), ("avg_pool2d(x, 7)", (2, 4, 6, 6)),
    ("avg_pool2d(x, 2, divisor_override=0)", (2, 4, 6, 6)),
    ("adaptive_avg_pool2d(x, -1)", (2, 4, 6, 6)), ("adaptive_max_pool2d(x, (1, 2, 3))",
                                                   (2, 4, 6, 6)),
])
def test_both_refuse(text: str, shape: tuple) -> None:
    for engine in (fastnn, torch):
        names = {"x": engine.zeros(*shape), "w": engine.zeros(6, 4, 3, 3)}
        with pytest.raises((ValueError, RuntimeError)):
            eval(f"engine.nn.functional.{text}", {"engine": engine, **names})
