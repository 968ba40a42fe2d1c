"""The core: tensors and NumPy, memory, threads, fork, floating-point mode. Graph: test_graph.py."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import weakref

import numpy as np
import pytest
from callers import together

import fastnn
from fastnn import _core
from fastnn.errors import DTypeError, GraphError, ShapeError

F = fastnn.nn.functional


def f32(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# ---- exchange with NumPy


def test_from_numpy_shares_memory_both_ways():
    a = f32(3, 4)
    t = fastnn.from_numpy(a)
    a[1, 2] = 42
    assert t.numpy()[1, 2] == 42
    t.numpy()[0, 0] = 7
    assert a[0, 0] == 7


def test_tensor_copies():
    a = f32(3, 4)
    t = fastnn.tensor(a)
    a[...] = 0
    assert not np.any(t.numpy() == 0)


def test_memory_lives_as_long_as_anyone_needs_it():
    t = fastnn.tensor(f32(100))
    a = t.numpy()
    before = a.copy()
    del t
    gc.collect()
    fastnn.tensor(np.zeros(100, np.float32))
    np.testing.assert_array_equal(a, before)


def test_numpy_array_is_released_with_its_tensor():
    class Marked(np.ndarray):
        pass

    a = f32(10).view(Marked)
    alive = weakref.ref(a)
    t = fastnn.from_numpy(a)
    del a
    assert alive() is not None
    del t
    assert alive() is None


@pytest.mark.parametrize("dtype", list(fastnn.DTYPES))
def test_every_dtype_round_trips(dtype):
    a = np.arange(6).reshape(2, 3).astype(fastnn.DTYPES[dtype].numpy)
    t = fastnn.from_numpy(a)
    assert t.dtype is fastnn.DTYPES[dtype]
    assert t.shape == (2, 3)
    np.testing.assert_array_equal(t.numpy(), a)
    assert t.numpy().dtype == a.dtype
    np.testing.assert_array_equal(np.asarray(t), a)
    np.testing.assert_array_equal(np.frombuffer(t, a.dtype).reshape(2, 3), a)
    np.testing.assert_array_equal(np.from_dlpack(t), a)
    assert t.tolist() == a.tolist()


def test_dlpack_shares_memory():
    t = fastnn.tensor(f32(4))
    np.from_dlpack(t)  # an export that is dropped must not free the tensor
    t2 = fastnn.from_dlpack(f32(2, 2))
    assert t2.shape == (2, 2)
    a = np.from_dlpack(t)
    a[0] = 5
    assert t.numpy()[0] == 5


@pytest.mark.parametrize(
    "make",
    [lambda a: a[::2], lambda a: a.T, lambda a: a[::-1], np.asfortranarray,
     lambda a: a.astype(">f4"), lambda a: np.broadcast_to(a[:1], a.shape),
     lambda a: np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape)],
    ids=["step", "transposed", "negative", "fortran", "byte-swapped", "broadcast", "misaligned"],
)
def test_any_layout_is_read_right(make):
    a = make(f32(6, 5))
    np.testing.assert_array_equal(fastnn.tensor(a).numpy(), a)
    np.testing.assert_array_equal(fastnn.as_tensor(a).numpy(), a)
    w = f32(3, a.shape[-1], seed=1)
    got = F.linear(a, w).numpy()
    np.testing.assert_allclose(got, a.astype(np.float64) @ w.T, rtol=1e-5, atol=1e-6)


def test_from_numpy_refuses_what_it_cannot_share():
    with pytest.raises(ValueError, match="ascontiguousarray"):
        fastnn.from_numpy(f32(4, 4).T)
    with pytest.raises(TypeError):
        fastnn.from_numpy([1.0])


def test_read_only_memory_is_never_written():
    a = f32(4)
    a.flags.writeable = False
    t = fastnn.from_numpy(a)
    assert not t.numpy().flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        _core.check_writable("add_", t)


@pytest.mark.parametrize(
    "bad",
    [np.array([1, "a"], object), np.zeros(2, complex), np.zeros(2, "M8[s]"), np.zeros(2, "i4,f4"),
     np.ma.masked_array([1.0], [True]), ["a"], [object()], None, "text"],
    ids=["object", "complex", "datetime", "structured", "masked", "strings", "objects", "None",
         "str"],
)
def test_foreign_dtypes_are_refused(bad):
    with pytest.raises(DTypeError):
        fastnn.tensor(bad)
    with pytest.raises(DTypeError):
        fastnn.as_tensor(bad)


def test_ragged_lists_and_huge_integers():
    with pytest.raises(ShapeError, match="ragged"):
        fastnn.tensor([[1.0], [1.0, 2.0]])
    with pytest.raises(DTypeError):
        fastnn.tensor([2**70])


def test_python_numbers_and_float64_become_float32():
    assert fastnn.tensor(1.5).dtype is fastnn.float32
    assert fastnn.tensor([1, 2]).dtype is fastnn.int64
    assert fastnn.tensor([True]).dtype is fastnn.bool
    assert fastnn.tensor(np.ones(2)).dtype is fastnn.float32
    assert fastnn.from_numpy(np.ones(2)).dtype is fastnn.float64  # shared, so not converted


def test_storage_dtypes_do_not_compute():
    with pytest.raises(DTypeError, match=r"linear: input: got float64; need float32"):
        F.linear(fastnn.from_numpy(np.ones((2, 3))), f32(4, 3))


# ---- shapes


@pytest.mark.parametrize("shape", [(2**40, 2**40), (2**62,), (-1,), (2**70,), (1,) * 33])
def test_impossible_shapes(shape):
    with pytest.raises(ShapeError):
        _core.empty(shape)


def test_thirty_two_axes():
    t = _core.empty((1,) * 32)
    assert t.ndim == 32 and t.numpy().ndim == 32


def test_empty_tensors():
    t = fastnn.tensor(np.zeros((0, 3), np.float32))
    assert t.shape == (0, 3) and t.numel() == 0 and t.numpy().shape == (0, 3)


def test_scalar_conversions():
    assert float(fastnn.tensor(2.5)) == 2.5
    assert int(fastnn.tensor(3)) == 3
    assert [10, 20, 30][fastnn.tensor(1)] == 20
    assert f"{fastnn.tensor(0.5):.2f}" == "0.50"
    with pytest.raises(ShapeError):
        fastnn.tensor([1.0, 2.0]).item()
    with pytest.raises(ShapeError):
        bool(fastnn.tensor([1.0, 2.0]))


def test_device_is_the_cpu():
    fastnn.tensor(1.0, device="cpu")
    with pytest.raises(DTypeError, match="cuda"):
        fastnn.tensor(1.0, device="cuda")


def test_copies():
    t = fastnn.tensor(f32(3), requires_grad=True)
    for twin in (copy.deepcopy(t), pickle.loads(pickle.dumps(t))):
        assert twin.requires_grad and twin is not t
        np.testing.assert_array_equal(twin.detach().numpy(), t.detach().numpy())
        twin.detach().numpy()[0] = 9
        assert t.detach().numpy()[0] != 9


def test_numpy_of_a_tracked_tensor_needs_detach():
    t = fastnn.tensor(f32(3), requires_grad=True)
    with pytest.raises(GraphError, match="detach"):
        t.numpy()
    with pytest.raises(GraphError, match="detach"):
        np.asarray(t)


# ---- memory


def test_live_bytes_return_to_where_they_were():
    gc.collect()
    before = fastnn.live_bytes()
    ts = [fastnn.tensor(f32(1000)) for _ in range(50)]
    assert fastnn.live_bytes() >= before + 50 * 4000
    del ts
    assert fastnn.live_bytes() == before


def test_a_size_beyond_the_machine_is_a_memory_error():
    with pytest.raises(MemoryError, match="bytes"):
        _core.empty((2**50,))
    F.linear(f32(2, 3), f32(4, 3))


def test_max_bytes():
    _core.set_max_bytes(fastnn.live_bytes() + 20_000_000)
    try:
        with pytest.raises(MemoryError):
            _core.empty((10_000_000,))
        _core.empty((1_000_000,))
    finally:
        _core.set_max_bytes(0)


def test_every_allocation_may_fail():
    """Each allocation of a forward and backward pass fails once: MemoryError, nothing lost."""
    x, w, b = f32(4, 3), f32(5, 3, seed=1), f32(5, seed=2)
    tensors = [fastnn.tensor(a, requires_grad=True) for a in (x, w, b)]

    def step():
        F.linear(*tensors).backward(fastnn.tensor(np.ones((4, 5), np.float32)))

    step()
    expected = [t.grad.numpy().copy() for t in tensors]
    for t in tensors:
        t.grad = None
    gc.collect()
    for n in range(1, 100):
        before = fastnn.live_bytes()
        _core.fail_alloc_after(n)
        try:
            step()
            break
        except MemoryError:
            assert all(t.grad is None for t in tensors)
            assert fastnn.live_bytes() == before
        finally:
            _core.fail_alloc_after(0)
    assert 3 < n < 99
    for t, g in zip(tensors, expected, strict=True):
        np.testing.assert_array_equal(t.grad.numpy(), g)


# ---- threads, fork, floating point


def big_product(seed=0):
    return F.linear(f32(256, 256, seed=seed), f32(256, 256, seed=seed + 1)).numpy().tobytes()


def test_python_threads_get_the_serial_result():
    expected = [big_product(s) for s in range(4)]
    assert together(16, lambda i: big_product(i % 4)) == 4 * expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_after_parallel_work():
    expected = big_product()
    for _ in range(20):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:  # the child must compute, not hang on its parent's threads
            signal.alarm(60)
            os._exit(0 if big_product() == expected else 1)
        os.close(read)
        os.close(write)
        assert os.waitpid(pid, 0)[1] == 0
        assert big_product() == expected


def test_floating_point_mode_is_left_alone():
    before = _core.fp_mode()
    big_product()
    assert _core.fp_mode() == before
    assert np.float32(1e-40) * np.float32(0.5) != 0  # denormals still there outside


def test_import_leaves_the_floating_point_mode_alone():
    code = ("import ctypes, numpy as np; tiny = np.float32(1e-40); import fastnn; "
            "assert tiny * np.float32(0.5) != 0")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["avx1024", ""])
def test_unknown_isa_is_refused(name):
    with pytest.raises(ValueError, match="this machine runs"):
        _core.select_isa(name)


def test_environment_overrides():
    code = "import fastnn; print(fastnn._core.isa(), fastnn.get_num_threads())"
    env = os.environ | {"FASTNN_ISA": _core.isa_names()[-1], "FASTNN_NUM_THREADS": "3"}
    out = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)
    assert out.stdout.decode().split() == [_core.isa_names()[-1], "3"]


@pytest.mark.parametrize("n", [0, -1, 10**6])
def test_thread_count_is_checked(n):
    with pytest.raises(ValueError, match="set_num_threads"):
        fastnn.set_num_threads(n)


UNTRACEABLE = {
    "cumsum": lambda i, x: i.cumsum(0), "prod": lambda i, x: i.prod(),
    "amax": lambda i, x: i.amax(), "max": lambda i, x: i.max(0),
    "argmin": lambda i, x: i.argmin(), "pow": lambda i, x: i**2, "sort": lambda i, x: x.sort(),
    "argsort": lambda i, x: i.argsort(), "topk": lambda i, x: x.topk(1),
    "nonzero": lambda i, x: x.nonzero(), "setitem": lambda i, x: x.__setitem__(0, 1.0),
    "item": lambda i, x: x[0].item(), "numpy": lambda i, x: x.numpy(),
    "equal": lambda i, x: x.equal(x), "isclose": lambda i, x: i.isclose(i),
    "getitem": lambda i, x: x[x > 0], "randperm": lambda i, x: fastnn.randperm(3),
    "multinomial": lambda i, x: fastnn.multinomial(x, 2), "median": lambda i, x: x.median(),
    "unique": lambda i, x: i.unique(),
}


@pytest.mark.parametrize("name", list(UNTRACEABLE))
def test_what_computes_outside_records_says_so(name):
    said = []
    i, x = fastnn.tensor([3, 1, 2]), fastnn.tensor([3.0, 1.0, 2.0])
    assert _core.on_untraceable(said.append) is None
    try:
        UNTRACEABLE[name](i, x)
    finally:
        _core.on_untraceable(None)
    assert said[0] == name


def test_records_do_not_say_so():
    said = []
    i, x = fastnn.tensor([0, 1, 2]), fastnn.tensor([3.0, 1.0, 2.0])
    _core.on_untraceable(said.append)
    try:
        for y in (x.any(), i.all(), x.count_nonzero(), x.isclose(x), x.long(),
                  fastnn.nn.functional.one_hot(i, 3), x.half().double(), i.to("int16"), i.sum(),
                  i + 1, x[i], x[i.int()], x[-i], x.expand(3, 3)[i, -i], x.expand(3, 3)[:, i],
                  fastnn.arange(3), x.max(0), fastnn.zeros(3), x.scatter(0, i, 1.0), x.diag(),
                  fastnn.nn.functional.binary_cross_entropy(x * 0, x * 0), x.sigmoid().bernoulli(),
                  fastnn.nn.functional.cross_entropy(x, i[2]), fastnn.einsum("i,i", x, x)):
            assert y is not None
    finally:
        _core.on_untraceable(None)
    assert not said
