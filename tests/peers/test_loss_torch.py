"""Losses and dropout against torch: same names, same options, same values and gradients.

Both sides sum in float32 in their own order: the sums here have at most 400 terms of one sign or
far from cancelling, so 1e-5 of the largest value is several times what their rounding can differ.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import fastnn
from fastnn.nn import functional as F

torch = pytest.importorskip("torch", reason="needs torch: pip install fastnn-engine[peers]")
TF = torch.nn.functional

REDUCTIONS = ("none", "mean", "sum")


def both(name, arrays, differentiable, **options):
    """The same call on both sides: values, then the gradients of the arrays named."""
    ours = [fastnn.tensor(a, dtype=a.dtype, requires_grad=k in differentiable)
            for k, a in enumerate(arrays)]
    theirs = [torch.tensor(a, requires_grad=k in differentiable) for k, a in enumerate(arrays)]
    fast = {k: fastnn.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    slow = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    y, z = getattr(F, name)(*ours, **fast), getattr(TF, name)(*theirs, **slow)
    assert y.shape == tuple(z.shape)
    close(y.detach().numpy(), z.detach().numpy())
    g = np.random.default_rng(5).standard_normal(y.shape).astype(np.float32)
    y.backward(g)
    z.backward(torch.tensor(g))
    for k in differentiable:
        close(ours[k].grad.numpy(), theirs[k].grad.numpy())


def close(got, want):
    finite = np.abs(want[np.isfinite(want)])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * max(finite.max(initial=0), 1e-6))


@pytest.fixture
def pair(rng):
    return [rng.standard_normal((19, 21)).astype(np.float32) for _ in range(2)]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "options"), [
    ("mse_loss", {}), ("l1_loss", {}), ("smooth_l1_loss", {}), ("smooth_l1_loss", {"beta": 0.3}),
    ("smooth_l1_loss", {"beta": 0.0}), ("huber_loss", {}), ("huber_loss", {"delta": 0.5}),
], ids=str)
def test_of_differences(pair, name, options, reduction):
    both(name, pair, (0, 1), reduction=reduction, **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weights", range(4))
def test_binary_cross_entropy_with_logits(pair, rng, reduction, weights):
    x, t = 5 * pair[0], rng.random((19, 21), np.float32)
    options = {"weight": rng.random(21, np.float32)} if weights & 1 else {}
    if weights & 2:
        options["pos_weight"] = 3 * rng.random(21, np.float32)
    both("binary_cross_entropy_with_logits", [x, t], (0, 1), reduction=reduction, **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropy(rng, reduction):
    x, t = rng.random((2, 19, 21), np.float32)
    options = {"reduction": reduction, "weight": rng.random(21, np.float32)}
    both("binary_cross_entropy", [x, t], (0, 1), reduction=reduction)
    both("binary_cross_entropy", [x, t], (0, 1), **options)
    x[0, :4], t[0, :4] = [0, 0, 1, 1], [0, 1, 0, 1]     # torch: an infinite slope along t here
    both("binary_cross_entropy", [x, t], (0,), **options)


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div(rng, reduction, log_target):
    p, q = rng.dirichlet(np.ones(7), (2, 11)).astype(np.float32)
    target = np.log(q) if log_target else q
    both("kl_div", [np.log(p), target], (0, 1), reduction=reduction, log_target=log_target)


SHAPES = [((), 7), ((9,), 10), ((33,), 70), ((3, 5), 6), ((2, 4, 5), 3)]


def scores_and_classes(rng, shape, c):
    scores = (shape[0], c, *shape[1:]) if shape else (c,)
    return 4 * rng.standard_normal(scores).astype(np.float32), np.asarray(rng.integers(0, c, shape))


@pytest.mark.parametrize(("shape", "c"), SHAPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_class_losses(rng, shape, c, reduction, weighted):
    x, t = scores_and_classes(rng, shape, c)
    options = {"weight": rng.uniform(0.1, 2, c).astype(np.float32)} if weighted else {}
    for ignore, smoothing in product((-100, 1), (0.0, 0.2)):
        if t.size:
            t.reshape(-1)[: t.size // 3] = ignore
        if shape == () and t == ignore:         # nothing counts: NaN for torch, 0 for us
            continue
        both("cross_entropy", [x, t], (0,), reduction=reduction, ignore_index=ignore,
             label_smoothing=smoothing, **options)
        both("nll_loss", [x, t], (0,), reduction=reduction, ignore_index=ignore, **options)


@pytest.mark.parametrize(("shape", "c"), SHAPES[1:], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_soft_cross_entropy(rng, shape, c, reduction, smoothing):
    x, _ = scores_and_classes(rng, shape, c)
    t = rng.random(x.shape, np.float32)
    for options in ({}, {"weight": rng.uniform(0.1, 2, c).astype(np.float32)}):
        both("cross_entropy", [x, t], (0, 1), reduction=reduction, label_smoothing=smoothing,
             **options)


def test_unusual_scores():
    """-inf and huge logits: the same finite values, infinities and NaN."""
    inf = np.inf
    x = np.array([[0, -inf, 1], [-inf, 0, -inf], [1e38, -1e38, 0], [-inf, -inf, -inf],
                  [inf, 0, 0], [inf, 0, 0], [np.nan, 0, 0], [300, 200, 100]], np.float32)
    t = np.array([0, 1, 1, 0, 0, 1, 1, 2])
    both("cross_entropy", [x, t], (0,), reduction="none")


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cosine(rng, reduction):
    a, b = rng.standard_normal((2, 9, 5)).astype(np.float32)
    both("cosine_similarity", [a, b], (0, 1), dim=-1)
    t = np.where(rng.random(9) < 0.5, -1, 1)
    both("cosine_embedding_loss", [a, b, t], (0, 1), margin=0.2, reduction=reduction)


def test_dropout_of_nan_and_inf():
    """The same elements are finite, whichever were dropped."""
    x = np.array([np.nan, np.inf, -np.inf] * 40, np.float32)
    ours = F.dropout(fastnn.tensor(x), 0.5).numpy()
    theirs = TF.dropout(torch.tensor(x), 0.5).numpy()
    assert not np.isfinite(ours).any() and not np.isfinite(theirs).any()
