"""Normalisation against torch: values, gradients, running statistics, state dicts both ways.

Means of at most 1,000 values of order one: 1e-5 of the largest value is several times what the
rounding of either side can differ.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastnn
from fastnn import nn

torch = pytest.importorskip("torch", reason="needs torch: pip install fastnn-engine[peers]")


def close(got, want):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape and got.dtype == want.dtype
    largest = np.abs(want).max(initial=1e-6)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * largest)


def normal(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


LAYERS = [
    ("LayerNorm", (7,), {}, (5, 7)), ("LayerNorm", ((3, 4),), {}, (5, 3, 4)),
    ("LayerNorm", (7,), {"bias": False}, (2, 3, 7)),
    ("LayerNorm", (7,), {"elementwise_affine": False, "eps": 0.1}, (5, 7)),
    ("RMSNorm", (7,), {}, (5, 7)), ("RMSNorm", ([3, 4],), {"eps": 0.1}, (5, 3, 4)),
    ("RMSNorm", (7,), {"elementwise_affine": False}, (5, 7)),
    ("GroupNorm", (2, 6), {}, (4, 6, 5)), ("GroupNorm", (3, 6), {"affine": False}, (4, 6, 3, 3)),
    ("GroupNorm", (6, 6), {}, (4, 6, 7)), ("GroupNorm", (1, 6), {"eps": 0.1}, (4, 6)),
    ("BatchNorm1d", (6,), {}, (9, 6)), ("BatchNorm1d", (6,), {}, (5, 6, 4)),
    ("BatchNorm1d", (6,), {"momentum": None}, (9, 6)),
    ("BatchNorm1d", (6,), {"affine": False}, (9, 6)),
    ("BatchNorm1d", (6,), {"track_running_stats": False}, (9, 6)),
    ("BatchNorm1d", (1,), {}, (9, 1)),
    ("BatchNorm2d", (6,), {}, (4, 6, 3, 5)),
    ("BatchNorm2d", (6,), {"momentum": 0.3, "eps": 0.1}, (4, 6, 3, 5)),
    ("InstanceNorm1d", (6,), {}, (4, 6, 5)), ("InstanceNorm1d", (6,), {}, (6, 5)),
    ("InstanceNorm1d", (6,), {"affine": True, "track_running_stats": True}, (4, 6, 5)),
    ("InstanceNorm2d", (6,), {"affine": True}, (4, 6, 3, 5)),
    ("InstanceNorm2d", (6,), {"track_running_stats": True, "momentum": None}, (4, 6, 3, 5)),
]


@pytest.mark.parametrize(("name", "arguments", "options", "shape"), LAYERS, ids=str)
def test_layer(name, arguments, options, shape):
    """Three steps of training with new weights each, then evaluation; weights go over both ways."""
    ours, theirs = (getattr(m, name)(*arguments, **options) for m in (nn, torch.nn))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for step in range(3):
        state = {k: normal(tuple(p.shape), 10 + step) for k, p in theirs.named_parameters()}
        theirs.load_state_dict({**theirs.state_dict(),
                                **{k: torch.tensor(v) for k, v in state.items()}})
        ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
        check(ours, theirs, shape, step)
    ours.eval(), theirs.eval()
    check(ours, theirs, shape, 3)
    fresh = getattr(torch.nn, name)(*arguments, **options)
    fresh.load_state_dict({k: torch.tensor(np.array(v.numpy()))
                           for k, v in ours.state_dict().items()})
    x = normal(shape, 8)
    close(ours(fastnn.tensor(x)).detach(), fresh.eval()(torch.tensor(x)).detach())


def check(ours, theirs, shape, step):
    x, g = 2 * normal(shape, step) + 3, normal(shape, 20 + step)
    a, b = fastnn.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    for module in (ours, theirs):
        module.zero_grad()
    y, z = ours(a), theirs(b)
    close(y.detach(), z.detach())
    y.backward(fastnn.tensor(g))
    z.backward(torch.tensor(g))
    # Terms that cancel: a gradient is the difference of numbers as large as g w / sigma.
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-4, atol=2e-5)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(p.grad, q.grad)
    for (k, p), q in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        close(p.numpy(), q.numpy()), k


@pytest.mark.parametrize("expression", [
    "F.layer_norm(x, (4,))", "F.rms_norm(x, [4])", "F.group_norm(x, 3, eps=0.1)",
    "F.instance_norm(x)", "F.batch_norm(x, None, None, training=True)",
    "F.batch_norm(x, m, v, momentum=0.2)", "F.instance_norm(x, m, v, use_input_stats=False)",
])
def test_function(expression):
    results = []
    for engine in (fastnn, torch):
        x = engine.tensor(normal((2, 6, 4), 0), requires_grad=True)
        names = {"F": engine.nn.functional, "x": x, "m": engine.tensor(normal(6, 1)),
                 "v": engine.tensor(normal(6, 2) ** 2 + 1)}
        y = eval(expression, names)
        (y * y * y).sum().backward()
        results.append([np.asarray(y.detach()), np.asarray(x.grad)])
    for mine, other in zip(*results, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "arguments", "shape"), [
    ("BatchNorm1d", (3,), (1, 3)), ("BatchNorm2d", (3,), (1, 3, 1, 1)),
    ("BatchNorm2d", (3,), (2, 3)), ("BatchNorm1d", (3,), (2, 4)), ("GroupNorm", (3, 3), (1, 3)),
    ("InstanceNorm1d", (3,), (2, 3, 1)), ("LayerNorm", (3,), (2, 4)), ("GroupNorm", (4, 6), None),
])
def test_both_refuse(name, arguments, shape):
    for engine in (fastnn, torch):
        with pytest.raises((ValueError, RuntimeError)):
            getattr(engine.nn, name)(*arguments)(engine.ones(*shape))
