"""nn.init: distributions, reproducibility, and what is refused."""

import math

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.errors import DTypeError, ShapeError

init = nn.init
RANDOM = [init.uniform_, init.normal_, init.trunc_normal_, init.xavier_uniform_,
          init.xavier_normal_, init.kaiming_uniform_, init.kaiming_normal_, init.orthogonal_]


def drawn(fn, *args, shape=(200, 300), **kwargs):
    t = fastnn.empty(shape)
    assert fn(t, *args, **kwargs) is t
    return t.numpy().astype(np.float64)


@pytest.mark.parametrize("fn", RANDOM, ids=lambda f: f.__name__)
def test_the_seed_decides(fn):
    fastnn.manual_seed(5)
    a, b = drawn(fn, shape=(7, 9)), drawn(fn, shape=(7, 9))
    fastnn.manual_seed(5)
    np.testing.assert_array_equal(drawn(fn, shape=(7, 9)), a)
    assert (a != b).any()
    g = fastnn.Generator().manual_seed(5)
    np.testing.assert_array_equal(drawn(fn, shape=(7, 9), generator=g), a)


@pytest.mark.parametrize("fn, std, bound", [
    (init.uniform_, 1 / math.sqrt(12), None),
    (init.normal_, 1.0, None),
    (init.xavier_uniform_, math.sqrt(2 / 500), math.sqrt(6 / 500)),
    (init.xavier_normal_, math.sqrt(2 / 500), None),
    (init.kaiming_uniform_, math.sqrt(2 / 300), math.sqrt(6 / 300)),
    (init.kaiming_normal_, math.sqrt(2 / 300), None),
], ids=lambda a: getattr(a, "__name__", ""))
def test_spread(fn, std, bound):
    x = drawn(fn)
    assert x.std() == pytest.approx(std, rel=0.02)      # 60,000 draws: 3 standard errors are 1%
    if bound:
        assert abs(x).max() <= bound * (1 + 1e-6)


def test_fans_count_the_window_and_options_change_them():
    x = drawn(init.kaiming_normal_, shape=(64, 32, 3, 3), mode="fan_out", nonlinearity="relu")
    assert x.std() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.03)
    x = drawn(init.kaiming_uniform_, a=math.sqrt(5))
    assert abs(x).max() == pytest.approx(1 / math.sqrt(300), rel=0.01)
    x = drawn(init.xavier_normal_, gain=3.0)
    assert x.std() == pytest.approx(3 * math.sqrt(2 / 500), rel=0.02)


@pytest.mark.parametrize("mean, std, a, b", [
    (0.0, 1.0, -2.0, 2.0), (1.0, 0.5, 0.0, 2.0), (0.0, 1.0, 5.0, 6.0), (0.0, 1.0, -0.1, 0.1),
    (0.0, 1.0, 3.0, math.inf), (10.0, 2.0, -3.0, 3.0),
])
def test_truncated_normal(mean, std, a, b):
    x = drawn(init.trunc_normal_, mean, std, a, b)
    assert x.min() >= a and x.max() <= b
    grid = np.linspace(max(a, mean - 12 * std), min(b, mean + 12 * std), 200_001)
    density = np.exp(-((grid - mean) / std) ** 2 / 2)
    expected = (grid * density).sum() / density.sum()
    spread = math.sqrt(((grid - expected) ** 2 * density).sum() / density.sum())
    assert x.mean() == pytest.approx(expected, abs=5 * spread / math.sqrt(x.size))
    assert x.std() == pytest.approx(spread, rel=0.03)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 6), (4, 2, 3)])
def test_orthogonal(shape):
    q = drawn(init.orthogonal_, 2.0, shape=shape).reshape(shape[0], -1)
    small = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


def test_constants():
    assert drawn(init.constant_, 3.5, shape=(2,)).tolist() == [3.5, 3.5]
    assert drawn(init.zeros_, shape=(2,)).tolist() == [0, 0]
    assert drawn(init.ones_, shape=(2,)).tolist() == [1, 1]
    np.testing.assert_array_equal(drawn(init.eye_, shape=(2, 3)), np.eye(2, 3))


def test_gains():
    assert init.calculate_gain("tanh") == 5 / 3 and init.calculate_gain("linear") == 1
    assert init.calculate_gain("leaky_relu", 1.0) == 1.0
    with pytest.raises(ValueError, match="softmax"):
        init.calculate_gain("softmax")


def test_parameters_are_filled_outside_the_graph_and_graphs_notice():
    p = nn.Parameter(fastnn.ones(2, 2))
    y = (p * p).sum()
    init.normal_(p)
    assert p.is_leaf and p.requires_grad
    with pytest.raises(fastnn.GraphError):
        y.backward()
    y = (p * p).sum()
    init.zeros_(p)
    with pytest.raises(fastnn.GraphError):
        y.backward()


@pytest.mark.parametrize("fn", RANDOM, ids=lambda f: f.__name__)
def test_empty_tensors_stay_empty(fn):
    assert drawn(fn, shape=(0, 3)).shape == (0, 3) and drawn(fn, shape=(3, 0)).shape == (3, 0)


def test_what_is_refused():
    with pytest.raises(TypeError):
        init.normal_(np.zeros(3))
    with pytest.raises(DTypeError):
        init.zeros_(fastnn.zeros(2, dtype=fastnn.int64))
    for fn in (init.xavier_uniform_, init.kaiming_normal_, init.orthogonal_, init.eye_):
        with pytest.raises(ShapeError):
            fn(fastnn.zeros(3))
    with pytest.raises(ValueError):
        init.trunc_normal_(fastnn.zeros(3), a=1.0, b=1.0)
    with pytest.raises(ValueError):
        init.kaiming_normal_(fastnn.zeros(3, 3), mode="fan")
    array = np.zeros((2, 2), np.float32)
    array.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        init.ones_(fastnn.from_numpy(array))
