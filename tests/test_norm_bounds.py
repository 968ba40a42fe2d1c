"""Rounding errors of evaluated batch norm, group and instance norm, resizing: elementwise bounds.

Sums of d terms are off by gamma(d) times the sum of their magnitudes; a mean of n values, taken
around one of them, by that of their distances; what follows multiplies these errors and adds a few
roundings. tests/test_conv_bounds.py has convolutions, pooling and batch norm in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from bounds import U, assert_within, each_isa, gamma
from cases import Case
from cases.harness import Launch, launches
from cases.image import CASES as IMAGE
from cases.norm import CASES as NORM

Check = Callable[[str, np.ndarray, np.ndarray, np.ndarray], None]
EVALUATED = [c for c in NORM if c.op == "batch_norm_eval"]
GROUPS = [c for c in NORM if c.op == "group_norm"]      # instance norm is among them
RESIZED = [c for c in IMAGE if c.op == "interpolate"]


def within(what: str, got: np.ndarray, want: np.ndarray, bound: np.ndarray) -> None:
    error = np.abs(got.astype(np.float64).reshape(want.shape) - want)
    assert (error <= np.broadcast_to(bound, want.shape)).all(), what


def gradients(x: Launch, outs: list[np.ndarray], gouts: list) -> tuple[list, list]:
    """Of the kernel, and in float64."""
    wanted = [j in x.differentiable() for j in range(len(x.ins))]
    wide = x.wide()
    exact = x.reference_grad(wide, x.reference([a.copy() for a in wide]), [
        None if g is None else g.astype(np.float64) for g in gouts], wanted)
    return x.kernel_grad(outs, gouts, wanted, [None] * len(x.ins), 1), exact


# ---------------------------------------------------------------- batch norm by running statistics

def check_evaluated(x: Launch, check: Check = within) -> None:
    """One rounding for the distance to the mean, four for 1 / sqrt(variance + eps), five more."""
    d, (a, w, b, r, mean, var, *_) = x.dim, x.wide()
    shape = tuple(d[:3])

    def column(v: np.ndarray) -> np.ndarray:
        return np.reshape(v, (1, -1, 1))

    rstd = 1 / np.sqrt(column(var) + x.f[0])
    hat = (a.reshape(shape) - column(mean)) * rstd
    gain = column(np.abs(w)) if d[3] else 1.0
    more = (np.abs(column(b)) if d[4] else 0.0) + (np.abs(r.reshape(shape)) if d[5] else 0.0)
    want, g = x.reference(x.wide()), gamma(10)
    gouts = x.output_gradients(np.random.default_rng(8))
    for isa in each_isa():
        outs = x.kernel(1)[0]
        check(isa, outs[0], want[0].reshape(shape), g * (gain * np.abs(hat) + more))
        if d[6]:
            continue                                    # ReLU's kink
        got, exact = gradients(x, outs, gouts)
        dy, n = np.abs(gouts[0].astype(np.float64)).reshape(shape), shape[0] * shape[2]
        check(f"{isa}: x", got[0], exact[0].reshape(shape), g * dy * gain * rstd)
        for j, there, terms in ((1, d[3], dy * np.abs(hat)), (2, d[4], dy)):
            if there:
                check(f"{isa}: {j}", got[j], exact[j], gamma(n + 10) * terms.sum((0, 2)))


@pytest.mark.parametrize("case", EVALUATED, ids=lambda c: c.id)
def test_batch_norm_eval(case: Case) -> None:
    for x in launches(case):
        check_evaluated(x)


# ---------------------------------------------------------------- groups of channels of one item

def check_groups(x: Launch, check: Check = within) -> None:
    """Sums within a group, then sums over the items for the gradients of w and b."""
    batch, groups, channels, length = x.dim[:4]
    each = channels // groups
    shape = (batch, groups, each, length)
    a, w, b = x.wide()
    if not a.size:
        return
    images, inner = a.reshape(shape), (2, 3)
    centred = images - images.mean(inner, keepdims=True)
    rstd = 1 / np.sqrt((centred**2).mean(inner, keepdims=True) + x.f[0])
    hat, away = centred * rstd, np.abs(centred)
    g = gamma(each * length + 8)
    off = g * ((away.mean(inner, keepdims=True) + away.max(inner, keepdims=True)) * rstd
               + 2 * np.abs(hat))                       # of a normalised value
    gain, more = (np.abs(v).reshape(1, groups, each, 1) if there else default
                  for v, there, default in ((w, x.dim[4], 1.0), (b, x.dim[5], 0.0)))
    want = x.reference(x.wide())[0].reshape(shape)
    gouts = x.output_gradients(np.random.default_rng(8))
    dy = np.abs(gouts[0].astype(np.float64)).reshape(shape)
    ds, sums = dy * gain, gamma(batch * length + 8)
    signed = gouts[0].astype(np.float64).reshape(shape) * hat * (
        w.reshape(1, groups, each, 1) if x.dim[4] else 1.0)
    first, second = ds.mean(inner, keepdims=True), np.abs(signed.mean(inner, keepdims=True))
    inside = (g * first + np.abs(hat) * (g * ds * np.abs(hat) + ds * off).mean(inner, keepdims=True)
              + off * second + 3 * (g + 8 * U) * (ds + first + np.abs(hat) * second))
    for isa in each_isa():
        outs = x.kernel(1)[0]
        check(isa, outs[0], want, gain * off + 4 * U * (gain * np.abs(hat) + more))
        got, exact = gradients(x, outs, gouts)
        check(f"{isa}: x", got[0], exact[0].reshape(shape), rstd * inside)
        for j, terms in ((1, sums * dy * np.abs(hat) + dy * off), (2, sums * dy)):
            if x.dim[3 + j]:
                check(f"{isa}: {j}", got[j], exact[j], terms.sum((0, 3)).reshape(-1))


@pytest.mark.parametrize("case", GROUPS, ids=lambda c: c.id)
def test_group_norm(case: Case) -> None:
    for x in launches(case):
        check_groups(x)


# ---------------------------------------------------------------- resizing

def check_resized(x: Launch, check: Callable[..., None] = assert_within) -> None:
    """Three roundings for a product of weights, then sums: of four, or of all that saw a pixel."""
    rows, columns = (np.bincount(t.reshape(-1).astype(int)).max(initial=0)
                     for t in (x.ins[1], x.ins[3]))
    gouts = x.output_gradients(np.random.default_rng(8))
    wanted = [True] + [False] * 4
    both = []                                           # the sums, and the sums of magnitudes
    for f in (np.asarray, np.abs):
        wide = x.wide()
        wide[0] = f(wide[0])
        outs = x.reference(wide)
        grads = x.reference_grad(wide, outs, [f(g.astype(np.float64)) for g in gouts], wanted)
        both.append((outs[0], grads[0]))
    for isa in each_isa():
        outs = x.kernel(1)[0]
        got = (outs[0], x.kernel_grad(outs, gouts, wanted, [None] * 5, 1)[0])
        for y, want, size, depth in zip(got, *both, (7, 3 + rows * columns), strict=True):
            check(y, want, size, depth, isa)


@pytest.mark.parametrize("case", RESIZED, ids=lambda c: c.id)
def test_interpolate(case: Case) -> None:
    for x in launches(case):
        check_resized(x)


# ---------------------------------------------------------------- the checkers find faults

def named(cases: list[Case], name: str) -> Launch:
    (case,) = [c for c in cases if c.name == name]
    return launches(case)[0]


def faults() -> Iterator[tuple[str, Callable[..., None], Launch, Callable]]:
    """Results a ten-thousandth too large, or one of them 1e-4 off."""
    evaluated = next(launches(c)[0] for c in EVALUATED if not c.big)
    for name, check, x in (("eval", check_evaluated, evaluated),
                           ("group", check_groups, named(GROUPS, "plain")),
                           ("resize", check_resized, named(RESIZED, "bilinear"))):
        yield f"{name}-scaled", check, x, lambda got: got * np.float32(1 + 1e-4)
        yield f"{name}-one", check, x, lambda got: got + np.float32(1e-4) * (
            np.arange(got.size).reshape(got.shape) == got.size // 2)


@pytest.mark.parametrize("k", range(6))
def test_faults_are_found(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    name, check, x, spoil = list(faults())[k]
    check(x)
    kernel, grad = Launch.kernel, Launch.kernel_grad
    with monkeypatch.context() as m, pytest.raises(AssertionError):
        m.setattr(Launch, "kernel", lambda *a: (lambda outs, ins: (
            [spoil(outs[0]), *outs[1:]], ins))(*kernel(*a)))
        check(x)
    with monkeypatch.context() as m, pytest.raises(AssertionError):
        m.setattr(Launch, "kernel_grad", lambda *a: (lambda grads: [
            spoil(grads[0]), *grads[1:]])(grad(*a)))
        check(x)
