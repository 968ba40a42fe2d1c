"""What every case must satisfy; see tests/cases/__init__.py.

Kernels and references are called directly on the records that the public function launched, so a
kernel is compared with float64 NumPy whichever backend runs the suite.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from cases import Case, all_cases
from cases.harness import Launch, assert_close, launches, same_bits

from fastnn import _core

CASES = all_cases()
FMA_ISAS = {"avx2", "avx512", "neon"}
TEAMS = (2, 3, 7)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_forward(case: Case) -> None:
    """Kernel = reference on every ISA; bits equal for 1, 2, 3, 7 threads and across FMA ISAs."""
    for launch in launches(case):
        ins = launch.wide()
        expected = launch.reference(ins)
        fused = None
        for isa in _core.isa_names():
            _core.select_isa(isa)
            outs, changed = launch.kernel(1)
            for j, (y, r) in enumerate(zip(outs, expected, strict=True)):
                assert_close(case, y, r, f"{isa}: output {j}")
            for j, (a, r) in enumerate(zip(changed, ins, strict=True)):
                if launch.info["writes"] >> j & 1:
                    assert_close(case, a, r, f"{isa}: input {j} after the call")
                else:
                    assert same_bits(a, launch.ins[j]), f"{isa}: input {j} was changed"
            for threads in TEAMS:
                for y, again in zip(outs, launch.kernel(threads)[0], strict=True):
                    assert same_bits(y, again), f"{isa}: bits differ with {threads} threads"
            if isa in FMA_ISAS:
                fused = fused or outs
                for y, again in zip(fused, outs, strict=True):
                    assert same_bits(y, again), f"{isa}: bits differ from another FMA ISA"


DIFFERENTIABLE = [c for c in CASES if c.grad and _core.op_info(c.op)["diff"]]


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=lambda c: c.id)
def test_backward(case: Case) -> None:
    """Gradient kernel = reference for each mask of wanted gradients, stored and accumulated."""
    rng = np.random.default_rng(8)
    for launch in launches(case):
        ins = launch.wide()
        outs = launch.reference([a.copy() for a in ins])
        gouts = launch.output_gradients(rng)
        wide = [None if g is None else g.astype(np.float64) for g in gouts]
        inputs = launch.differentiable()
        for mask in product((False, True), repeat=len(inputs)):
            if not any(mask):
                continue
            want = [False] * len(ins)
            for j, m in zip(inputs, mask, strict=True):
                want[j] = m
            copies = [None if g is None else g.copy() for g in wide]
            expected = launch.reference_grad(ins, outs, copies, want)
            base = [rng.standard_normal(a.shape).astype(np.float32) for a in launch.ins]
            check_gradients(case, launch, gouts, want, expected, base)


def check_gradients(case, launch, gouts, want, expected, base) -> None:
    """Every ISA, thread count, and both storing and accumulating."""
    fused = None
    for isa in _core.isa_names():
        _core.select_isa(isa)
        outs = launch.kernel(1)[0]
        stored = launch.kernel_grad(outs, gouts, want, [None] * len(want), 1)
        added = launch.kernel_grad(outs, gouts, want, base, 1)
        for j, w in enumerate(want):
            if w:
                assert_close(case, stored[j], expected[j], f"{isa}: gradient {j}")
                assert_close(case, added[j], base[j].astype(np.float64) + expected[j],
                             f"{isa}: accumulated gradient {j}")
        for threads in TEAMS:
            again = launch.kernel_grad(outs, gouts, want, [None] * len(want), threads)
            for a, b in zip(stored, again, strict=True):
                assert a is None or same_bits(a, b), f"{isa}: bits differ with {threads} threads"
        if isa in FMA_ISAS:
            fused = fused or stored
            for a, b in zip(fused, stored, strict=True):
                assert a is None or same_bits(a, b), f"{isa}: bits differ from another FMA ISA"


SMOOTH = [c for c in DIFFERENTIABLE if c.differences and not c.big]


@pytest.mark.parametrize("case", SMOOTH, ids=lambda c: c.id)
def test_reference_gradient(case: Case) -> None:
    """The float64 reference gradient agrees with five-point finite differences."""
    for launch in launches(case):
        check_differences(launch, launch.reference_grad)


def check_differences(launch: Launch, gradient: Any) -> None:
    rng = np.random.default_rng(9)
    ins = launch.wide()
    outs = launch.reference([a.copy() for a in ins])
    gouts = [None if g is None else g.astype(np.float64) for g in launch.output_gradients(rng)]
    inputs = launch.differentiable()
    want = [j in inputs for j in range(len(ins))]
    grads = gradient(ins, outs, [None if g is None else g.copy() for g in gouts], want)

    def objective() -> float:
        results = launch.reference([a.copy() for a in ins])
        pairs = zip(gouts, results, strict=True)
        return sum(float((g * y).sum()) for g, y in pairs if g is not None)

    h = 1e-3
    for j in inputs:
        numeric = np.zeros_like(ins[j])
        flat, out = ins[j].reshape(-1), numeric.reshape(-1)
        for i in range(flat.size):
            x, values = flat[i], []
            for step in (-2, -1, 1, 2):
                flat[i] = x + step * h
                values.append(objective())
            flat[i] = x
            out[i] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        np.testing.assert_allclose(grads[j], numeric, rtol=1e-6, atol=1e-8,
                                   err_msg=f"{launch.op}: gradient {j}")


def test_the_checker_catches_a_wrong_gradient() -> None:
    """A planted fault: one gradient off by one part in ten thousand must be found."""
    launch = launches(next(c for c in SMOOTH if c.op == "linear"))[0]

    def wrong(*args):
        grads = launch.reference_grad(*args)
        grads[1] = grads[1] * 1.0001
        return grads

    check_differences(launch, launch.reference_grad)
    with pytest.raises(AssertionError):
        check_differences(launch, wrong)
