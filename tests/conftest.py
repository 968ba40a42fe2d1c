"""Test configuration: every test starts from the same seed, threads and grad mode."""

import os

import numpy as np
import pytest

import fastnn
from fastnn import _core

BACKEND = os.environ.get("FASTNN_BACKEND", "c")


@pytest.fixture(autouse=True)
def fresh_state():
    """Leave nothing behind: seed, thread count, grad mode and ISA are as before."""
    threads, isa = fastnn.get_num_threads(), _core.isa()
    fastnn.manual_seed(0)
    _core.set_grad_enabled(True)
    yield
    fastnn.set_num_threads(threads)
    _core.select_isa(isa)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def pytest_report_header():
    return (f"fastnn: backend {BACKEND}, ISA {_core.isa()} of {', '.join(_core.isa_names())}, "
            f"{fastnn.get_num_threads()} threads")
