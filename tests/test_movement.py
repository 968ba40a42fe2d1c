"""Shapes, parts and indices: what NumPy gives, what is shared, and what is refused."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastnn
from fastnn import _core
from fastnn.errors import DTypeError, GraphError, IndexRangeError, ShapeError
from fastnn.nn import functional as F

X = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(np.float32)
DTYPES = ["float32", "float64", "float16", "int64", "int32", "int16", "uint8", "bool"]


def same(t, array):
    assert t.shape == array.shape and t.dtype.numpy == array.dtype
    np.testing.assert_array_equal(t.detach().numpy(), array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("ours", "numpys"), [
    (lambda x: x.permute(3, 0, 2, 1), lambda x: x.transpose(3, 0, 2, 1)),
    (lambda x: x.transpose(1, 2), lambda x: x.swapaxes(1, 2)),
    (lambda x: x.mT, lambda x: x.swapaxes(-1, -2)),
    (lambda x: x.T, lambda x: x.T),
    (lambda x: x.movedim((0, 1), (-1, 0)), lambda x: np.moveaxis(x, (0, 1), (-1, 0))),
    (lambda x: x.reshape(6, -1), lambda x: x.reshape(6, -1)),
    (lambda x: x.view((5, 24)), lambda x: x.reshape(5, 24)),
    (lambda x: x.flatten(1, 2), lambda x: x.reshape(2, 12, 5)),
    (lambda x: x.unflatten(2, (2, -1)), lambda x: x.reshape(2, 3, 2, 2, 5)),
    (lambda x: x.unsqueeze(-1).squeeze(-1).unsqueeze(0), lambda x: x[None]),
    (lambda x: x.unsqueeze(1).expand(2, 7, 3, 4, -1), lambda x: np.repeat(x[:, None], 7, 1)),
    (lambda x: x[:, :1].expand(3, 2, 3, 4, 5),
     lambda x: np.broadcast_to(x[:, :1], (3, 2, 3, 4, 5))),
    (lambda x: x.repeat(2, 1, 1, 1, 3), lambda x: np.tile(x, (2, 1, 1, 1, 3))),
    (lambda x: x.tile(2, 3), lambda x: np.tile(x, (2, 3))),
    (lambda x: x.repeat_interleave(2, 1), lambda x: np.repeat(x, 2, 1)),
    (lambda x: x.repeat_interleave(3), lambda x: np.repeat(x, 3)),
    (lambda x: x.flip(0, -1), lambda x: np.flip(x, (0, -1))),
    (lambda x: x.roll((1, -2), (0, 3)), lambda x: np.roll(x, (1, -2), (0, 3))),
    (lambda x: x.roll(7), lambda x: np.roll(x, 7)),
    (lambda x: x.tril(1), lambda x: np.tril(x, 1)),
    (lambda x: x.triu(), lambda x: np.triu(x)),
    (lambda x: fastnn.cat([x, x[:, :1]], 1), lambda x: np.concatenate([x, x[:, :1]], 1)),
    (lambda x: fastnn.stack([x] * 25, 2), lambda x: np.stack([x] * 25, 2)),
    (lambda x: x.narrow(2, -3, 2), lambda x: x[:, :, 1:3]),
    (lambda x: x.select(1, -1), lambda x: x[:, -1]),
    (lambda x: x.split(2, 3)[2], lambda x: x[..., 4:]),
    (lambda x: x.split([1, 3], 2)[1], lambda x: x[:, :, 1:]),
    (lambda x: x.chunk(3, -1)[1], lambda x: x[..., 2:4]),
    (lambda x: x.unbind(2)[3], lambda x: x[:, :, 3]),
    (lambda x: x.index_select(1, [2, 0]), lambda x: x[:, [2, 0]]),
    (lambda x: x.take_along_dim(np.array([[[[1]], [[0]], [[2]]]]), 2),
     lambda x: np.take_along_axis(x, np.array([[[[1]], [[0]], [[2]]]]), 2)),
])
def test_as_numpy(ours, numpys, dtype):
    x = X.astype(dtype)
    same(ours(fastnn.tensor(x, dtype=dtype)), numpys(x))


KEYS = [
    0, -1, np.int64(1), slice(1, None), slice(None, None, 2), ..., None, (1, 2), (..., 1),
    (..., None, 1), (slice(None), 1), (slice(None), slice(0, 0)), (0, ..., slice(1, 3)),
    (1, 2, 3, 4),
    (slice(-100, 100), slice(3, 1)), [1, 0, 1], [], np.array([[0, 1], [1, 1]]), ([0, 1], [2, 0]),
    ([[0], [1]], [2, 0]), (slice(None), [0, 2], [1, 3]), ([0, 1], slice(None), [1, 3]),
    (..., [4, 0]), (None, [1], ..., None), np.array([True, False]), X > 50, X > 1e9,
    (slice(None), np.eye(3, 4) > 0), (1, [True, False, True]), np.array(1, np.int32),
    np.array([1, -2], np.int32), (slice(None, None, 3), slice(1, None, 2), ..., slice(4, None)),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_getitem_as_numpy(key):
    want = X[np.asarray(key, int) if key == [] else key] if isinstance(key, list) else X[key]
    same(fastnn.tensor(X)[key], np.asarray(want))


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_setitem_as_numpy(key):
    x, want = fastnn.tensor(X), X.copy()
    numpy_key = np.asarray(key, int) if isinstance(key, list) and not key else key
    x[key] = -1
    want[numpy_key] = -1
    same(x, want)
    part = np.random.default_rng(0).standard_normal(want[numpy_key].shape).astype(np.float32)
    x[key] = fastnn.tensor(part)
    want[numpy_key] = part
    same(x, want)


def test_an_int_beside_index_arrays_is_taken_first_as_in_torch():
    assert fastnn.tensor(X)[0, :, [1, 2]].shape == (3, 2, 5)      # NumPy: (2, 3, 5)


def test_mask_of_two_axes_and_tensor_keys():
    x, mask = fastnn.tensor(X), X[:, :, 0, 0] > 30
    same(x[mask], X[mask])
    same(x[fastnn.tensor(mask)], X[mask])
    same(x[fastnn.tensor([1, 0])], X[[1, 0]])
    same(x[fastnn.tensor(1)], X[1])
    same(x[:, fastnn.tensor([2], dtype="int32")], X[:, [2]])
    same(x[fastnn.tensor(1):], X[1:])
    same(fastnn.masked_select(x, x > 100.0), X[X > 100])


@given(hnp.array_shapes(max_dims=4, max_side=4, min_side=0).flatmap(
    lambda s: st.tuples(st.just(s), hnp.basic_indices(s, allow_ellipsis=True, allow_newaxis=True))))
@settings(max_examples=200, deadline=None)
def test_basic_indices(pair):
    shape, key = pair
    items = key if isinstance(key, tuple) else (key,)
    assume(all((k.step or 1) > 0 for k in items if isinstance(k, slice)))
    x = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    same(fastnn.tensor(x)[key], np.asarray(x[key]))


def gradient(fn):
    x = fastnn.tensor(X, requires_grad=True)
    y = fn(x)
    y.backward(fastnn.ones_like(y))
    return x.grad.numpy()


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_gradient_of_a_part_counts_its_elements(key):
    counts = np.zeros(X.size)
    np.add.at(counts, fastnn.arange(X.size).reshape(X.shape)[key].numpy().reshape(-1), 1)
    np.testing.assert_array_equal(gradient(lambda x: x[key]), counts.reshape(X.shape))


def test_parts_of_one_tensor_accumulate():
    got = gradient(lambda x: fastnn.cat([x[0], x[0], x[1] * 3.0]))
    np.testing.assert_array_equal(got, np.stack([np.full(X.shape[1:], 2), np.full(X.shape[1:], 3)]))


def test_many_inputs_of_cat():
    xs = [fastnn.full((2, i % 3), float(i), requires_grad=True) for i in range(40)]
    y = fastnn.cat(xs, 1)
    same(y, np.concatenate([x.detach().numpy() for x in xs], 1))
    (y * y).backward(fastnn.ones_like(y))
    for i, x in enumerate(xs):
        np.testing.assert_array_equal(x.grad.numpy(), np.full((2, i % 3), 2.0 * i))


def test_32_axes():
    shape = tuple([2 if i % 3 == 0 else 1 for i in range(32)])
    x = np.arange(2**11, dtype=np.float32).reshape(shape)
    order = np.random.default_rng(0).permutation(32).tolist()
    same(fastnn.tensor(x).permute(order), x.transpose(order))
    key = tuple([slice(i % 2, None) if i % 3 == 0 else slice(None) for i in range(32)])
    same(fastnn.tensor(x)[key], x[key])
    same(fastnn.tensor(x[key]).expand(shape), np.broadcast_to(x[key], shape))
    same(fastnn.tensor(x).sum(tuple(range(0, 32, 2))), x.sum(tuple(range(0, 32, 2))))
    same(fastnn.tensor(x).amax(tuple(range(0, 32, 2))), x.max(tuple(range(0, 32, 2))))


# ---------------------------------------------------------------- memory


def test_what_shares_memory():
    x = fastnn.zeros(4, 3, 2)
    for part in (x[1], x[1:3], x[2, 1:], x.view(-1), x.reshape(2, 12), x[None], x.split(2)[1],
                 x.unbind()[3], x.flatten(), x.squeeze(), x.narrow(0, 1, 2), x[...]):
        before = x._version
        part[...] = float(before + 1)
        assert x._version > before and (x.numpy() == before + 1).any()
    for part in (x[:, 1], x[::2], x.flip(0), x.clone(), x[[0, 1]], x.mT):
        part[...] = -5
        assert not (x.numpy() == -5).any()


def test_transposing_the_last_axes_waits():
    x = fastnn.tensor(X)
    y = x.transpose(-1, -2)
    assert _core.transpose_source(y) is x and y.transpose(2, 3) is x
    same(y, X.swapaxes(-1, -2))
    assert _core.transpose_source(y) is None


# ---------------------------------------------------------------- bad arguments

BAD = {
    "permute twice": (lambda x: x.permute(0, 0, 1, 2), ShapeError),
    "permute too few": (lambda x: x.permute(0, 1), ShapeError),
    "transpose axis": (lambda x: x.transpose(0, 4), IndexRangeError),
    "reshape size": (lambda x: x.reshape(7, -1), ShapeError),
    "reshape two unknown": (lambda x: x.reshape(-1, -1), ShapeError),
    "reshape negative": (lambda x: x.reshape(-2, 60), ShapeError),
    "reshape unknown of nothing": (lambda x: x[:0].reshape(0, -1), ShapeError),
    "reshape float": (lambda x: x.reshape(2.0, 60), TypeError),
    "view wrong": (lambda x: x.view(5, 5), ShapeError),
    "flatten order": (lambda x: x.flatten(2, 1), ShapeError),
    "unflatten": (lambda x: x.unflatten(0, (3, -1)), ShapeError),
    "squeeze axis": (lambda x: x.squeeze(5), IndexRangeError),
    "unsqueeze axis": (lambda x: x.unsqueeze(6), IndexRangeError),
    "expand size": (lambda x: x.expand(4, 3, 4, 5), ShapeError),
    "expand fewer": (lambda x: x.expand(4, 5), ShapeError),
    "expand new -1": (lambda x: x.expand(-1, 2, 3, 4, 5), ShapeError),
    "repeat fewer": (lambda x: x.repeat(2), ShapeError),
    "repeat negative": (lambda x: x.repeat(1, 1, 1, -1), ShapeError),
    "cat nothing": (lambda x: fastnn.cat([]), ShapeError),
    "cat shapes": (lambda x: fastnn.cat([x, x[0]]), ShapeError),
    "cat dtypes": (lambda x: fastnn.cat([x, x.double()]), DTypeError),
    "cat scalars": (lambda x: fastnn.cat([x[0, 0, 0, 0]]), ShapeError),
    "stack shapes": (lambda x: fastnn.stack([x, x[:1]]), ShapeError),
    "split zero": (lambda x: x.split(0), ShapeError),
    "split sum": (lambda x: x.split([1, 2]), ShapeError),
    "chunk zero": (lambda x: x.chunk(0), ShapeError),
    "narrow beyond": (lambda x: x.narrow(1, 2, 2), IndexRangeError),
    "narrow huge": (lambda x: x.narrow(1, 2**62, 2**62), IndexRangeError),
    "select beyond": (lambda x: x.select(1, 3), IndexRangeError),
    "flip axis": (lambda x: x.flip(4), IndexRangeError),
    "roll pairs": (lambda x: x.roll((1, 2), 0), ShapeError),
    "tril vector": (lambda x: fastnn.tril(x[0, 0, 0]), ShapeError),
    "index beyond": (lambda x: x[2], IndexRangeError),
    "index before": (lambda x: x[-3], IndexRangeError),
    "index huge": (lambda x: x[2**70], IndexRangeError),
    "index scalar": (lambda x: x[0, 0, 0, 0][0], IndexRangeError),
    "too many": (lambda x: x[0, 0, 0, 0, 0], IndexRangeError),
    "two dots": (lambda x: x[..., 0, ...], IndexRangeError),
    "negative step": (lambda x: x[::-1], ShapeError),
    "zero step": (lambda x: x[::0], ShapeError),
    "float index": (lambda x: x[1.0], DTypeError),
    "float array": (lambda x: x[np.array([0.5])], DTypeError),
    "bool index": (lambda x: x[True], (DTypeError, IndexRangeError)),
    "string": (lambda x: x["a"], DTypeError),
    "array beyond": (lambda x: x[[0, 2]], IndexRangeError),
    "array before": (lambda x: x[:, [0, -4]], IndexRangeError),
    "arrays apart": (lambda x: x[[0, 1], [0, 1, 2]], ShapeError),
    "mask shape": (lambda x: x[np.ones(3, bool)], IndexRangeError),
    "index_select negative": (lambda x: x.index_select(0, [-1]), IndexRangeError),
    "index_select 2-d": (lambda x: x.index_select(0, [[0]]), ShapeError),
    "gather beyond": (lambda x: x.gather(0, np.full((1, 1, 1, 1), 2)), IndexRangeError),
    "gather rank": (lambda x: x.gather(0, [0]), ShapeError),
    "gather larger": (lambda x: x.gather(0, np.zeros((1, 4, 1, 1), int)), ShapeError),
    "gather floats": (lambda x: x.gather(0, x), DTypeError),
    "scatter_add shape": (lambda x: x.scatter_add(0, [0], x), ShapeError),
    "scatter_add beyond": (lambda x: x.scatter_add(0, np.full(X.shape, 2), x), IndexRangeError),
    "embedding beyond": (lambda x: F.embedding([[0, 1], [5, 9]], x[0, 0]), IndexRangeError),
    "embedding negative": (lambda x: F.embedding([-1], x[0, 0]), IndexRangeError),
    "embedding padding": (lambda x: F.embedding([0], x[0, 0], padding_idx=4), IndexRangeError),
    "embedding floats": (lambda x: F.embedding([0.5], x[0, 0]), DTypeError),
    "embedding rank": (lambda x: F.embedding([0], x), ShapeError),
    "one_hot beyond": (lambda x: F.one_hot(fastnn.tensor([3]), 3), IndexRangeError),
    "one_hot nothing": (lambda x: F.one_hot(fastnn.empty(0, dtype="int64")), ShapeError),
}


@pytest.mark.parametrize(("fn", "error"), BAD.values(), ids=BAD)
def test_refused(fn, error):
    x = fastnn.tensor(X, requires_grad=True)
    with pytest.raises(error, match=":"):
        fn(x)
    same(x, X)


def test_index_errors_name_position_and_value():
    with pytest.raises(IndexRangeError, match=r"embedding: input: got 9 at \(1, 0\); need 0 to 3"):
        F.embedding(fastnn.tensor([[0, 1], [9, 5]]), fastnn.zeros(4, 2))


def test_embedding_of_an_empty_vocabulary():
    assert F.embedding(fastnn.empty(0, dtype="int64"), fastnn.zeros(0, 3)).shape == (0, 3)
    with pytest.raises(IndexRangeError):
        F.embedding(fastnn.tensor([0]), fastnn.zeros(0, 3))


def test_indices_changed_behind_our_back_do_not_crash():
    index = np.array([0, 1, 2])
    x = fastnn.ones(3, 2, requires_grad=True)
    y = x[fastnn.from_numpy(index)]
    index[...] = [10**15, -7, 1]
    y.backward(fastnn.ones_like(y))
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 0], [1, 1], [0, 0]])


def test_setitem_and_the_graph():
    x = fastnn.zeros(3, requires_grad=True)
    with pytest.raises(GraphError, match="setitem: .*leaf"):
        x[0] = 1.0
    y = x * 2.0
    shared = y.view(3, 1)
    with pytest.raises(GraphError, match="shares memory"):
        y[0] = 1.0
    del shared
    with fastnn.no_grad():
        x[0] = 7.0
    assert x.tolist() == [7, 0, 0] and x.requires_grad
    z = fastnn.ones(3)
    w = x * z
    z[0] = 5
    with pytest.raises(GraphError, match="version"):
        w.backward(fastnn.ones(3))


@pytest.mark.parametrize("key", [
    1, slice(1, 3), (slice(None), 2), (..., None, 1), ([0, 2], [1, 1]), [2, 0], -1,
    (slice(None), [3, 0]), (0, 0), slice(2, 2), np.array([True, False, True]),
    np.arange(12).reshape(3, 4) % 2 == 0,
], ids=str)
@pytest.mark.parametrize("ones", [False, True])
def test_setitem_carries_gradients(key, ones, rng):
    """Of what was there and of what is put in its place."""
    x, weight = rng.standard_normal((2, 3, 4)).astype(np.float32)
    shape = x[key].shape
    v = rng.standard_normal(tuple(1 for _ in shape) if ones else shape).astype(np.float32)
    a, b = fastnn.tensor(x, requires_grad=True), fastnn.tensor(v, requires_grad=True)
    y = a * 1.0
    y[key] = b * 1.0
    changed, left = x.copy(), weight.copy()
    changed[key], left[key] = v, 0
    same(y.detach(), changed)
    (y * weight).sum().backward()
    same(a.grad, left)
    if x[key].size:
        expected = weight[key].reshape(1, -1).sum(1).reshape(v.shape) if ones else weight[key]
        np.testing.assert_allclose(b.grad.numpy(), expected, rtol=1e-5)


def test_setitem_builds_a_graph_in_a_plain_tensor():
    x = fastnn.tensor([1.0, 2.0], requires_grad=True)
    steps, h = fastnn.zeros(3, 2), x
    for i in range(3):
        h = h * 2
        steps[i] = h
    steps.sum().backward()
    assert steps.tolist() == [[2, 4], [4, 8], [8, 16]] and x.grad.tolist() == [14, 14]
    with pytest.raises(ShapeError, match=r"setitem: value: got shape \(3,\); need .* \(2,\)"):
        steps[0] = fastnn.ones(3, requires_grad=True)
    with pytest.raises(DTypeError):
        fastnn.zeros(3, dtype=fastnn.int64)[0] = h[0]


@pytest.mark.parametrize(("key", "value", "error"), [
    (0, np.zeros(7), ShapeError), (5, 0, IndexRangeError), ([0, 9], 0, IndexRangeError),
    (0, "a", DTypeError), (0, 1j, DTypeError),
])
def test_setitem_refused(key, value, error):
    x = fastnn.tensor(X)
    with pytest.raises(error):
        x[key] = value
    same(x, X)


def test_setitem_of_integers_takes_no_floats():
    with pytest.raises(DTypeError):
        fastnn.arange(3)[0] = 1.5


def test_setitem_of_read_only_memory():
    array = np.zeros(3, np.float32)
    array.flags.writeable = False
    with pytest.raises(ValueError, match="clone"):
        fastnn.from_numpy(array)[0] = 1


def test_in_place():
    x = fastnn.ones(2, 2)
    assert x.zero_() is x and x.fill_(3).copy_(fastnn.eye(2)) is x
    same(x, np.eye(2, dtype=np.float32))


def test_nonzero():
    x = X[0, 0] > 7
    same(fastnn.nonzero(fastnn.tensor(x)), np.argwhere(x))
    for a, b in zip(fastnn.nonzero(fastnn.tensor(x), as_tuple=True), np.nonzero(x), strict=True):
        same(a, b)
    assert fastnn.nonzero(fastnn.tensor(3.0)).shape == (1, 0)
