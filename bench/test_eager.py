"""What one eager op costs: tensors of 4×4, so Python and C overhead and nothing else.

    python -m pytest bench
"""

from __future__ import annotations

import pytest

import fastnn

pytest.importorskip("pytest_benchmark", reason="timing needs pytest-benchmark")

F = fastnn.nn.functional
A, B, ROW = fastnn.randn(4, 4), fastnn.randn(4, 4), fastnn.randn(4)
W = fastnn.randn(4, 4, requires_grad=True)

OPS = {
    "nothing": lambda: None,        # what the timer itself costs: subtract it from the others
    "add": lambda: A + B,
    "add-row": lambda: A + ROW,
    "mul-number": lambda: A * 2.0,
    "less": lambda: A < B,
    "exp": lambda: A.exp(),
    "relu": lambda: F.relu(A),
    "sum": lambda: A.sum(),
    "softmax": lambda: F.softmax(A, 1),
    "reshape": lambda: A.reshape(16),
    "matmul": lambda: A @ B,
    "linear": lambda: F.linear(A, B, ROW),
    "add-recorded": lambda: W + B,
    "linear-forward-backward": lambda: F.linear(A, W).sum().backward(),
}


@pytest.mark.parametrize("name", list(OPS))
def test_eager(benchmark, name):
    benchmark(OPS[name])
