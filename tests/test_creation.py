"""Tensors from a size or a rule."""

import numpy as np
import pytest

import fastnn
from fastnn.errors import DTypeError, ShapeError


@pytest.mark.parametrize(("made", "array"), [
    (lambda: fastnn.zeros(2, 3), np.zeros((2, 3), np.float32)),
    (lambda: fastnn.zeros((2, 3), dtype=fastnn.bool), np.zeros((2, 3), bool)),
    (lambda: fastnn.zeros([]), np.zeros((), np.float32)),
    (lambda: fastnn.ones(0, 3), np.ones((0, 3), np.float32)),
    (lambda: fastnn.full((2,), 2.5), np.full(2, 2.5, np.float32)),
    (lambda: fastnn.full(3, True), np.full(3, True)),
    (lambda: fastnn.full((2, 1), 7), np.full((2, 1), 7, np.int64)),
    (lambda: fastnn.arange(5), np.arange(5, dtype=np.int64)),
    (lambda: fastnn.arange(5, 2, -2), np.arange(5, 2, -2, dtype=np.int64)),
    (lambda: fastnn.arange(0, 1, 0.25), np.arange(0, 1, 0.25, dtype=np.float32)),
    (lambda: fastnn.arange(3.0), np.arange(3, dtype=np.float32)),
    (lambda: fastnn.linspace(-1, 1, 7), np.linspace(-1, 1, 7).astype(np.float32)),
    (lambda: fastnn.eye(2, 3), np.eye(2, 3, dtype=np.float32)),
    (lambda: fastnn.eye(4, 2, dtype=fastnn.int64), np.eye(4, 2, dtype=np.int64)),
    (lambda: fastnn.eye(0), np.eye(0, dtype=np.float32)),
    (lambda: fastnn.arange(2**53, 2**53 + 3), np.arange(2**53, 2**53 + 3)),
    (lambda: fastnn.arange(fastnn.tensor(3)), np.arange(3)),
    (lambda: fastnn.ones_like(fastnn.arange(3)), np.ones(3, np.int64)),
    (lambda: fastnn.zeros_like(fastnn.arange(3), dtype=fastnn.float32), np.zeros(3, np.float32)),
    (lambda: fastnn.full_like(fastnn.ones(2), 3), np.full(2, 3, np.float32)),
    (lambda: fastnn.arange(3).new_zeros(2, 2), np.zeros((2, 2), np.int64)),
    (lambda: fastnn.ones(1).new_full((2,), 4), np.full(2, 4, np.float32)),
    (lambda: fastnn.arange(2).new_tensor([1.0, 2.0]), np.array([1, 2])),
])
def test_like_numpy(made, array):
    t = made()
    assert t.dtype.numpy == array.dtype and t.shape == array.shape
    np.testing.assert_array_equal(t.numpy(), array)


def test_options():
    assert fastnn.zeros(2, requires_grad=True).requires_grad
    assert fastnn.empty(2, 3, device="cpu").shape == (2, 3)
    assert fastnn.empty_like(fastnn.ones(2), requires_grad=True).requires_grad


@pytest.mark.parametrize(("made", "error"), [
    (lambda: fastnn.zeros(-1), ShapeError),
    (lambda: fastnn.zeros(2.5), TypeError),
    (lambda: fastnn.ones(2**62, 4), ShapeError),
    (lambda: fastnn.zeros(2, device="cuda"), DTypeError),
    (lambda: fastnn.zeros(2, dtype="complex64"), DTypeError),
    (lambda: fastnn.zeros(2, dtype=fastnn.int64, requires_grad=True), DTypeError),
    (lambda: fastnn.arange(0, 5, 0), ShapeError),
    (lambda: fastnn.arange(0, 5, -1), ShapeError),
    (lambda: fastnn.linspace(0, 1, -1), ShapeError),
    (lambda: fastnn.eye(-2), ShapeError),
])
def test_refused(made, error):
    with pytest.raises(error):
        made()
