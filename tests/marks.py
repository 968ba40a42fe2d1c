"""Marks that several files of tests share."""

from __future__ import annotations

import pytest

from fastnn import _core

in_c = pytest.mark.skipif(
    _core.backend_is_numpy(), reason="networks of images train for minutes in NumPy; "
                                     "tests/test_cases.py compares the twins of their ops")
