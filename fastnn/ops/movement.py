"""Ops that move elements without computing."""

from __future__ import annotations

from typing import Any

from .._core import Tensor


def expand(input: Any, *shape: Any) -> Tensor:
    raise AssertionError
