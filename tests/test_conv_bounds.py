"""Rounding errors of convolutions, pooling and batch norm: elementwise bounds, for every case.

A sum of d products, in any order, is off by gamma(d) times the sum of their magnitudes at most;
that sum is the same twin run on magnitudes. The root mean square of all errors must stay within
2 sqrt(d) u of those magnitudes', which finds drift that the first bound has room for. Winograd's
transform computes other sums: their magnitudes are those of its three matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import numpy as np
import pytest
from bounds import U, assert_within, each_isa, gamma
from cases import Case
from cases.conv import CASES as CONV
from cases.conv_transpose import CASES as TRANSPOSED
from cases.harness import Launch, launches
from cases.norm import CASES as NORM
from cases.pool import CASES as POOL

import fastnn
from fastnn import _core
from fastnn.nn import functional as F

WINOGRAD = 8                                    # a flag of a record, see fastnn/ops/conv.py
ONCE = 64                                       # the same, without panels
LINEAR = [c for c in CONV + TRANSPOSED + POOL
          if c.op in ("conv2d", "conv_transpose2d", "avg_pool2d")]


def test_a_missing_product_of_4096_is_found() -> None:
    a = np.random.default_rng(0).random((50, 4096))
    assert_within(a.sum(1), a.sum(1), a.sum(1), 4096, "nothing is missing")
    with pytest.raises(AssertionError, match="one is missing"):
        assert_within(a[:, 1:].sum(1), a.sum(1), a.sum(1), 4096, "one is missing")


# ---------------------------------------------------------------- sums of products

def depths(x: Launch) -> tuple[int, list[int]]:
    """Products in an element of the output, and of the gradients of input, weight and bias."""
    d = x.dim
    if x.op == "avg_pool2d":
        taps = d[1] * d[2] if d[14] & 2 else d[4] * d[5]
        return taps + 1, [taps + 1]             # and the division
    taps, groups, pixels = d[5] * d[6], d[15] >> 8, d[0] * d[7] * d[8]
    inner, outer = taps * d[3] // groups + 1, taps * d[4] // groups
    if x.op == "conv_transpose2d":
        return outer + 1, [inner, pixels, d[0] * d[1] * d[2]]
    return inner, [outer, pixels, pixels]


@pytest.mark.parametrize("case", LINEAR, ids=lambda c: c.id)
def test_sums_of_products(case: Case) -> None:
    """Without Winograd; outputs, and gradients one at a time."""
    with fastnn.exact_conv():
        found = launches(case)
    rng = np.random.default_rng(8)
    for x in found:
        ins, gouts = x.wide(), x.output_gradients(rng)
        forward, backward = depths(x)
        both = []                               # the sums, and the sums of magnitudes
        for f in (np.asarray, np.abs):
            outs = x.reference([f(a) for a in ins])
            wide = [f(g.astype(np.float64)) for g in gouts]
            both.append([outs[0], *(x.reference_grad([f(a) for a in ins], outs, wide, want)[j]
                                    for j, want in wanted(x, case))])
        for isa in each_isa():
            outs = x.kernel(1)[0]
            got = [outs[0], *(x.kernel_grad(outs, gouts, want, [None] * len(ins), 1)[j]
                              for j, want in wanted(x, case))]
            for k, (depth, y, want, size) in enumerate(zip([forward, *backward], got, *both,
                                                           strict=False)):
                assert_within(y, want, size, depth, f"{isa}: {k and 'gradient' or 'output'} {k}")


def wanted(x: Launch, case: Case) -> Iterator[tuple[int, list[bool]]]:
    """Inputs that get gradients, one at a time."""
    for j in x.differentiable() if case.grad else ():
        yield j, [i == j for i in range(len(x.ins))]


MAXIMA = [c for c in POOL if c.op == "max_pool2d"]


@pytest.mark.parametrize("case", MAXIMA, ids=lambda c: c.id)
def test_maxima_are_exact(case: Case) -> None:
    for x in launches(case):
        want = x.reference(x.wide())[0].astype(np.float32)
        for isa in each_isa():
            np.testing.assert_array_equal(x.kernel(1)[0][0], want, err_msg=isa)


# ---------------------------------------------------------------- Winograd

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)          # and infinity


def transforms(kernel: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(A, G, B) for 7 - kernel sums of `kernel` products over six numbers.

    sums = A' ((G g) * (B' d)), Toom and Cook's interpolation of a polynomial product, transposed.
    """
    rows = len(POINTS) + 1
    a, g, b = np.zeros((rows, 7 - kernel)), np.zeros((rows, kernel)), np.zeros((rows, rows))
    for k, p in enumerate(POINTS):
        others = [q for q in POINTS if q != p]
        a[k] = [p**i for i in range(7 - kernel)]
        g[k] = [p**i / prod(p - q for q in others) for i in range(kernel)]
        b[k, :5] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = np.poly(POINTS)[::-1]
    return a, g, b


def tiles(x: np.ndarray, side: int, step: int, count: tuple[int, int]) -> np.ndarray:
    """(N, C, H, W) as (N, C, tiles down, tiles across, side, side), zeros beyond the image."""
    need = [step * (n - 1) + side for n in count]
    room = [(0, max(0, m - n)) for m, n in zip(need, x.shape[2:], strict=True)]
    x = np.pad(x, ((0, 0), (0, 0), *room))
    views = np.lib.stride_tricks.sliding_window_view(x, (side, side), (2, 3))
    return views[:, :, ::step, ::step][:, :, :count[0], :count[1]]


def by_transform(x: np.ndarray, w: np.ndarray, f: Callable) -> np.ndarray:
    """Correlation of padded images with 3 by 3 kernels; f: what is done to each matrix."""
    a, g, b = map(f, transforms(3))
    size = [n - 2 for n in x.shape[2:]]
    count = (-(-size[0] // 4), -(-size[1] // 4))
    v = np.einsum("ai,nctuij,bj->nctuab", b, tiles(x, 6, 4, count), b, optimize=True)
    u = np.einsum("ai,ocij,bj->ocab", g, w, g, optimize=True)
    m = np.einsum("nctuab,ocab->notuab", v, u, optimize=True)
    y = np.einsum("ai,notuab,bj->notiuj", a, m, a, optimize=True)
    y = y.reshape(*y.shape[:2], 4 * count[0], 4 * count[1])
    return y[:, :, :size[0], :size[1]]


def weights_by_transform(x: np.ndarray, dy: np.ndarray, f: Callable) -> np.ndarray:
    """The gradient of the kernels: 3 by 3 sums over 4 by 4 tiles of dy."""
    a, g, b = map(f, transforms(4))
    count = (-(-dy.shape[2] // 4), -(-dy.shape[3] // 4))
    v = np.einsum("ai,nctuij,bj->nctuab", b, tiles(x, 6, 4, count), b, optimize=True)
    u = np.einsum("ai,notuij,bj->notuab", g, tiles(dy, 4, 4, count), g, optimize=True)
    m = np.einsum("nctuab,notuab->ocab", v, u, optimize=True)
    return np.einsum("ai,ocab,bj->ocij", a, m, a, optimize=True)


TRANSFORMED = 2 * (6 + 4 + 6)       # roundings along tile, kernel and sums, in both directions
SHAPES = [((2, 32, 9, 6), 33, 0), ((3, 40, 8, 8), 64, 1), ((1, 37, 5, 14), 70, 2),
          ((5, 70, 11, 13), 65, 1)]


@pytest.mark.parametrize("flag", [WINOGRAD, ONCE], ids=["packed", "once"])
@pytest.mark.parametrize("shape,outputs,padding", SHAPES, ids=str)
def test_winograd(shape: tuple, outputs: int, padding: int, flag: int,
                  monkeypatch: pytest.MonkeyPatch) -> None:
    if flag == ONCE:
        monkeypatch.setattr(fastnn.ops.conv, "_CACHED", 0)
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(shape), rng.standard_normal((outputs, shape[1], 3, 3))
    b, x, w = (a.astype(np.float32) for a in (rng.standard_normal(outputs), x, w))
    leaves = [fastnn.tensor(a, requires_grad=True) for a in (x, w, b)]
    border = ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2)
    wide, around = np.pad(x.astype(np.float64), border), w.astype(np.float64)
    turned = around.swapaxes(0, 1)[:, :, ::-1, ::-1]
    for isa in each_isa():
        _core.capture(True)
        y = F.conv2d(*leaves, padding=padding)
        assert any(r[0] == "conv2d" and r[4][15] & flag for r in _core.capture(False))
        seed = rng.standard_normal(y.shape).astype(np.float32)
        y.backward(fastnn.tensor(seed))
        wide_seed, rest = seed.astype(np.float64), 2 - padding
        back = np.pad(wide_seed, ((0, 0), (0, 0), (rest,) * 2, (rest,) * 2))
        column = b.astype(np.float64).reshape(1, -1, 1, 1)
        both = [(by_transform(f(wide), f(around), f) + f(column),
                 by_transform(f(back), f(turned), f),
                 weights_by_transform(f(wide), f(wide_seed), f)) for f in (np.asarray, np.abs)]
        got = (y.detach(), leaves[0].grad, leaves[1].grad)
        summed = (shape[1] + 1, outputs, seed[:, 0].size // 4 + 8)
        for k, (a, want, size, depth) in enumerate(zip(got, *both, summed, strict=True)):
            assert_within(a.numpy(), want, size, depth + TRANSFORMED, f"{isa}: {k}")
        for leaf in leaves:
            leaf.grad = None


@pytest.mark.parametrize("kernel", [3, 4])
def test_the_transforms_convolve(kernel: int) -> None:
    a, g, b = transforms(kernel)
    d, k = np.random.default_rng(0).standard_normal((2, 6))
    want = np.correlate(d, k[:kernel], "valid")
    np.testing.assert_allclose(a.T @ ((g @ k[:kernel]) * (b @ d)), want, rtol=1e-12)


# ---------------------------------------------------------------- batch norm

BATCH = [c for c in NORM if c.op == "batch_norm" and "residual-" not in c.name]


def spread(x: np.ndarray) -> np.ndarray:
    """What sums around a value of the data have as terms: at most twice the distance to the mean,
    and the distance of that value."""
    centred = np.abs(x - x.mean((0, 2), keepdims=True))
    return centred.mean((0, 2), keepdims=True) + centred.max((0, 2), keepdims=True)


@pytest.mark.parametrize("case", BATCH, ids=lambda c: c.id)
def test_batch_norm(case: Case) -> None:
    """The mean is off by gamma(n) of what is summed, the variance by twice that of itself."""
    rng = np.random.default_rng(8)
    for x in launches(case):
        dim, wide, gouts = x.dim, x.wide(), x.output_gradients(rng)
        shape, n = dim[:3], dim[0] * dim[2]
        if not prod(shape):
            continue
        want = x.reference([a.copy() for a in wide])
        images = wide[0].reshape(shape)
        rstd = 1 / np.sqrt(images.var((0, 2), keepdims=True) + x.f[0])
        hat = (images - images.mean((0, 2), keepdims=True)) * rstd
        g, e = gamma(n + 8), spread(images) * rstd
        gain = np.abs(wide[1]).reshape(1, -1, 1) if dim[3] else 1.0
        more = sum(np.abs(a).reshape(shape if a.size == images.size else (1, -1, 1))
                   for a, there in ((wide[2], dim[4]), (wide[3], dim[5])) if there)
        off = g * (e + 2 * np.abs(hat))                     # of a normalised value
        for isa in each_isa():
            outs = x.kernel(1)[0]
            error = np.abs(outs[0].astype(np.float64) - want[0]).reshape(shape)
            assert (error <= gain * off + 4 * U * (gain * np.abs(hat) + more)).all(), isa
            if dim[6]:
                continue                                    # ReLU's kink
            dy = gouts[0].astype(np.float64).reshape(shape)
            wanted = [j in x.differentiable() for j in range(len(wide))]
            got = x.kernel_grad(outs, gouts, wanted, [None] * len(wide), 1)
            exact = x.reference_grad(wide, want, [None if q is None else q.astype(np.float64)
                                                  for q in gouts], wanted)
            bound = np.abs(dy).sum((0, 2)) * g
            if dim[4]:
                assert (np.abs(got[2] - exact[2]) <= bound).all(), f"{isa}: gradient of b"
            product = (np.abs(dy * hat) * g + np.abs(dy) * off).sum((0, 2))
            if dim[3]:
                assert (np.abs(got[1] - exact[1]) <= product).all(), f"{isa}: gradient of w"
            b, p, s = (np.reshape(a, (1, -1, 1)) / n for a in (
                bound, product, np.abs((dy * hat).sum((0, 2)))))
            mean = np.abs(dy).mean((0, 2), keepdims=True)
            inside = b + np.abs(hat) * p + off * s + (g + 8 * U) * (
                np.abs(dy) + mean + np.abs(hat) * s) * 3
            assert (np.abs(got[0].reshape(shape) - exact[0].reshape(shape))
                    <= gain * rstd * inside).all(), f"{isa}: gradient of x"
