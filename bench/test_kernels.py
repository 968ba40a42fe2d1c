"""The rows of the kernel table, fastnn alone, under pytest-benchmark.

    python -m pytest bench -k "matmul or gelu"
"""

from __future__ import annotations

import pytest

import fastnn

from .peers import OURS, load
from .rows import select

pytest.importorskip("pytest_benchmark", reason="timing needs pytest-benchmark")

LIBRARY = load(OURS, fastnn.get_num_threads())


@pytest.mark.parametrize("row", select(["kernels"]), ids=lambda row: row.id)
def test_kernel(benchmark, row):
    benchmark.extra_info |= {"flops": row.flops, "bytes": row.bytes}
    job = LIBRARY.build(row)
    with job.context:
        benchmark(job.run)
