"""One captured record, run through its kernel and through its reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import fastnn
from fastnn import _core, reference

from . import Case

TABLE = reference.table(list(_core.OPS))
place: Callable[[np.ndarray], np.ndarray] = np.copy      # where kernels find an operand: guard.py


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
            results = self.forward(ins, self.dim, self.f)
        return tuple(np.reshape(y, o.shape) for y, o in zip(results, self.outs, strict=True))

    def reference_grad(self, ins, outs, gouts, want) -> list[Any]:
        with np.errstate(all="ignore"):
            grads = self.backward(self.hide(ins, 0, want), self.hide(outs, len(ins), want), gouts,
                                  want,
                                  self.dim, self.f)
        return [None if g is None else np.reshape(g, a.shape)
                for g, a in zip(grads, self.ins, strict=True)]

    def hide(self, arrays, first: int, want) -> list[Any]:
        """The slots that the wanted gradients need; the others are None, as in the engine."""
        needs = _core.op_info(self.op, sum(1 << j for j, w in enumerate(want) if w))["needs"]
        return [a if needs >> (first + j) & 1 else None for j, a in enumerate(arrays)]

    def kernel(self, threads: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """(outputs, inputs after the call)."""
        ins = [place(a) for a in self.ins]
        outs = [place(garbage(y)) for y in self.outs]
        with on_a_team():
            _core.unchecked_launch(_core.OPS[self.op], ins + outs, None, len(ins), self.dim, self.f,
                                   threads=threads)
        return outs, ins

    def kernel_grad(self, outs, gouts, want, start, threads: int) -> list[Any]:
        """Input gradients; start holds what accumulation begins from, None = store."""
        grads = [None if not w else garbage(a.astype(np.float32)) if s is None else s.copy()
                 for a, w, s in zip(self.ins, want, start, strict=True)]
        acc = sum(1 << j for j, s in enumerate(start) if s is not None and want[j])
        slots = [None if a is None else place(a)
                 for a in self.hide(self.ins, 0, want) + self.hide(outs, len(self.ins), want)]
        given = [None if g is None else place(g) for g in gouts]
        with on_a_team():
            _core.unchecked_launch(
                _core.OPS[self.op], slots, grads + given, len(self.ins), self.dim, self.f, acc=acc,
                backward=True, threads=threads)
        if not self.info["spends"]:
            for g, now in zip(gouts, given, strict=True):
                assert g is None or same_bits(g, now), "backward changed the gradient of an output"
        return grads

    def output_gradients(self, rng) -> list[Any]:
        """Random gradients for the outputs that carry one."""
        visible = len(self.outs) - self.saved
        return [rng.standard_normal(y.shape).astype(np.float32)
                if y.dtype.kind == "f" and j < visible else None
                for j, y in enumerate(self.outs)]

    def differentiable(self) -> list[int]:
        return [j for j, a in enumerate(self.ins)
                if a.dtype.kind == "f" and self.info["diff"] >> j & 1]


@contextmanager
def on_a_team() -> Iterator[None]:
    """However small the work, every thread asked for takes part."""
    _core.always_team(True)
    try:
        yield
    finally:
        _core.always_team(False)


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
