"""One row of the catalogue of bad inputs, and what must be true of every row."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastnn
from fastnn import _core, nn, reference

F = nn.functional
REFERENCE = reference.table(list(_core.OPS))
NUMPY_RUN = _core.backend_is_numpy()


def f(*shape: int) -> fastnn.Tensor:
    """A float32 tensor that depends on its shape only."""
    rng = np.random.default_rng(sum(shape))
    return fastnn.tensor(rng.standard_normal(shape).astype(np.float32))


def i(*values: int) -> fastnn.Tensor:
    return fastnn.tensor(np.array(values, np.int64))


def leaf(*shape: int) -> fastnn.Tensor:
    return f(*shape).requires_grad_()


class Bad(NamedTuple):
    name: str
    call: Callable[[], Any]
    error: type[BaseException] | tuple[type[BaseException], ...]
    text: str = ""            # a regular expression the message must contain


def outcome(call: Callable[[], Any]) -> BaseException:
    """What the call raised."""
    try:
        result = call()
    except Exception as e:
        return e
    pytest.fail(f"no error; got {result!r}")


def observed() -> tuple[bytes, bytes]:
    """The random state, and the bits of a valid call."""
    return (fastnn.get_rng_state().numpy().tobytes(),
            F.linear(f(3, 4), f(5, 4), f(5)).numpy().tobytes())


def check(bad: Bad) -> None:
    """The named error, the same one from C and from NumPy; nothing has changed."""
    before = observed()
    errors = []
    for table in (None, REFERENCE):
        _core.use_reference(table)
        try:
            errors.append(outcome(bad.call))
        finally:
            _core.use_reference(REFERENCE if NUMPY_RUN else None)
    assert isinstance(errors[0], bad.error), repr(errors[0])
    assert re.search(bad.text, str(errors[0])), str(errors[0])
    assert type(errors[0]) is type(errors[1]) and str(errors[0]) == str(errors[1])
    assert observed() == before
