"""What losses promise beyond their formulas: extremes, ignored targets, bits, memory safety."""

import math

import numpy as np
import pytest

import fastnn
from fastnn.nn import functional as F

HUGE = 1e38


def leaf(values):
    return fastnn.tensor(np.array(values, np.float32), requires_grad=True)


def exact_cross_entropy(x, t):
    x = x.astype(np.float64)
    m = x.max(axis=1)
    return m + np.log(np.exp(x - m[:, None]).sum(axis=1)) - x[np.arange(len(t)), t]


@pytest.mark.parametrize("shift", [0, 1e4, 1e6, -1e6])
def test_cross_entropy_beside_large_scores(rng, shift):
    """Scores that differ by little far from zero: the shift must cost nothing."""
    x = (rng.standard_normal((50, 10)) + shift).astype(np.float32)
    t = rng.integers(0, 10, 50)
    scores = fastnn.tensor(x, requires_grad=True)
    y = F.cross_entropy(scores, fastnn.tensor(t), reduction="none")
    np.testing.assert_allclose(y.detach().numpy(), exact_cross_entropy(x, t), rtol=2e-6, atol=2e-6)
    y.backward(np.ones(50, np.float32))
    assert abs(scores.grad.numpy().sum(axis=1)).max() < 14 * 2**-24     # (c + 4) u


def test_huge_scores_are_finite():
    x = leaf([[HUGE, -HUGE, 0], [-HUGE, HUGE, HUGE]])
    y = F.cross_entropy(x, fastnn.tensor([0, 2]))
    y.backward()
    assert math.isclose(y.item(), math.log(2) / 2, rel_tol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), [[0, 0, 0], [0, 0.25, -0.25]], atol=1e-7)
    z = leaf([HUGE, -HUGE, HUGE, -HUGE])
    w = F.binary_cross_entropy_with_logits(z, fastnn.tensor([1.0, 0.0, 0.0, 1.0]),
                                           reduction="none")
    np.testing.assert_array_equal(w.detach().numpy(), np.array([0, 0, HUGE, HUGE], np.float32))
    w.backward(np.ones(4, np.float32))
    np.testing.assert_array_equal(z.grad.numpy(), [0, 0, 1, -1])


def test_small_losses_keep_their_digits():
    """log1p(exp(-|x|)) is exact where 1 + exp(-|x|) rounds to one."""
    x = np.array([-20, -30, -50, 17], np.float32)
    y = F.binary_cross_entropy_with_logits(x, (x > 0).astype(np.float32), reduction="none")
    np.testing.assert_allclose(y.numpy(), np.log1p(np.exp(-np.abs(x.astype(np.float64)))),
                               rtol=5e-7)


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 5)])
def test_all_ignored(loss, shape):
    """Nothing counts: the mean is 0 and so are the gradients, even of NaN scores."""
    x = leaf(np.full(shape, np.nan))
    t = np.full((shape[0], *shape[2:]), -100)
    for reduction in ("mean", "sum"):
        y = loss(x, t, reduction=reduction)
        assert y.item() == 0
        y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(shape))


def test_weights_of_zero():
    """A total weight of zero is as if nothing counted."""
    x = leaf(np.ones((2, 3)))
    for loss in (F.cross_entropy, F.nll_loss):
        y = loss(x, fastnn.tensor([0, 1]), weight=[0.0, 0.0, 1.0])
        y.backward()
        assert y.item() == 0
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros((2, 3)))


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("bad", [-1, 3, 2**40, -(2**62)])
def test_targets_changed_behind_the_engine(loss, bad):
    """An array the caller still holds may change before backward: skipped, never out of bounds."""
    t = np.array([0, 1, 2])
    for shape in ((3, 3), (1, 3, 3)):
        x = leaf(np.ones(shape))
        target = fastnn.from_numpy(t) if len(shape) == 2 else fastnn.from_numpy(t[None])
        y = loss(x, target)
        t[1] = bad
        y.backward()
        t[1] = 1
        assert np.isfinite(x.grad.numpy()).all()


def test_a_row_is_the_same_in_any_batch(rng):
    """Loss and gradient of a row do not depend on the rows beside it."""
    for shape in ((40, 33), (40, 7)):
        x = rng.standard_normal(shape).astype(np.float32)
        t = rng.integers(0, shape[1], 40)

        def run(rows, x=x, t=t):
            scores = leaf(x[rows])
            y = F.cross_entropy(scores, fastnn.tensor(t[rows]), reduction="none")
            y.backward(np.ones(y.shape, np.float32))
            return y.detach().numpy(), scores.grad.numpy()

        loss, grad = run(slice(None))
        for rows in (slice(7, 8), slice(3, 21)):
            for part, whole in zip(run(rows), (loss, grad), strict=True):
                np.testing.assert_array_equal(part, whole[rows])


@pytest.mark.parametrize("t", [0.0, 1.0])
def test_logits_far_out_keep_their_digits(t):
    """sigma(x) - 1 would have none left at x = 20."""
    x = np.linspace(-30, 30, 601, dtype=np.float32)
    z = fastnn.tensor(x, requires_grad=True)
    F.binary_cross_entropy_with_logits(z, np.full_like(x, t), reduction="sum").backward()
    wide = x.astype(np.float64)
    expected = 1 / (1 + np.exp(-wide)) if t == 0 else -1 / (1 + np.exp(wide))
    np.testing.assert_allclose(z.grad.numpy(), expected, rtol=3e-7)


def test_messages():
    """Each names op, argument, what came and what is needed."""
    x = fastnn.randn(2, 3)
    for call, error, text in [
        (lambda: F.cross_entropy(x, [[0, 1]]), fastnn.ShapeError,
         "cross_entropy: target: got shape (1, 2); need (2,) for input (2, 3)"),
        (lambda: F.cross_entropy(x, [0, 3]), fastnn.IndexRangeError,
         "cross_entropy: target: got 3 at (1,); need 0 to 2, or -100 to be ignored"),
        (lambda: F.cross_entropy(x, [0.0, 1.0]), fastnn.DTypeError,
         "cross_entropy: target: got float32 of shape (2,); need int64 classes of shape (2,), "
         "or float32 probabilities of shape (2, 3)"),
        (lambda: F.mse_loss(fastnn.randn(4, 1), fastnn.randn(4)), fastnn.ShapeError,
         "mse_loss: shapes: got input (4, 1) and target (4,); need equal ones: "
         "use .reshape(), or .expand() where broadcasting is meant"),
        (lambda: F.mse_loss(x, np.zeros((2, 3), np.int64)), fastnn.DTypeError,
         "mse_loss: target: got int64; need float32: use .float()"),
        (lambda: F.binary_cross_entropy([1.5], [1.0]), ValueError,
         "binary_cross_entropy: input: got 1.5; need probabilities from 0 to 1: "
         "binary_cross_entropy_with_logits takes any x"),
        (lambda: F.cross_entropy(x, [0, 1], label_smoothing=2), ValueError,
         "cross_entropy: label_smoothing: got 2; need 0 to 1"),
        (lambda: F.huber_loss(x, x, delta=0), ValueError,
         "huber_loss: delta: got 0; need a number > 0"),
        (lambda: F.l1_loss(x, x, reduction=["mean"]), ValueError,
         "l1_loss: reduction: got ['mean']; need 'none', 'mean' or 'sum'"),
        (lambda: F.cross_entropy(x, [0, 1], weight=[1.0]), fastnn.ShapeError,
         "cross_entropy: weight: got shape (1,); need (3,): one per class"),
    ]:
        with pytest.raises(error) as e:
            call()
        assert str(e.value) == text


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
                                  "binary_cross_entropy_with_logits", "kl_div"])
def test_nan_propagates(name):
    for x, t in (([np.nan, 1], [1, 1]), ([1, 1], [np.nan, 1])):
        a, b = leaf(x), leaf(t)
        y = getattr(F, name)(a, b)
        y.backward()
        assert math.isnan(y.item())
        if name != "kl_div":                    # whose slope along x is -t, whatever x is
            assert math.isnan(a.grad.numpy()[0]) and not math.isnan(a.grad.numpy()[1])


def test_cosine():
    a = leaf([[3, 4], [0, 0]])
    y = F.cosine_similarity(a, fastnn.tensor([[4.0, 3.0], [1.0, 0.0]]))
    np.testing.assert_allclose(y.detach().numpy(), [0.96, 0], rtol=1e-6)
    with pytest.raises(fastnn.ShapeError, match="cosine_embedding_loss: shapes"):
        F.cosine_embedding_loss([[1.0]], [[1.0]], [1, 1])
