"""The graph: accumulation, reuse, depth, what it refuses, and grad modes per thread."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
import weakref

import numpy as np
import pytest
from callers import together

import fastnn
from fastnn import _core, nn, reference
from fastnn.errors import DTypeError, GraphError, ShapeError

NUMPY_RUN = _core.backend_is_numpy()


def leaf(*values):
    return fastnn.tensor(list(values), requires_grad=True)


# ---------------------------------------------------------------- sums of gradients

def test_gradients_accumulate_until_dropped():
    x = leaf(1.0, 2.0)
    for _ in range(3):
        (x * x).sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_the_gradient_tensor_keeps_its_memory():
    x = leaf(1.0)
    (x * 2).backward(fastnn.ones(1))
    kept = x.grad
    (x * 2).backward(fastnn.ones(1))
    assert x.grad is kept and kept.tolist() == [4.0]


def test_retained_graph_gives_the_same_again():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4.0, 8.0]
    with pytest.raises(GraphError, match="second backward"):
        y.backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_a_tensor_used_many_times():
    x = leaf(3.0)
    y = x * x + x * x * x + x - x / x
    y.backward(fastnn.ones(1))
    assert x.grad.item() == 2 * 3 + 3 * 9 + 1
    x.grad = None
    (x * x).backward(fastnn.ones(1))        # one operand in both slots
    assert x.grad.item() == 6


def test_diamonds_and_branches_that_nobody_used():
    x = leaf(2.0)
    a = x * 3
    b, c = a * a, a + 1
    unused = a * 100
    (b * c).backward(fastnn.ones(1))
    assert x.grad.item() == pytest.approx(3 * (2 * 6 * 7 + 36))
    assert unused.requires_grad


def test_shared_parameters_get_the_sum_of_their_gradients():
    layer = nn.Linear(2, 2, bias=False)
    x = fastnn.ones(1, 2)
    layer(layer(x)).sum().backward()
    w = layer.weight.detach().numpy().astype(np.float64)
    h = w @ np.ones(2)
    expected = np.outer(np.ones(2), h) + np.outer(w.T @ np.ones(2), np.ones(2))
    np.testing.assert_allclose(layer.weight.grad.numpy(), expected, rtol=1e-6)


def test_views_of_leaves_carry_gradients_back():
    x = leaf(1.0, 2.0, 3.0, 4.0)
    (x.reshape(2, 2) @ x.reshape(2, 2)).sum().backward()
    assert x.grad.tolist() == [1 + 2 + 1 + 3, 3 + 4 + 1 + 3, 1 + 2 + 2 + 4, 3 + 4 + 2 + 4]


def test_only_wanted_gradients_exist():
    x, w = fastnn.ones(2, 3), leaf(1.0, 2.0, 3.0)
    frozen = leaf(1.0, 1.0, 1.0).requires_grad_(False)
    (x * w * frozen).sum().backward()
    assert x.grad is None and frozen.grad is None and w.grad.tolist() == [2.0, 2.0, 2.0]


def test_backward_from_any_shape_with_a_gradient():
    x = leaf(1.0, 2.0)
    y = x * x
    y.backward(fastnn.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 40.0]
    x.backward(fastnn.tensor([1.0, 1.0]))       # of a leaf itself
    assert x.grad.tolist() == [3.0, 41.0]


# ---------------------------------------------------------------- what is refused

def test_non_scalar_backward_and_bad_gradients():
    x = leaf(1.0, 2.0)
    y = x * x
    with pytest.raises(GraphError, match="scalar"):
        y.backward()
    with pytest.raises(ShapeError):
        y.backward(fastnn.ones(3))
    with pytest.raises(DTypeError):
        y.backward(fastnn.tensor([1, 2]))
    with pytest.raises(GraphError, match="double backward"):
        y.sum().backward(create_graph=True)
    with pytest.raises(GraphError, match="does not require grad"):
        fastnn.ones(1).backward()
    assert x.grad is None
    y.backward(fastnn.ones(2))                  # the graph is as good as before
    assert x.grad.tolist() == [2.0, 4.0]


def test_saved_tensor_changed_in_place():
    x, scale = leaf(1.0, 2.0), fastnn.tensor([3.0, 4.0])
    y = (x * scale).sum()
    scale.add_(1.0)
    with pytest.raises(GraphError, match="in-place change"):
        y.backward()
    assert x.grad is None


def test_a_change_of_what_backward_does_not_read_is_fine():
    x = leaf(1.0, 2.0)
    y = x + 1
    z = y.sum()
    with fastnn.no_grad():
        y.add_(5.0)
    z.backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_in_place_on_a_leaf():
    x = leaf(1.0)
    with pytest.raises(GraphError, match="leaf"):
        x += 1
    with pytest.raises(GraphError, match="leaf"):
        x.add_(1.0)
    with fastnn.no_grad():
        x += 1
    assert x.item() == 2 and x.requires_grad and x.is_leaf


def test_grad_attribute_is_checked():
    x = leaf(1.0, 2.0)
    with pytest.raises(ShapeError):
        x.grad = fastnn.ones(3)
    with pytest.raises(TypeError):
        x.grad = [1.0, 2.0]
    x.grad = fastnn.ones(2)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_requires_grad_is_for_float32_leaves():
    with pytest.raises(DTypeError):
        fastnn.tensor([1]).requires_grad_()
    with pytest.raises(GraphError, match="detach"):
        (leaf(1.0) * 2).requires_grad_(False)


def test_memory_error_in_backward_leaves_the_graph_usable():
    x = leaf(*np.arange(1.0, 101.0))
    y = (fastnn.exp(x * 0.01) * x).sum()
    fastnn._core.fail_alloc_after(2)
    try:
        with pytest.raises(MemoryError):
            y.backward()
    finally:
        fastnn._core.fail_alloc_after(0)
    assert x.grad is None
    y.backward()
    v = np.arange(1, 101)
    np.testing.assert_allclose(x.grad.numpy(), np.exp(v * 0.01) * (1 + v * 0.01), rtol=1e-5)


# ---------------------------------------------------------------- autograd.grad

def test_grad_returns_and_leaves_everything_alone():
    x, w, unused = leaf(2.0), leaf(3.0), leaf(1.0)
    x.grad = fastnn.ones(1)
    y = x * x * w
    (gx,) = fastnn.autograd.grad(y, x, retain_graph=True)
    assert gx.item() == 12 and x.grad.item() == 1 and w.grad is None
    both = fastnn.autograd.grad([y, w * 5], [x, w], retain_graph=True)
    assert [g.item() for g in both] == [12, 9]
    assert fastnn.autograd.grad(y, [unused, x], allow_unused=True, retain_graph=True)[0] is None
    with pytest.raises(GraphError, match="no output depends"):
        fastnn.autograd.grad(y, unused)
    with pytest.raises(GraphError, match="computed"):
        fastnn.autograd.grad(y, y)
    with pytest.raises(GraphError, match="double backward"):
        fastnn.autograd.grad(y, x, create_graph=True)
    assert fastnn.autograd.grad(x, x)[0].item() == 1


# ---------------------------------------------------------------- depth

def test_a_graph_of_100000_operations_on_a_small_stack():
    """Forward, backward and deletion in a thread with 256 KiB of C stack."""
    script = textwrap.dedent("""
        import gc, threading, fastnn
        def work(delete_only):
            x = fastnn.ones(4, requires_grad=True)
            y = x
            for _ in range(100_000):
                y = y + 1.0
            if not delete_only:
                y.sum().backward()
                assert x.grad.tolist() == [1.0] * 4 and y.tolist() == [100_001.0] * 4
            del y
            gc.collect()
        threading.stack_size(256 * 1024)
        for delete_only in (False, True):
            t = threading.Thread(target=work, args=(delete_only,))
            t.start()
            t.join()
        print("done")
    """)
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert out.returncode == 0 and out.stdout == "done\n", out.stderr


def test_graphs_free_their_memory():
    def step():
        x = fastnn.ones(1000, requires_grad=True)
        y = x
        for _ in range(10):
            y = y * 1.5
        y.sum().backward()

    step()
    gc.collect()
    before = fastnn.live_bytes()
    for _ in range(5):
        step()
    assert fastnn.live_bytes() == before


def test_backward_frees_what_it_saved():
    x = fastnn.ones(1000, requires_grad=True)
    y = x * x
    loss = (y * y).sum()
    held = fastnn.live_bytes()
    del y
    loss.backward()
    assert fastnn.live_bytes() < held + x.grad.nbytes


# ---------------------------------------------------------------- modes

def test_no_grad_in_all_its_forms():
    x = leaf(1.0)

    @fastnn.no_grad()
    def a():
        return x * 2

    @fastnn.no_grad
    def b():
        return x * 2

    @fastnn.enable_grad()
    def c():
        return x * 2

    assert not a().requires_grad and not b().requires_grad and a.__name__ == "a"
    with fastnn.no_grad():
        assert not (x * 2).requires_grad and c().requires_grad
        with fastnn.enable_grad():
            assert (x * 2).requires_grad
        assert not fastnn.is_grad_enabled()
    with fastnn.inference_mode():
        assert not (x * 2).requires_grad
        with fastnn.inference_mode(False):
            assert (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_set_grad_enabled():
    with fastnn.set_grad_enabled(False):
        assert not fastnn.is_grad_enabled()
    assert fastnn.is_grad_enabled()
    fastnn.set_grad_enabled(False)
    assert not fastnn.is_grad_enabled()
    fastnn.set_grad_enabled(True)

    @fastnn.set_grad_enabled(False)
    def f():
        return fastnn.is_grad_enabled()

    assert fastnn.is_grad_enabled() and not f() and fastnn.is_grad_enabled()


def test_modes_end_when_errors_leave_them():
    @fastnn.no_grad()
    def fail():
        raise KeyError

    for call in (fail, lambda: fastnn.no_grad().__enter__()):
        try:
            call()
        except KeyError:
            assert fastnn.is_grad_enabled()
    fastnn.set_grad_enabled(True)
    with pytest.raises(ZeroDivisionError), fastnn.no_grad():
        1 / 0  # noqa: B018
    assert fastnn.is_grad_enabled()


def test_one_mode_object_entered_twice_and_recursion():
    off = fastnn.no_grad()
    with off, off:
        assert not fastnn.is_grad_enabled()
    assert fastnn.is_grad_enabled()

    @fastnn.no_grad()
    def down(n):
        return down(n - 1) if n else fastnn.is_grad_enabled()

    assert not down(5) and fastnn.is_grad_enabled()


def test_generators_are_refused_as_they_would_leak_the_mode():
    with pytest.raises(TypeError, match="generator"):
        @fastnn.no_grad()
        def g():
            yield 1


def test_detach_leaves_the_graph_and_shares_memory():
    x = leaf(1.0, 2.0)
    y = (x * 2).detach()
    assert not y.requires_grad and y.is_leaf
    (x * y).sum().backward()
    assert x.grad.tolist() == y.tolist()
    x.detach().numpy()[0] = 9
    assert x.tolist() == [9.0, 2.0]


def test_each_thread_has_its_own_mode():
    inside, done, seen = threading.Event(), threading.Event(), {}

    def other():
        inside.wait(10)
        seen["fresh"] = fastnn.is_grad_enabled()
        with fastnn.no_grad():
            seen["own"] = fastnn.is_grad_enabled()
        done.set()

    t = threading.Thread(target=other)
    t.start()
    with fastnn.no_grad():
        inside.set()
        assert done.wait(10)
        assert not fastnn.is_grad_enabled()
    t.join()
    assert seen == {"fresh": True, "own": False} and fastnn.is_grad_enabled()


def test_one_decorated_function_in_many_threads():
    @fastnn.no_grad()
    def work():
        return fastnn.is_grad_enabled()

    def run(_):
        return any(work() or not fastnn.is_grad_enabled() for _ in range(500))

    assert not any(together(4, run))


def test_a_graph_that_reads_nothing_runs_again():
    """As in torch: only what backward has let go of is missing."""
    x = fastnn.tensor([1.0, 2.0], requires_grad=True)
    y = (x + 1.0).reshape(2, 1).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2, 2]
    z = (x * x).sum()
    z.backward()
    with pytest.raises(GraphError, match="retain_graph"):
        z.backward()
    assert x.grad.tolist() == [4, 6]


def test_a_saved_slope_becomes_the_gradient_only_where_nobody_else_reads_it():
    x = fastnn.randn(20, 30, requires_grad=True)
    t = fastnn.randint(0, 30, (20,))
    fastnn.nn.functional.cross_entropy(x * 1.0, t).backward()
    once = x.grad.numpy().copy()
    x.grad = None
    loss = fastnn.nn.functional.cross_entropy(x * 1.0, t)
    for times in (1, 2, 3):                     # the graph is kept: the slope must survive
        loss.backward(retain_graph=True)
        np.testing.assert_allclose(x.grad.numpy(), times * once, rtol=1e-6, atol=1e-9)
    x.grad = None
    h = x * 1.0
    both = fastnn.nn.functional.cross_entropy(h, t) + 2.0 * fastnn.nn.functional.cross_entropy(h, t)
    both.backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 * once, rtol=1e-6, atol=1e-9)
    x.grad = None
    for times in (1, 2):                        # a leaf takes the memory over, then adds to it
        fastnn.nn.functional.cross_entropy(x, t).backward()
        np.testing.assert_allclose(x.grad.numpy(), times * once, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("backend", ["c", "numpy", "anomaly"])
def test_retain_grad_fills_grad_of_computed_tensors(backend):
    _core.use_reference(reference.table(list(_core.OPS)) if backend == "numpy" else None)
    old = _core.set_detect_anomaly(backend == "anomaly")
    try:
        x = fastnn.tensor([1.0, 2.0], requires_grad=True)
        y = x * x
        z = y.exp()
        before = z + 1.0                # an op that used z before it was asked for
        for t in (y, z, x):
            t.retain_grad()
        loss = (z * 3.0 + before).sum()
        loss.retain_grad()
        loss.backward(retain_graph=True)
        e = np.exp([1.0, 4.0])
        assert y.retains_grad and z.retains_grad and not x.retains_grad and loss.grad.item() == 1
        np.testing.assert_allclose(z.grad.numpy(), [4, 4])
        np.testing.assert_allclose(y.grad.numpy(), 4 * e, rtol=1e-5)
        np.testing.assert_allclose(x.grad.numpy(), 8 * e * [1, 2], rtol=1e-5)
        z.grad = None
        loss.backward()                 # accumulates, as for leaves
        np.testing.assert_allclose(z.grad.numpy(), [4, 4])
        np.testing.assert_allclose(y.grad.numpy(), 8 * e, rtol=1e-5)
    finally:
        _core.set_detect_anomaly(old)
        _core.use_reference(reference.table(list(_core.OPS)) if NUMPY_RUN else None)


def test_retain_grad_does_not_keep_tensors_alive():
    x = fastnn.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    y.retain_grad()
    gone = weakref.ref(y)
    z = y.sum()
    del y
    assert gone() is None
    z.backward()
    assert x.grad.tolist() == [2, 4]
    with pytest.raises(GraphError, match="retain_grad"):
        x.detach().retain_grad()
    assert fastnn.autograd.grad((x * 2.0).sum(), x)[0].tolist() == [2, 2]


LONG = (70, 100)                        # elements: more than backward copies without asking


@pytest.mark.parametrize("f", [fastnn.tanh, fastnn.neg, lambda x: x * x[:, :1], lambda x: x.sum(0),
                               lambda x: nn.functional.linear(x, fastnn.ones(100, 100)).relu()])
def test_backward_leaves_the_given_gradient_alone(f):
    """A long one is read where it lies: not even a kernel that uses it as scratch may change it."""
    x = fastnn.rand(*LONG, requires_grad=True)
    y = f(x)
    g = fastnn.randn(*y.shape)
    kept = g.numpy().copy()
    y.backward(g)
    np.testing.assert_array_equal(g.numpy(), kept)
    again = fastnn.tensor(x.tolist(), requires_grad=True)
    f(again).backward(fastnn.tensor(kept.reshape(y.shape)))
    np.testing.assert_array_equal(x.grad.numpy(), again.grad.numpy())


def test_a_gradient_that_is_also_accumulated_into():
    """y.backward(x.grad): what is added to x.grad must not be read as the incoming gradient."""
    w = fastnn.randn(100, 100)
    x = fastnn.zeros(*LONG, requires_grad=True)
    first = fastnn.randn(*LONG)
    (x * first).sum().backward()
    (x @ w).backward(x.grad)
    expected = first.numpy() + first.numpy() @ w.numpy().T
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-4, atol=1e-4)
    y = fastnn.zeros(*LONG, requires_grad=True)
    (y * first).sum().backward()
    (y @ w).backward(y.grad.numpy())
    np.testing.assert_allclose(y.grad.numpy(), expected, rtol=1e-4, atol=1e-4)
