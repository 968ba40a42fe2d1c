"""The generator: its published test vectors, what it promises about states, and its statistics."""

import math

import numpy as np
import pytest
from callers import together

import fastnn
from fastnn.nn import functional as F
from fastnn.reference.random import philox, words

ONES, PI = 0xFFFFFFFF, [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]


@pytest.mark.parametrize(("counter", "key", "expected"), [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([ONES] * 4, [ONES] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (PI, [0xA4093822, 0x299F31D0], [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
], ids=["zeros", "ones", "pi"])
def test_philox_known_answers(counter, key, expected):
    """The vectors published with Random123; every kernel is bit-equal to this function."""
    assert [int(w) for w in philox(counter, key)] == expected


def raw(n):
    """n draws of 64 bits from the default stream."""
    return fastnn.randint(-(2**63), 2**63, (n,)).numpy().view(np.uint64) ^ np.uint64(1 << 63)


@pytest.mark.parametrize("state", [(0, 0), (-1, -1), (2**63 - 1, 5), (12345678901234, 2**40 + 7)])
def test_any_seed_and_offset(state):
    fastnn.set_rng_state(np.array(state))
    w = words(*state, 128).reshape(2, 2, 32)
    want = (w[:, 0] | w[:, 1] << np.uint64(32)).reshape(-1)
    np.testing.assert_array_equal(raw(64), want)
    offset = (state[1] + 1 + 2**63) % 2**64 - 2**63
    assert fastnn.get_rng_state().tolist() == [state[0], offset]


def test_streams_do_not_repeat():
    """Draws, seeds and neighbouring elements all differ."""
    seen = np.concatenate([raw(1000), raw(1000)] + [
        (fastnn.manual_seed(s), raw(1000))[1] for s in (1, 2, 2**32, -1)])
    assert len(np.unique(seen)) == len(seen)


def test_seed_and_state():
    fastnn.manual_seed(7)
    state = fastnn.get_rng_state()
    a = fastnn.randn(5).numpy()
    assert fastnn.initial_seed() == 7
    fastnn.set_rng_state(state)
    np.testing.assert_array_equal(fastnn.randn(5).numpy(), a)
    with fastnn.fork_rng():
        fastnn.seed()
        fastnn.rand(3)
    np.testing.assert_array_equal(fastnn.randn(5).numpy(),
                                  (fastnn.set_rng_state([7, 1]), fastnn.randn(5).numpy())[1])
    assert fastnn.manual_seed(-1).initial_seed() == 2**64 - 1
    g = fastnn.Generator().manual_seed(7)
    np.testing.assert_array_equal(fastnn.randn(5, generator=g).numpy(), a)
    assert g.get_state().tolist() == [7, 1]


def test_a_row_is_the_same_alone():
    """Element i depends on i alone, not on how many were drawn."""
    fastnn.manual_seed(3)
    many = fastnn.randn(1000).numpy()
    for n in (1, 16, 17, 63, 64, 100):
        fastnn.manual_seed(3)
        np.testing.assert_array_equal(fastnn.randn(n).numpy(), many[:n])


BAD = [
    (lambda: fastnn.manual_seed(1.5), TypeError, "manual_seed: seed: got 1.5; need an integer"),
    (lambda: fastnn.manual_seed(2**64), ValueError, "manual_seed: seed: got"),
    (lambda: fastnn.set_rng_state([1.0, 2.0]), fastnn.DTypeError, "set_state: state: got float32"),
    (lambda: fastnn.set_rng_state([1, 2, 3]), fastnn.ShapeError, "set_state: state: got shape"),
    (lambda: fastnn.rand(-1), fastnn.ShapeError, "rand: size: got"),
    (lambda: fastnn.rand(2, generator=3), TypeError, "rand: generator: got int"),
    (lambda: fastnn.rand(2, device="cuda"), fastnn.DTypeError, "device: got 'cuda'"),
    (lambda: fastnn.uniform(1, 0), ValueError, "uniform: bounds: got 1.0 and 0.0"),
    (lambda: fastnn.uniform(0, math.nan), ValueError, "uniform: bounds"),
    (lambda: fastnn.uniform(-3e38, 3e38), ValueError, "uniform: bounds"),
    (lambda: fastnn.normal(0.0, -1.0), ValueError, "normal: std: got -1.0"),
    (lambda: fastnn.normal(0.0, math.nan), ValueError, "normal: std: got nan"),
    (lambda: fastnn.normal(np.zeros(2), np.ones(3)), fastnn.ShapeError, "normal: shapes"),
    (lambda: fastnn.randint(3, 3, (2,)), ValueError, "randint: bounds: got 3 and 3"),
    (lambda: fastnn.randint(0, 2**63 + 1, (2,)), ValueError, "randint: bounds"),
    (lambda: fastnn.randint(0.5, 3, (2,)), fastnn.DTypeError, "randint: low: got 0.5"),
    (lambda: fastnn.randperm(-1), ValueError, "randperm: n: got -1"),
    (lambda: fastnn.bernoulli([0.5, 1.5]), ValueError, "bernoulli: input: got 1.5"),
    (lambda: fastnn.bernoulli([math.nan]), ValueError, "bernoulli: input: got nan"),
    (lambda: fastnn.bernoulli(np.arange(2)), fastnn.DTypeError, "bernoulli: input: got int64"),
    (lambda: fastnn.multinomial([0.0, 0.0], 1), ValueError, "multinomial: num_samples: got 1 of 0"),
    (lambda: fastnn.multinomial([1.0, 0.0], 2), ValueError, "multinomial: num_samples: got 2 of 1"),
    (lambda: fastnn.multinomial([1.0, -1.0], 1), ValueError, "multinomial: input"),
    (lambda: fastnn.multinomial([], 1), fastnn.ShapeError, "multinomial: input: got shape (0,)"),
    (lambda: F.dropout([1.0], 1.1), ValueError, "dropout: p: got 1.1"),
    (lambda: F.dropout([1.0], math.nan), ValueError, "dropout: p: got nan"),
    (lambda: F.dropout([1, 2], 0.5), fastnn.DTypeError, "dropout: input: got int64"),
    (lambda: fastnn.tensor([1, 2]).uniform_(), fastnn.DTypeError, "uniform_: input: got int64"),
    (lambda: fastnn.tensor([1.0]).random_(), fastnn.DTypeError, "random_: input: got float32"),
    (lambda: fastnn.tensor([1.0], requires_grad=True).normal_(), fastnn.GraphError, "leaf"),
    (lambda: fastnn.tensor([1.0, 2.0]).bernoulli_([0.5] * 3), fastnn.ShapeError, "bernoulli_: p"),
]


@pytest.mark.parametrize(("call", "error", "text"), BAD, ids=[b[2] for b in BAD])
def test_bad_arguments(call, error, text):
    """The named error, and the stream is where it was."""
    state = fastnn.get_rng_state().tolist()
    with pytest.raises(error) as e:
        call()
    assert text in str(e.value)
    assert fastnn.get_rng_state().tolist() == state


# ---- dropout

def test_dropout_off():
    x = fastnn.randn(3, 4)
    state = fastnn.get_rng_state().tolist()
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    assert fastnn.get_rng_state().tolist() == state


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_dropout_gradient_has_the_mask_of_the_output(p):
    x = fastnn.tensor(np.ones((50, 40), np.float32), requires_grad=True)
    y = F.dropout(x, p)
    F.dropout(x, p)                             # later draws do not matter
    y.backward(np.ones((50, 40), np.float32))
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_dropout_propagates_nan():
    y = F.dropout(fastnn.tensor([math.nan, math.inf] * 50), 0.5).numpy()
    assert np.isnan(y[::2]).all() and not np.isfinite(y[1::2]).any()


# ---- statistics: the bounds are 5 standard errors of what is measured

N = 1 << 20


def bound(sigma):
    return 5 * sigma / math.sqrt(N)


def chi_square(counts, expected):
    """Within 5 standard deviations of its mean: k - 1 degrees of freedom, variance 2 (k - 1)."""
    freedom = len(counts) - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    return abs(statistic - freedom) < 5 * math.sqrt(2 * freedom)


def test_uniform_moments_and_cells():
    u = fastnn.rand(N).numpy().astype(np.float64)
    assert 0 <= u.min() and u.max() < 1
    assert abs(u.mean() - 1 / 2) < bound(math.sqrt(1 / 12))
    assert abs(u.var() - 1 / 12) < bound(math.sqrt(1 / 180))
    assert chi_square(np.histogram(u, 256, (0, 1))[0], N / 256)
    pairs = np.histogram2d(u[:-1], u[1:], 16, [(0, 1)] * 2)[0].reshape(-1)
    assert chi_square(pairs, (N - 1) / 256)
    for lag in (1, 16, 32, 64, 1024):           # lanes, words, blocks, tasks
        assert abs(((u[:-lag] - 0.5) * (u[lag:] - 0.5)).mean()) < bound(1 / 12)


def test_normal_moments_and_cells():
    z = fastnn.randn(N).numpy().astype(np.float64)
    assert abs(z.mean()) < bound(1)
    assert abs(z.var() - 1) < bound(math.sqrt(2))
    assert abs((z**3).mean()) < bound(math.sqrt(15))
    assert abs((z**4).mean() - 3) < bound(math.sqrt(96))
    for lag in (1, 16, 32, 64):                 # 16: the sine and cosine of one radius
        assert abs((z[:-lag] * z[lag:]).mean()) < bound(1)
        assert abs(((z[:-lag] ** 2 - 1) * (z[lag:] ** 2 - 1)).mean()) < bound(2)
    phi = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in np.linspace(-4, 4, 101)])
    counts = np.histogram(z, np.linspace(-4, 4, 101))[0]
    assert chi_square(counts, N * np.diff(phi))


def test_bits_of_randint():
    """Every bit is a fair coin."""
    bits = np.unpackbits(raw(1 << 16).view(np.uint8)).reshape(-1, 64).mean(axis=0)
    assert abs(bits - 0.5).max() < 5 * 0.5 / math.sqrt(1 << 16)


def test_randint_cells():
    counts = np.bincount(fastnn.randint(7, (N,)).numpy())
    assert chi_square(counts, N / 7)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_rate(p):
    y = F.dropout(np.ones(N, np.float32), p).numpy()
    assert abs((y == 0).mean() - p) < bound(math.sqrt(p * (1 - p)))
    assert abs(y.mean() - 1) < bound(math.sqrt(p / (1 - p)))


def test_permutations_are_alike():
    """All 24 orders of four come equally often."""
    orders = [tuple(fastnn.randperm(4).tolist()) for _ in range(4800)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 24 and chi_square(counts, 200)


def test_multinomial_weights():
    w = np.array([1, 2, 0, 5], np.float32)
    live, expected = [0, 1, 3], np.array([1000, 2000, 5000])
    counts = np.bincount(fastnn.multinomial(w, 8000, replacement=True).numpy(), minlength=4)
    assert counts[2] == 0 and chi_square(counts[live], expected)
    first = fastnn.multinomial(np.tile(w, (8000, 1)), 2).numpy()
    assert (first != 2).all() and (first[:, 0] != first[:, 1]).all()
    assert chi_square(np.bincount(first[:, 0], minlength=4)[live], expected)
    assert fastnn.multinomial(w, 3).shape == (3,)


def test_threads_that_draw_at_once_never_draw_the_same():
    def draw(_):                               # large enough to run without the interpreter's lock
        return [fastnn.rand(100_000).numpy()[:4].tobytes() for _ in range(100)]

    fastnn.manual_seed(11)
    drawn = sum(together(4, draw), [])
    assert len(drawn) == len(set(drawn)) == 400
    assert fastnn.get_rng_state().tolist()[1] == 400
