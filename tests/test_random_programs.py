"""Random training programs: eager, replayed, and on the NumPy backend.

    FASTNN_PROGRAMS=10000 python -m pytest tests/test_random_programs.py      # a long campaign
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases.harness import same_bits
from hypothesis import HealthCheck, Phase, given, settings
from programs import Program, Run, programs

import fastnn
from fastnn import _core, reference

pytestmark = pytest.mark.skipif(_core.backend_is_numpy(), reason="compares C with NumPy itself")

CAMPAIGN = int(os.environ.get("FASTNN_PROGRAMS", "0"))
STEPS = 50
NUMPY_STEPS = 3
ROUNDING = 2.0**-24
REFERENCE = reference.table(list(_core.OPS))

drawn = settings(max_examples=CAMPAIGN or 60, derandomize=not CAMPAIGN, deadline=None,
                 database=None, suppress_health_check=list(HealthCheck))


def differences(program: Program) -> list[str]:
    """What of all that can be seen is not the same bits in a replay."""
    expected = Run(program).train(STEPS)
    seen = Run(program).train(STEPS, compiled=True)
    assert len(seen) == len(expected)
    return [f"{i}: {a} for {b}" for i, (a, b) in enumerate(zip(seen, expected, strict=True))
            if not same_bits(a, b)]


def beyond_rounding(program: Program, table: Any = REFERENCE) -> list[str]:
    """Where C and NumPy differ by more than the rounding errors of as many operations.

    Each error is passed on like one of the inputs. What one rounding in every input and parameter
    does to a result is measured, by runs that begin with it; an operation in the middle adds one
    of its own. Programs with kinks have no such bound, nor training that diverges.
    """
    if not program.smooth:
        return []
    got = Run(program).train(NUMPY_STEPS)
    if not all(np.isfinite(a).all() for a in got):
        return []
    shaken = [Run(program, noise=4 * ROUNDING).train(NUMPY_STEPS) for _ in range(3)]
    _core.use_reference(table)
    try:
        expected = Run(program).train(NUMPY_STEPS)
    finally:
        _core.use_reference(None)
    operations = NUMPY_STEPS * program.passes * (len(program.body) + 10)
    found = []
    for i, (a, e) in enumerate(zip(got, expected, strict=True)):
        assert a.shape == e.shape and a.dtype == e.dtype
        if a.dtype != np.float32:
            error, bound = float(not same_bits(a, e)), 0.0
        elif a.size:
            passed_on = max(np.abs(s[i].astype(np.float64) - a).max() for s in shaken)
            error = np.abs(a.astype(np.float64) - e).max()
            bound = operations * (passed_on + ROUNDING * max(1.0, np.abs(a).max()))
        else:
            continue
        if not error <= bound:
            found.append(f"{i}: {error} beyond {bound}")
    return found


@drawn
@given(programs())
def test_replay_has_the_bits_of_eager(program: Program) -> None:
    """At 1, 2 and 3 threads; sometimes with teams for the least work, or dead memory poisoned."""
    fastnn.set_num_threads(1 + program.seed % 3)
    _core.always_team(program.seed % 16 == 0)
    _core.poison_dead_memory(program.seed % 5 == 0)
    try:
        assert not differences(program)
    finally:
        _core.poison_dead_memory(False)
        _core.always_team(False)


@drawn
@given(programs())
def test_numpy_agrees(program: Program) -> None:
    assert not beyond_rounding(program)


class Found(Exception):
    """A program that shows a difference."""


def is_found(find: Callable[[Program], list[str]]) -> bool:
    """Whether one of 300 fixed programs shows a difference."""
    @settings(drawn, max_examples=300, derandomize=True, phases=[Phase.generate])
    @given(programs())
    def look(program: Program) -> None:
        if find(program):
            raise Found

    try:
        look()
    except Found:
        return True
    return False


@pytest.mark.parametrize("fault", [1, 2])
def test_a_planner_fault_is_found(fault: int) -> None:
    _core.plant_planner_fault(fault)
    try:
        # Only smooth ones: a wrong number as an index would end the process.
        assert is_found(lambda p: differences(p) if p.smooth else [])
    finally:
        _core.plant_planner_fault(0)


@pytest.mark.parametrize("op", ["linear", "conv2d", "conv_transpose2d", "batch_norm",
                                "batch_norm_eval", "group_norm", "interpolate", "avg_pool2d"])
def test_a_slightly_wrong_gradient_is_found(op: str) -> None:
    """One that is off by a thousandth, in one op."""
    forward, backward = REFERENCE[op]

    def wrong(*args: Any) -> Any:
        return [None if g is None else g * 1.001 for g in backward(*args)]

    assert is_found(lambda p: beyond_rounding(p, REFERENCE | {op: (forward, wrong)}))
