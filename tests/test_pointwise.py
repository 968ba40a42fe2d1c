"""What cases cannot say of arithmetic: dtypes, numbers as operands, operators, in-place forms."""

import operator

import numpy as np
import pytest

import fastnn
from fastnn.errors import DTypeError, GraphError, ShapeError
from fastnn.nn import functional as F

DTYPES = ("float32", "int64", "int32", "uint8", "bool")


def t(data, dtype=None, grad=False):
    return fastnn.tensor(data, dtype=dtype, requires_grad=grad)


# ---------------------------------------------------------------- which dtype comes out

NAMES = {np.dtype("float32"): 4, np.dtype("int64"): 3, np.dtype("int32"): 2, np.dtype("uint8"): 1,
         np.dtype("bool"): 0}


@pytest.mark.parametrize("a", DTYPES)
@pytest.mark.parametrize("b", DTYPES)
def test_two_tensors_meet_in_the_higher_dtype(a, b):
    x, y = t([1, 0, 2], a), t([1, 1, 2], b)
    higher = max(a, b, key=lambda d: NAMES[np.dtype(d)])
    assert (x + y).dtype.name == higher
    assert (x == y).dtype is fastnn.bool
    assert (x / y).dtype is fastnn.float32
    np.testing.assert_array_equal((x == y).numpy(), x.numpy() == y.numpy())


@pytest.mark.parametrize("dtype, number, result", [
    ("bool", 1, "int64"), ("bool", 1.0, "float32"), ("bool", True, "bool"),
    ("int32", 1, "int32"), ("int32", 0.5, "float32"), ("int32", True, "int32"),
    ("uint8", 1, "uint8"), ("int64", 0.5, "float32"), ("float32", 1, "float32"),
])
def test_a_number_only_raises_the_kind(dtype, number, result):
    assert (t([1], dtype) + number).dtype.name == result
    assert (number + t([1], dtype)).dtype.name == result
    assert fastnn.result_type(t([1], dtype), number).name == result


def test_a_tensor_without_axes_counts_less_than_one_with():
    assert (t([1], "int32") + t(1, "int64")).dtype is fastnn.int32
    assert (t([1], "int32") + t(1.5)).dtype is fastnn.float32
    assert (t(1, "int32") + t(1, "int64")).dtype is fastnn.int64


@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", "int16"])
def test_storage_dtypes_do_not_compute(dtype):
    x = t([1, 2], dtype)
    for f in (lambda: x + 1, lambda: x == x, lambda: fastnn.exp(x), lambda: F.relu(x)):
        with pytest.raises(DTypeError, match=rf"{dtype}.*float"):
            f()


def test_integers_follow_python():
    a, b = [7, -7, 7, -7, 0, 5], [2, 2, -2, -2, 3, 0]
    x, y = t(a), t(b)
    for op in (operator.add, operator.sub, operator.mul):
        assert op(x, y).tolist() == [op(p, q) for p, q in zip(a, b, strict=True)]
    for op in (operator.floordiv, operator.mod):   # by 0 there is no exception, but 0
        assert op(x, y).tolist() == [op(p, q) if q else 0 for p, q in zip(a, b, strict=True)]
        np.testing.assert_array_equal(op(x.float(), y.float())[:5].numpy(),
                                      [op(p, q) for p, q in zip(a[:5], b[:5], strict=True)])
    assert (2 ** t([0, 3])).tolist() == [1, 8]
    assert (t([3]) ** 2).dtype is fastnn.int64
    with pytest.raises(ValueError, match="pow: exponent"):
        t([3]) ** -1


def test_int64_wraps_and_never_traps():
    low = t([-2**63])
    assert (low - 1).tolist() == [2**63 - 1]
    assert (low // -1).tolist() == [-2**63]
    assert (low % -1).tolist() == [0]
    assert (t([255], "uint8") + t([1], "uint8")).tolist() == [0]


def test_logic():
    p, q = t([True, True, False, False]), t([True, False, True, False])
    assert (p & q).tolist() == [True, False, False, False]
    assert (p | q).tolist() == [True, True, True, False]
    assert (p ^ q).tolist() == [False, True, True, False]
    assert (~p).tolist() == [False, False, True, True]
    assert (~t([0, 5])).tolist() == [-1, -6]
    assert fastnn.logical_and(t([1.5, 0.0]), t([1, 1])).tolist() == [True, False]
    assert fastnn.logical_not(t([1.5, 0.0])).tolist() == [False, True]
    with pytest.raises(DTypeError, match="bitwise_and"):
        t([1.0]) & t([1])
    with pytest.raises(DTypeError, match="bool"):
        p - q


def test_accuracy_as_a_training_loop_writes_it():
    logits, y = t([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]]), t([1, 0, 0])
    assert (logits.argmax(1) == y).float().mean().item() == pytest.approx(2 / 3)


# ---------------------------------------------------------------- conversion


def test_to_takes_dtypes_devices_and_tensors():
    x = t([1.5, -1.5])
    assert x.to("cpu") is x and x.to(fastnn.float32) is x and x.float() is x
    assert x.to("cpu", fastnn.int64).tolist() == [1, -1]
    assert x.to(dtype="int32").dtype is fastnn.int32
    assert x.to(t([1])).dtype is fastnn.int64
    assert x.to(fastnn.float32, copy=True) is not x
    assert x.type(fastnn.bool).tolist() == [True, True]
    with pytest.raises(DTypeError, match="cuda"):
        x.to("cuda:0")
    with pytest.raises(DTypeError, match="float8"):
        x.to("float8")


@pytest.mark.parametrize("method, dtype", [
    ("float", "float32"), ("double", "float64"), ("half", "float16"), ("long", "int64"),
    ("int", "int32"), ("short", "int16"), ("char", "int8"), ("byte", "uint8"), ("bool", "bool"),
])
def test_every_dtype_converts_to_every_other(method, dtype):
    for source in fastnn._core.DTYPES:
        x = t([0, 1, 2], source)
        y = getattr(x, method)()
        assert y.dtype.name == dtype
        np.testing.assert_array_equal(y.numpy(), x.numpy().astype(dtype))


def test_float_to_integer_is_defined_everywhere():
    x = t([np.nan, np.inf, -np.inf, 3e9, -3e9, -1.9])
    assert x.int().tolist() == [0, 2**31 - 1, -2**31, 2**31 - 1, -2**31, -1]
    assert x.byte().tolist() == [0, 255, 0, 255, 0, 0]
    assert x.long().tolist() == [0, 2**63 - 1, -2**63, 3 * 10**9, -3 * 10**9, -1]
    assert x.double().char().tolist() == [0, 127, -128, 127, -128, -1]
    assert x.double().long().tolist() == x.long().tolist()


def test_gradients_flow_through_every_float_dtype():
    for dtype in ("float64", "float16"):
        x = t([1.0, 2.0], grad=True)
        y = (x * 3).to(dtype)
        assert y.requires_grad and y.grad_fn == "cast" and y.tolist() == [3, 6]
        y.backward(np.array([1.0, 0.5], dtype))
        assert x.grad.dtype is fastnn.float32 and x.grad.tolist() == [3, 1.5]
        x.grad = None
        (x.to(dtype).float() * 2).sum().backward()
        assert x.grad.tolist() == [2, 2]
    loss = (t([1.0, 2.0], grad=True) * 2).sum()
    assert loss.double().item() == float(loss.half()) == 6
    loss.double().backward()
    assert not x.long().requires_grad
    (x.float() * 2).sum().backward()


def test_what_float64_may_do_keeps_gradients():
    x = t([[1.0, 2.0], [3.0, 4.0]], grad=True)
    y = x.double()
    parts = fastnn.cat([y.t().reshape(4)[1:], y[0].flip(0), fastnn.stack([y, y], 1).flatten()[:1]])
    assert parts.dtype is fastnn.float64 and parts.tolist() == [3, 2, 4, 2, 1, 1]
    parts.backward(t([1.0, 10.0, 100.0, 1000.0, 1e4, 1e5]))
    assert x.grad.tolist() == [[110000, 1010], [1, 100]]
    with pytest.raises(DTypeError):
        y + 1.0
    with pytest.raises(GraphError):
        y.numpy()


# ---------------------------------------------------------------- operators


def test_numbers_and_arrays_on_either_side():
    x = t([1.0, 2.0, 4.0])
    array = np.array([4.0, 2.0, 1.0], np.float32)
    for op in (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow,
               operator.floordiv, operator.mod):
        for other in (2, 2.5, array):
            np.testing.assert_allclose(op(x, other).numpy(), op(x.numpy(), other), rtol=1e-6)
            np.testing.assert_allclose(op(other, x).numpy(), op(other, x.numpy()), rtol=1e-6)
    for op in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
        assert op(x, 2).tolist() == op(x.numpy(), 2).tolist()
        assert op(2, x).tolist() == op(2, x.numpy()).tolist()
    assert (-x).tolist() == [-1, -2, -4] and abs(-x).tolist() == [1, 2, 4]
    assert (+x) is x


def test_powers_with_kernels_of_their_own():
    x = t([0.25, 4.0], grad=True)
    for p in (2, 0.5, -0.5, -1, 3, 0, 1, 2.5):
        x.grad = None
        y = x ** p
        np.testing.assert_allclose(y.detach().numpy(), x.detach().numpy() ** p, rtol=1e-6)
        y.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), p * x.detach().numpy() ** (p - 1.0), rtol=2e-6)


def test_slopes_at_corners():
    def slope(f, *at):
        x = t(list(at), grad=True)
        f(x).sum().backward()
        return x.grad.tolist()

    assert slope(abs, 0.0) == [0]
    assert slope(fastnn.sqrt, 0.0) == [np.inf]
    assert slope(fastnn.log, 0.0) == [np.inf]
    assert slope(F.relu, 0.0, -0.0) == [0, 0]
    assert slope(lambda x: x ** 0, 0.0, 1.0) == [0, 0]
    assert slope(lambda x: x ** 1, 0.0) == [1]
    assert slope(lambda x: x ** 3, -2.0, 0.0) == [12, 0]
    assert slope(lambda x: fastnn.clamp(x, 0, 1), -1.0, 0.0, 1.0, 2.0) == [0, 1, 1, 0]
    assert slope(lambda x: fastnn.maximum(x, t([1.0, 1.0])), 1.0, 2.0) == [0.5, 1]
    assert slope(lambda x: 2.0 ** x, 0.0) == pytest.approx([np.log(2)], rel=1e-6)
    assert slope(lambda x: 0.0 ** x, 0.0, 1.0) == [0, 0]


def test_a_frozen_factor_keeps_nothing():
    """d(x w)/dx reads only w: changing x afterwards is harmless."""
    x, w = t([1.0, 2.0], grad=True) * 1.0, t([3.0, 4.0])
    y = x * w
    with fastnn.no_grad():
        x.zero_()
    y.sum().backward()


def test_broadcast_gradients_sum():
    a, b = t(np.ones((5, 1, 3), np.float32), grad=True), t(np.ones((4, 1), np.float32), grad=True)
    (a * b).sum().backward()
    assert a.grad.shape == (5, 1, 3) and (a.grad.numpy() == 4).all()
    assert b.grad.shape == (4, 1) and (b.grad.numpy() == 15).all()


# ---------------------------------------------------------------- in place


def test_in_place_keeps_the_memory():
    x = fastnn.zeros(3)
    where = x.data_ptr()
    x += 2
    x *= t([1.0, 2.0, 3.0])
    x -= 1
    x /= 2
    x.pow_(2).clamp_(0.5, 3).neg_().abs_().sqrt_().add_(1, alpha=2).relu_()
    assert x.data_ptr() == where
    expected = 2 + np.sqrt(np.clip([0.25, 2.25, 6.25], 0.5, 3))
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-6)
    assert x.fill_(7).tolist() == [7] * 3 and x.zero_().tolist() == [0] * 3
    assert x.copy_(t([1, 2, 3])).tolist() == [1, 2, 3]
    assert x.masked_fill_(x > 1, -1).tolist() == [1, -1, -1]
    assert x.remainder_(2).tolist() == [1, 1, 1] and x.floor_divide_(2).tolist() == [0, 0, 0]
    assert F.relu(x.sub_(1), inplace=True) is x and F.elu(x, -1.0, inplace=True) is x
    assert x.data_ptr() == where


def test_in_place_on_integers():
    x = t([1, 2, 3])
    where = x.data_ptr()
    x += 1
    x *= t([1, 2, 3], "int32")
    assert x.tolist() == [2, 6, 12] and x.data_ptr() == where and x.dtype is fastnn.int64
    for f in (lambda: x.add_(0.5), lambda: x.div_(2)):
        with pytest.raises(DTypeError, match="int64"):
            f()
    assert x.tolist() == [2, 6, 12]
    assert x.fill_(2**40 + 1).tolist() == [2**40 + 1] * 3
    mask = t([True, False])
    mask &= t([True, True])
    assert mask.tolist() == [True, False]
    assert t([1.5], "float64").fill_(2).copy_(t([3])).tolist() == [3]


def test_in_place_shapes():
    x = fastnn.zeros(2, 3)
    x += t([1.0, 2.0, 3.0])
    assert x.copy_(t([[1.0], [2.0]])).tolist() == [[1] * 3, [2] * 3]
    for f in (lambda: x[0].add_(x), lambda: x.copy_(fastnn.zeros(4)),
              lambda: t([1]).add_(t([1, 2]))):
        with pytest.raises(ShapeError):
            f()


@pytest.mark.parametrize("change, slope", [
    (lambda y: y.mul_(3.0), lambda y: 3), (lambda y: y.mul_(y), lambda y: 2 * y),
    (lambda y: y.exp_(), np.exp), (lambda y: y.log_(), lambda y: 1 / y),
    (lambda y: y.pow_(3.0), lambda y: 3 * y**2), (lambda y: y.clamp_(2.5, 9), lambda y: y > 2.5),
    (lambda y: y.fill_(1.0), lambda y: 0 * y), (lambda y: y.zero_(), lambda y: 0 * y),
    (lambda y: y.relu_(), lambda y: 1), (lambda y: F.silu(y, inplace=True), None),
    (lambda y: y.masked_fill_(y > 3, 0.0), lambda y: y <= 3),
], ids=["mul", "mul-self", "exp", "log", "pow", "clamp", "fill", "zero", "relu", "silu",
        "masked_fill"])
def test_gradients_flow_through_in_place(change, slope):
    x = t([1.0, 2.0], grad=True)
    change(x * 2).sum().backward()
    y = np.array([2.0, 4.0])
    if slope is None:
        s = 1 / (1 + np.exp(-y))
        expected = s * (1 + y * (1 - s))
    else:
        expected = slope(y)
    np.testing.assert_allclose(x.grad.numpy(), 2 * expected * np.ones(2), rtol=1e-5)


def test_copy_hands_the_graph_over():
    x, z = t([1.0, 2.0], grad=True), t([3.0, 4.0], grad=True)
    y = x * 2
    y.copy_(z * 5)
    y.sum().backward()
    assert x.grad is None and z.grad.tolist() == [5, 5]
    y = x * 2
    y.copy_(t([1.0, 1.0]))
    assert not y.requires_grad


def test_leaves_that_require_grad_are_left_alone():
    x = t([1.0, 2.0], grad=True)
    for f in (lambda: x.add_(1), lambda: x.exp_(), lambda: x.fill_(0),
              lambda: x.copy_(t([0.0, 0.0]))):
        with pytest.raises(GraphError):
            f()
    assert x.tolist() == [1, 2]
    with fastnn.no_grad():
        x.add_(1)
    assert x.tolist() == [2, 3] and x.requires_grad


# ---------------------------------------------------------------- choosing, comparing


def test_where_promotes_and_broadcasts():
    cond = t([[True], [False]])
    assert fastnn.where(cond, t([1, 2]), 0.5).tolist() == [[1, 2], [0.5, 0.5]]
    assert fastnn.where(cond, 1, 2).dtype is fastnn.int64
    assert t([1.0, 2.0]).where(t([True, False]), t([9.0, 9.0])).tolist() == [1, 9]
    with pytest.raises(DTypeError, match="where: condition"):
        fastnn.where(t([1]), 1, 2)
    with pytest.raises(DTypeError, match="masked_fill"):
        fastnn.masked_fill(t([1]), t([True]), 0.5)


def test_closeness():
    a, b = t([1.0, np.nan, np.inf]), t([1.0 + 1e-6, np.nan, np.inf])
    assert fastnn.isclose(a, b).tolist() == [True, False, True]
    assert fastnn.allclose(a, b, equal_nan=True) and not fastnn.allclose(a, b)
    assert fastnn.equal(t([1, 2]), t([1, 2])) and not fastnn.equal(t([1, 2]), t([[1, 2]]))
    assert fastnn.isnan(a).tolist() == [False, True, False]
    assert fastnn.isinf(a).tolist() == [False, False, True]
    assert fastnn.isfinite(a).tolist() == [True, False, False]
    assert fastnn.isfinite(t([1])).tolist() == [True] and fastnn.isinf(t([1])).tolist() == [False]


def test_activation_options():
    x = t([-2.0, 0.0, 3.0])
    np.testing.assert_allclose(F.leaky_relu(x, -0.5).numpy(), [1, 0, 3])
    assert F.leaky_relu(x, 0).tolist() == [0, 0, 3]
    np.testing.assert_allclose(F.elu(x, -1.0).numpy(), [1 - np.exp(-2), 0, 3], rtol=1e-6)
    np.testing.assert_allclose(F.celu(x, 2.0).numpy(), [2 * (np.exp(-1) - 1), 0, 3], rtol=1e-6)
    assert F.hardtanh(x, -1, 2).tolist() == [-1, 0, 2]
    assert F.softmax(x, axis=0).tolist() == F.softmax(x, 0).tolist()
    with pytest.raises(ValueError, match="gelu: approximate"):
        F.gelu(x, "erf")
    with pytest.raises(TypeError, match="softmax: dim"):
        F.softmax(x)


def test_a_row_is_the_same_alone_and_in_a_batch(rng):
    x = rng.standard_normal((64, 1000)).astype(np.float32)
    for f in (F.softmax, F.log_softmax):
        assert f(t(x), 1)[5].tolist() == f(t(x[5]), 0).tolist()
