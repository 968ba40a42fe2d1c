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

import fastnn
from fastnn import _core, reference

CASES = all_cases()
TABLE = reference.table(list(_core.OPS))
FMA_ISAS = {"avx2", "avx512", "neon"}


class Launch:
    """One captured record with copies of its operands."""

    def __init__(self, op: str, inputs: Any, outputs: Any, saved: int, dim: Any, f: Any) -> None:
        self.op, self.saved, self.dim, self.f = op, saved, dim, f
        self.ins = [np.array(t.detach().numpy()) for t in inputs]
        self.outs = [np.array(t.detach().numpy()) for t in outputs]
        self.info = _core.op_info(op)
        self.forward, self.backward = TABLE[op]

    def wide(self) -> list[np.ndarray]:
        """Copies of the inputs in float64."""
        return [a.astype(np.float64) if a.dtype == np.float32 else a.copy() for a in self.ins]

    def reference(self, ins: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        with np.errstate(all="ignore"):
            return tuple(np.asarray(y) for y in self.forward(ins, self.dim, self.f))

    def reference_grad(self, ins, outs, gouts, want) -> list[Any]:
        with np.errstate(all="ignore"):
            return self.backward(self.hide(ins, 0), self.hide(outs, len(ins)), gouts, want,
                                 self.dim, self.f)

    def hide(self, arrays, first: int) -> list[Any]:
        """The slots backward says it needs; the others are None, as in the engine."""
        return [a if self.info["needs"] >> (first + j) & 1 else None for j, a in enumerate(arrays)]

    def kernel(self, threads: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """(outputs, inputs after the call)."""
        ins = [a.copy() for a in self.ins]
        outs = [garbage(y) for y in self.outs]
        _core.unchecked_launch(_core.OPS[self.op], ins + outs, None, len(ins), self.dim, self.f,
                               threads=threads)
        return outs, ins

    def kernel_grad(self, outs, gouts, want, start, threads: int) -> list[Any]:
        """Input gradients; start holds what accumulation begins from, None = store."""
        grads = [None if not w else garbage(a) if s is None else s.copy()
                 for a, w, s in zip(self.ins, want, start, strict=True)]
        acc = sum(1 << j for j, s in enumerate(start) if s is not None and want[j])
        slots = self.hide(self.ins, 0) + self.hide(outs, len(self.ins))
        _core.unchecked_launch(
            _core.OPS[self.op], slots, grads + [None if g is None else g.copy() for g in gouts],
            len(self.ins), self.dim, self.f, acc=acc, backward=True, threads=threads)
        return grads

    def output_gradients(self, rng) -> list[Any]:
        """Random gradients for the outputs that carry one."""
        visible = len(self.outs) - self.saved
        return [rng.standard_normal(y.shape).astype(np.float32)
                if y.dtype == np.float32 and j < visible else None
                for j, y in enumerate(self.outs)]

    def differentiable(self) -> list[int]:
        return [j for j, a in enumerate(self.ins)
                if a.dtype == np.float32 and self.info["diff"] >> j & 1]


def garbage(like: np.ndarray) -> np.ndarray:
    """Memory that a kernel must overwrite: NaN, or an absurd integer."""
    out = np.empty_like(like)
    out.view(np.uint8 if out.ndim else out.dtype)[...] = 0xFF if out.ndim else (
        np.nan if out.dtype == np.float32 else 1)
    return out


def launches(case: Case) -> list[Launch]:
    """The records of the case's op that its function launches."""
    rng = np.random.default_rng(7)
    tensors = [fastnn.tensor(a, dtype=a.dtype) for a in case.inputs(rng)]
    if case.grad:
        for t in tensors:
            if t.dtype is fastnn.float32:
                t.requires_grad_()
    _core.capture(True)
    try:
        case.fn(*tensors)
    finally:
        records = _core.capture(False)
    found = [Launch(*r) for r in records if r[0] == case.op]
    assert found, f"{case.id} launched {[r[0] for r in records]}"
    return found


def assert_close(case: Case, got: np.ndarray, want: np.ndarray, what: str) -> None:
    want = np.asarray(want)
    assert got.shape == want.shape, what
    if got.dtype != np.float32 or case.exact:
        np.testing.assert_array_equal(got, want.astype(got.dtype), err_msg=what)
        return
    finite = np.abs(want[np.isfinite(want)])
    scale = finite.max() if finite.size else 1.0
    with np.errstate(over="ignore"):
        want = want.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=case.rtol,
                               atol=case.atol * max(scale, 1e-30), err_msg=what)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.tobytes() == b.tobytes()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_forward(case: Case) -> None:
    """Kernel = reference on every ISA; bits equal for 1, 2, 3 threads and across FMA ISAs."""
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
            for threads in (2, 3):
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
            expected = launch.reference_grad(ins, outs, [None if g is None else g.copy() for g in wide],
                                             want)
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
        for threads in (2, 3):
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
        return sum(float((g * y).sum()) for g, y in zip(gouts, results, strict=True) if g is not None)

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
