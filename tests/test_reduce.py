"""Reductions: what NumPy gives for every axis and dtype, special values, and what is refused."""

import numpy as np
import pytest

import fastnn
from fastnn.errors import DTypeError, IndexRangeError, ShapeError

X = np.random.default_rng(0).integers(-4, 5, (2, 3, 4, 5))
DIMS = [None, 0, -1, 1, (0, 1), (0, 2), (1, 3), (-1, 0), (0, 1, 2, 3), (3, 1, 0)]


def close(t, array):
    assert t.shape == np.shape(array)
    np.testing.assert_allclose(t.detach().numpy(), array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", DIMS, ids=str)
@pytest.mark.parametrize("op", ["sum", "mean", "amax", "amin", "prod", "var", "std", "any", "all",
                                "norm", "logsumexp"])
def test_axes(op, dim, keepdim):
    x = X.astype(np.float32)
    numpys = {
        "var": lambda **k: x.var(ddof=1, **k), "std": lambda **k: x.std(ddof=1, **k),
        "norm": lambda **k: np.sqrt((x * x).sum(**k)),
        "logsumexp": lambda **k: np.log(np.exp(x).sum(**k)), "amax": x.max, "amin": x.min,
    }
    want = (numpys.get(op) or getattr(x, op))(axis=dim, keepdims=keepdim)
    t = fastnn.tensor(x)
    close(getattr(t, op)(dim=dim, keepdim=keepdim), want)
    close(getattr(fastnn, op)(t, axis=dim, keepdims=keepdim), want)
    if dim is not None and not isinstance(dim, int):
        close(getattr(t, op)(dim=list(dim), keepdim=keepdim), want)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "uint8", "bool"])
def test_integers(dtype):
    x = np.abs(X).astype(dtype)
    t = fastnn.tensor(x, dtype=dtype)
    for got, want in (
        (t.sum((0, 2)), x.sum((0, 2))), (t.prod(3), x[..., :].astype(np.int64).prod(3)),
        (t.amax(1), x.max(1)), (t.amin((0, 3)), x.min((0, 3))), (t.max(), x.max()),
        (t.max(2).values, x.max(2)), (t.max(2).indices, x.argmax(2)), (t.argmin(0), x.argmin(0)),
        (t.any(1), x.any(1)), (t.all((1, 2)), x.all((1, 2))), (t.cumsum(1), x.cumsum(1)),
        (t.count_nonzero(0), np.count_nonzero(x, 0)),
    ):
        close(got, want)
    assert t.sum().dtype is fastnn.int64 and t.amax().dtype is t.dtype
    assert t.any().dtype is fastnn.bool and t.argmax().dtype is fastnn.int64
    with pytest.raises(DTypeError):
        t.mean()


def test_values_and_indices():
    t = fastnn.tensor([[1.0, 5.0, 5.0], [7.0, 3.0, 7.0]])
    values, indices = t.max(dim=1)
    assert values.tolist() == [5, 7] and indices.tolist() == [1, 0]
    assert t.min(0, keepdim=True).indices.tolist() == [[0, 1, 0]]
    assert t.argmax().item() == 3 and t.argmin(1, keepdim=True).tolist() == [[0], [1]]
    assert fastnn.max(t, fastnn.full_like(t, 4.0)).tolist() == [[4, 5, 5], [7, 4, 7]]


def test_nan_wins_and_the_first_is_named():
    t = fastnn.tensor([[1.0, np.nan, 9.0, np.nan], [np.nan] * 4, [1.0, 2.0, 3.0, -np.inf]])
    for op, last in (("max", 2), ("min", 3)):
        values, indices = getattr(t, op)(1)
        assert np.isnan(values.numpy()[:2]).all() and indices.tolist() == [1, 0, last]
    long = fastnn.zeros(5000)
    long[4321] = np.nan
    assert long.argmax().item() == 4321 and np.isnan(long.amin().item())


def gradient(fn, values):
    x = fastnn.tensor(values, requires_grad=True)
    fn(x).backward()
    return x.grad.tolist()


def test_ties():
    assert gradient(lambda x: x.max(0).values, [3.0, 7.0, 7.0]) == [0, 1, 0]
    assert gradient(lambda x: x.max(), [3.0, 7.0, 7.0]) == [0, 0.5, 0.5]
    assert gradient(lambda x: x.amin((0, 1)), [[3.0, 3.0], [3.0, 3.0]]) == [[0.25] * 2] * 2
    assert gradient(lambda x: x.std(), [2.0, 2.0]) == [0, 0]
    assert gradient(lambda x: x.norm(), [0.0, 0.0]) == [0, 0]
    assert gradient(lambda x: x.prod(), [0.0, 2.0, 3.0]) == [6, 0, 0]


def test_nothing():
    x = fastnn.zeros(3, 0)
    assert x.sum(1).tolist() == [0, 0, 0] and x.sum(0).shape == (0,) and x.sum().item() == 0
    assert x.prod(1).tolist() == [1, 1, 1] and x.norm().item() == 0
    assert not x.any() and x.all() and x.mean(0).shape == (0,) and x.max(0).indices.shape == (0,)
    for fn in (x.mean, x.max, x.min, x.amax, x.argmax, x.var, x.std, x.logsumexp):
        with pytest.raises(ShapeError, match="axis 1"):
            fn(dim=1)


def test_one_element_has_no_sample_variance():
    assert np.isnan(fastnn.tensor([2.0]).var().item())
    assert fastnn.tensor([2.0]).var(unbiased=False).item() == 0
    assert fastnn.tensor([1.0, 3.0]).var(False).item() == 1
    assert [v.item() for v in fastnn.var_mean(fastnn.tensor([1.0, 3.0]))] == [2, 2]


def test_a_mean_far_from_zero_costs_no_digits():
    x = (1e4 + np.random.default_rng(1).standard_normal((7, 1000))).astype(np.float32)
    want = x.astype(np.float64).var(1, ddof=1)
    np.testing.assert_allclose(fastnn.tensor(x).var(1).numpy(), want, rtol=2e-6)


def test_logsumexp_at_the_edges():
    inf = np.inf
    x = fastnn.tensor([[1e38, 1e38], [-1e38, -1e38], [-inf, -inf], [inf, 0], [-inf, 1]])
    want = np.array([1e38, -1e38, -inf, inf, 1], np.float32)
    np.testing.assert_array_equal(x.logsumexp(1).numpy(), want)


@pytest.mark.parametrize("p", [0, 1, 2, 3, 0.5, np.inf, -np.inf])
def test_norms(p):
    x = np.array([[3.0, -4.0, 0.5], [1.0, 2.0, -2.0]], np.float32)
    close(fastnn.tensor(x).norm(p, 1), np.linalg.norm(x, p, 1))


def row_error(x):
    """The error of a float32 sum in units of 2^-24 sum|x|, against float64."""
    exact = x.astype(np.float64)
    return abs(fastnn.tensor(x).sum().item() - exact.sum()) / (2.0**-24 * np.abs(exact).sum())


def test_depth_of_sums():
    """A sum of n is at most 64 + log2(16 n / 4096) additions deep, so a million errors little."""
    rng = np.random.default_rng(2)
    for x in (rng.random(2**20, np.float32), np.full(10**6, 0.1, np.float32)):
        assert row_error(x) < 64 + 18
    ones = fastnn.ones(2**24 - 1)
    assert ones.sum().item() == 2**24 - 1                    # exact where every partial sum is


def test_a_row_alone_and_in_a_batch():
    x = np.random.default_rng(3).standard_normal((9, 10007)).astype(np.float32)
    t = fastnn.tensor(x)
    for op in ("sum", "var", "logsumexp", "norm"):
        together = getattr(t, op)(dim=1).numpy()
        alone = [getattr(fastnn.tensor(r[None]), op)(dim=1).item() for r in x]
        np.testing.assert_array_equal(together, np.array(alone, np.float32))


@pytest.mark.parametrize(("fn", "error"), [
    (lambda x: x.sum(4), IndexRangeError), (lambda x: x.sum((0, 0)), ShapeError),
    (lambda x: x.sum((0, -4)), ShapeError), (lambda x: x.sum("a"), (DTypeError, IndexRangeError)),
    (lambda x: x.mean(1.5), DTypeError), (lambda x: x.max(-5), IndexRangeError),
    (lambda x: x.double().sum(), DTypeError), (lambda x: x.cumsum(9), IndexRangeError),
    (lambda x: x.topk(6), ShapeError), (lambda x: x.sort(7), IndexRangeError),
])
def test_refused(fn, error):
    with pytest.raises(error, match=":"):
        fn(fastnn.ones(2, 3, 4, 5))


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("descending", [False, True])
def test_sort(dim, descending):
    x = np.random.default_rng(4).integers(0, 4, (5, 6)).astype(np.float32)
    x[2, 3] = np.nan
    values, indices = fastnn.tensor(x).sort(dim, descending=descending)
    want = np.sort(x, dim)
    want = np.flip(want, dim) if descending else want
    np.testing.assert_array_equal(values.numpy(), want)
    np.testing.assert_array_equal(np.take_along_axis(x, indices.numpy(), dim), want)
    assert fastnn.tensor([1.0, 1.0, 0.0]).argsort(descending=True).tolist() == [0, 1, 2]


def test_topk():
    x = fastnn.tensor([[1.0, 9.0, 4.0], [7.0, 7.0, 2.0]], requires_grad=True)
    values, indices = x.topk(2)
    assert values.tolist() == [[9, 4], [7, 7]] and indices.tolist() == [[1, 2], [0, 1]]
    values.sum().backward()
    assert x.grad.tolist() == [[0, 1, 1], [1, 1, 0]]
    assert x.topk(1, dim=0, largest=False).values.tolist() == [[1, 7, 2]]


def test_truth_over_no_axes_is_that_of_each_element():
    """As in torch; every other reduction takes dim=() for all axes."""
    x = fastnn.tensor([[0.0, 2.0], [np.nan, 0.0]])
    for f in (fastnn.any, fastnn.all):
        assert f(x, ()).tolist() == f(x, dim=[], keepdim=True).tolist() == [[0, 1], [1, 0]]
        assert f(x).dtype is fastnn.bool and f(x).shape == ()
    assert fastnn.count_nonzero(x, ()).item() == 2 and x.sum(()).shape == ()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int64", "float16", "float32",
                                   "float64"])
def test_truth_of_every_dtype(dtype, rng):
    for shape in ((3, 0, 2), (4, 3, 2), ()):
        a = (rng.random(shape) < 0.4).astype(dtype)
        x = fastnn.tensor(a, dtype=a.dtype)
        for dim in (None, 0, -1, (0, 2)) if shape else (None, 0):
            axis = dim if shape else None
            for name in ("any", "all"):
                y = getattr(fastnn, name)(x, dim, keepdim=bool(shape))
                np.testing.assert_array_equal(
                    y.numpy(), getattr(np, name)(a, axis, keepdims=bool(shape)))
            y = fastnn.count_nonzero(x, dim)
            np.testing.assert_array_equal(y.numpy(), np.count_nonzero(a, axis))
