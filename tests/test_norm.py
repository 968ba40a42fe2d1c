"""Normalisation beyond its cases: statistics, layers, layouts, and what fused forms must equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases.harness import same_bits

import fastnn
from fastnn import ShapeError, _core, nn, optim
from fastnn.nn import functional as F


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def leaf(*shape: int, seed: int = 0) -> fastnn.Tensor:
    return fastnn.tensor(normal(*shape, seed=seed), requires_grad=True)


def bits(t: Any) -> np.ndarray:
    return np.array(t.detach().numpy())


# ---------------------------------------------------------------- numbers

def exact(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """x normalised in float64."""
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axis=axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=axes, keepdims=True) + 1e-5)


@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4])
def test_a_mean_far_from_zero_costs_no_digits(mean: float) -> None:
    """Errors stay at a few roundings of the result: E[x²] - E[x]² would lose all of them."""
    x = normal(32, 48, 10) + np.float32(mean)
    t = fastnn.tensor(x)
    for y, axes in ((F.layer_norm(t, (48, 10)), (1, 2)), (F.instance_norm(t), (2,)),
                    (F.batch_norm(t, None, None, training=True), (0, 2)),
                    (F.batch_norm(t.flatten(1), None, None, training=True), (0,))):
        z = x.reshape(y.shape)
        np.testing.assert_allclose(y.numpy(), exact(z, axes), rtol=0, atol=4e-6)


def test_a_first_value_far_from_the_others_costs_no_variance() -> None:
    """The pivot is an outlier: squares are still summed around means."""
    x = normal(4096, 3) + np.float32(1e4)
    x[0] = 0.0
    mean, var = fastnn.zeros(3), fastnn.zeros(3)
    F.batch_norm(fastnn.tensor(x), mean, var, training=True, momentum=1.0)
    np.testing.assert_allclose(var.numpy(), x.astype(np.float64).var(axis=0, ddof=1), rtol=1e-5)


def test_a_constant_gives_the_bias() -> None:
    x, w, b = fastnn.full((6, 4), 1e5), fastnn.ones(4), fastnn.tensor([1.0, 2.0, 3.0, 4.0])
    for y in (F.layer_norm(x, (4,), w, b), F.batch_norm(x, None, None, w, b, True)):
        assert (y.numpy() == b.numpy()).all()


def test_nan_stays_in_its_row_or_channel() -> None:
    x = normal(5, 6)
    x[2, 3] = np.nan
    y = np.isnan(F.layer_norm(fastnn.tensor(x), (6,)).numpy())
    assert y[2].all() and y.sum() == 6
    z = F.batch_norm(fastnn.tensor(x), None, None, training=True, activation="relu")
    y = np.isnan(z.numpy())
    assert y[:, 3].all() and y.sum() == 5


# ---------------------------------------------------------------- running statistics

def test_running_statistics_over_steps() -> None:
    bn, average = nn.BatchNorm1d(4), nn.BatchNorm1d(4, momentum=None)
    mean, var, means, variances = np.zeros(4), np.ones(4), [], []
    for step in range(5):
        x = normal(9, 4, 3, seed=step) * (step + 1) + step
        bn(fastnn.tensor(x))
        average(fastnn.tensor(x))
        rows = x.transpose(0, 2, 1).reshape(-1, 4).astype(np.float64)
        means.append(rows.mean(axis=0))
        variances.append(rows.var(axis=0, ddof=1))
        mean, var = 0.9 * mean + 0.1 * means[-1], 0.9 * var + 0.1 * variances[-1]
    for layer, m, v in ((bn, mean, var), (average, np.mean(means, 0), np.mean(variances, 0))):
        np.testing.assert_allclose(layer.running_mean.numpy(), m, rtol=1e-5)
        np.testing.assert_allclose(layer.running_var.numpy(), v, rtol=1e-5)
        assert layer.num_batches_tracked.item() == 5


def test_an_empty_batch_changes_no_statistics() -> None:
    bn = nn.BatchNorm2d(3)
    x = fastnn.zeros(0, 3, 4, 4).requires_grad_()
    y = bn(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == (0, 3, 4, 4)
    assert bn.running_mean.tolist() == [0.0] * 3 and bn.running_var.tolist() == [1.0] * 3
    assert bn.weight.grad.tolist() == bn.bias.grad.tolist() == [0.0] * 3


def test_a_refused_call_changes_nothing() -> None:
    bn = nn.BatchNorm1d(3)
    for x in (fastnn.ones(1, 3), fastnn.ones(4, 2)):
        with pytest.raises(ShapeError):
            bn(x)
    assert bn.num_batches_tracked.item() == 0 and bn.running_mean.tolist() == [0.0] * 3


def test_evaluation_takes_what_training_left() -> None:
    bn = nn.BatchNorm1d(3)
    bn(fastnn.tensor(normal(20, 3)))
    bn.eval()
    before = [bits(b) for b in bn.buffers()]
    x = normal(6, 3, seed=1)
    y = bn(fastnn.tensor(x)).detach().numpy()
    want = (x - bn.running_mean.numpy()) / np.sqrt(bn.running_var.numpy() + 1e-5)
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)
    assert all(same_bits(a, bits(b)) for a, b in zip(before, bn.buffers(), strict=True))


# ---------------------------------------------------------------- fused forms and layouts

@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("used", ["both", "norm", "sum"])
def test_fused_addition_has_the_bits_of_two_ops(name: str, used: str) -> None:
    """Forward and backward; the sum goes on to a skip connection."""
    results = []
    for fused in (False, True):
        x, r, w = leaf(33, 70), leaf(33, 70, seed=1), leaf(70, seed=2)
        if fused:
            y, s = getattr(F, f"add_{name}")(x, r, (70,), w)
        else:
            s = x + r
            y = getattr(F, name)(s, (70,), w)
        loss = {"both": lambda y=y, s=s: (y * y + s * s.exp()).sum(),
                "norm": lambda y=y: (y * y).sum(), "sum": lambda s=s: (s * s).sum()}[used]()
        loss.backward()
        results.append([y, s, *(t.grad for t in (x, r, w) if t.grad is not None)])
    for a, b in zip(*results, strict=False):
        assert same_bits(bits(a), bits(b))


def test_fused_relu_and_residual_have_the_bits_of_their_ops() -> None:
    results = []
    for fused in (False, True):
        x, r, w, b = leaf(70, 33), leaf(70, 33, seed=1), leaf(33, seed=2), leaf(33, seed=3)
        if fused:
            y = F.batch_norm(x, None, None, w, b, True, activation="relu", residual=r)
        else:
            y = F.relu(F.batch_norm(x, None, None, w, b, True) + r)
        (y * y).sum().backward()
        results.append([y, *(t.grad for t in (x, r, w, b))])
    if not _core.backend_is_numpy():
        assert all(same_bits(bits(a), bits(b)) for a, b in zip(*results, strict=True))


def test_images_stay_channels_last() -> None:
    """Behind a convolution the order inside is kept, and the results are those of plain images."""
    fastnn.manual_seed(0)
    conv, bn = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
    x = fastnn.tensor(normal(4, 3, 6, 5))
    results = []
    for plain in (False, True):
        bn.reset_parameters()
        conv.zero_grad()
        bn.zero_grad()
        z = conv(x)
        if plain:                           # sizes that an image cannot follow: it is written out
            z = z + fastnn.zeros(1, 8, 1, 1)
            z = z.reshape(4, 8, 30).reshape(4, 8, 6, 5)
        y = bn(z)
        assert _core.is_channels_last(y) == (not plain)
        (y * y * y).sum().backward()
        results.append([y, conv.weight.grad, bn.weight.grad, bn.running_mean, bn.running_var])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(bits(a), bits(b), rtol=2e-4, atol=2e-5 * np.abs(bits(b)).max())


# ---------------------------------------------------------------- layers

def test_state_dict_keys() -> None:
    assert list(nn.BatchNorm2d(3).state_dict()) == [
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert list(nn.BatchNorm1d(3, affine=False, track_running_stats=False).state_dict()) == []
    assert list(nn.InstanceNorm2d(3).state_dict()) == []
    assert list(nn.LayerNorm(3).state_dict()) == ["weight", "bias"]
    assert list(nn.LayerNorm(3, bias=False).state_dict()) == ["weight"]
    assert list(nn.RMSNorm((2, 3)).state_dict()) == ["weight"]


def test_errors_say_where() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(5))
    with pytest.raises(ShapeError, match=r"^1 \[batch_norm\]: input: got shape \(2, 4\); need "
                                         r"\(n, 5\) or \(n, 5, l\)"):
        net(fastnn.ones(2, 3))
    with pytest.raises(ShapeError, match=r"need \(n, 3, h, w\)"):
        nn.BatchNorm2d(3)(fastnn.ones(2, 3))
    with pytest.raises(ShapeError, match=r"need \(n, 3, l\) or \(3, l\)"):
        nn.InstanceNorm1d(3)(fastnn.ones(2, 4, 5))


@pytest.mark.skipif(_core.backend_is_numpy(), reason="replay is about C")
@pytest.mark.parametrize("momentum", [0.1, None])
def test_training_and_evaluation_replay_their_bits(momentum: float | None) -> None:
    runs = []
    for compiled in (False, True):
        fastnn.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12, momentum=momentum), nn.ReLU(),
                              nn.LayerNorm(12), nn.Linear(12, 3))
        adam = optim.Adam(model.parameters(), 0.01)

        def train(x: Any, y: Any, model: Any = model, adam: Any = adam) -> Any:
            adam.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            adam.step()
            return loss

        def infer(x: Any, model: Any = model) -> Any:
            return model(x)

        if compiled:
            train, infer = fastnn.compile(train), fastnn.compile(infer)
        seen = []
        for step in range(6):
            x = fastnn.tensor(normal(10, 6, seed=step))
            seen.append(bits(train(x, fastnn.tensor(np.arange(10) % 3))))
            model.eval()
            with fastnn.no_grad():
                seen.append(bits(infer(x)))
            model.train()
        runs.append(seen + [bits(t) for t in model.state_dict().values()])
    assert all(same_bits(a, b) for a, b in zip(*runs, strict=True))
    assert runs[0][-1].shape == (3,)
