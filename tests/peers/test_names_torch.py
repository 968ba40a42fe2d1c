"""Functions against torch: one expression, run with both, values and gradients compared.

Both sides compute in float32 and sum few terms, so 1e-5 of the largest value is several times what
their rounding can differ.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastnn

torch = pytest.importorskip("torch", reason="needs torch: pip install fastnn-engine[peers]")

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
W = np.random.default_rng(2).standard_normal((4, 5)).astype(np.float32)
B = np.random.default_rng(3).standard_normal((2, 3, 4)).astype(np.float32)
V = np.array([3.0, -1.0, 2.0, 0.5, -4.0], np.float32)
K = np.array([[2, 0, 1, 1], [0, 0, 2, 1]])
HALVES = np.array([[1.5, np.nan], [2.5, -1.0]], np.float32)


def outcome(engine, expression, arrays):
    """The results of an expression and the gradients of its float inputs."""
    tensors = [engine.tensor(a, requires_grad=a.dtype == np.float32) for a in arrays]
    names = dict(zip("abc", tensors, strict=False), t=engine, F=engine.nn.functional)
    results = eval(expression, {"np": np, **names})
    results = list(results) if isinstance(results, (tuple, list)) else [results]
    tracked = [r for r in results if engine.is_tensor(r) and r.requires_grad]
    for k, r in enumerate(tracked):
        g = np.random.default_rng(9 + k).standard_normal(tuple(r.shape)).astype(np.float32)
        r.backward(engine.tensor(g).to(r.dtype), retain_graph=True)
    grads = [x.grad for x in tensors if x.requires_grad]
    return ([np.asarray(r.detach() if engine.is_tensor(r) else r) for r in results],
            [None if g is None else np.asarray(g) for g in grads])


def compare(expression, *arrays):
    ours, theirs = (outcome(e, expression, arrays) for e in (fastnn, torch))
    for mine, other in zip(ours[0] + ours[1], theirs[0] + theirs[1], strict=True):
        if mine is None or other is None:       # torch has zeros, or nothing, for an unused input
            assert not np.any(mine) and not np.any(other)
            continue
        assert mine.shape == other.shape and mine.dtype == other.dtype, expression
        finite = np.abs(other[np.isfinite(other)]) if other.dtype.kind == "f" else np.zeros(0)
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5 * finite.max(initial=1e-6))


# What torch refuses to differentiate, or differentiates to inf, is detached.
GRAPH = [
    ("(a * b).double()", X, Y), ("a.double().float().sum()", X),
    ("t.all(a, dim=())", X), ("t.any(a, ())", HALVES), ("t.var(a.detach(), dim=())", X),
    ("t.std(a.detach(), ())", X), ("t.any(a.long(), 1, keepdim=True)", X),
    ("F.binary_cross_entropy_with_logits(a * 3, (b > 0).float())", X, Y),
    ("F.one_hot(a, 4)", K), ("F.one_hot(a)", K), ("t.count_nonzero(a > 0, 0)", X),
    ("t.isclose(a, a + 1e-6)", X), ("t.isclose(a, a, equal_nan=True)", HALVES),
]
SCATTER = [
    ("a.scatter(0, b, c)", X, K[:, :2], Y[:2, :2]), ("a.scatter(0, b[:, :3], c.detach())", X, K, Y),
    ("t.zeros(3, 4).scatter_(0, a, 1.0)", K), ("a.clone().scatter_(0, b, 2.5)", X, K),
    ("a.clone().scatter_(1, b, value=-1.0)", X, K[:1, :1]),
    ("a.scatter_add(0, b, c)", X, K, Y[:2]), ("a.scatter_add(1, b[:, :1], c.detach())", X, K, Y),
    ("a.clone().scatter_add_(0, b, c.detach())", X, K, Y),
    ("t.zeros(4, 3, dtype=t.int64).scatter_(1, a, b)", K[:, :1], K[:, 1:2]),
    ("a.detach().scatter(0, b, c.detach(), reduce='add')", X, K, Y),
]
POINTWISE = [
    ("t.erf(a)", X), ("t.log2(a.abs() + 1)", X), ("t.log10(a.abs() + 1)", X), ("t.erf(a)", K),
    ("t.log2(t.tensor(2.0) ** t.arange(-20, 20))",), ("t.where(a > 0)", X), ("t.where(a)", K),
    ("(a * 1).erf_()", X),
]


COMPOSED = [
    ("t.addmm(c[0, :5], a, b)", X, W, W), ("t.addmm(c[0, 0], a, b, beta=0.5, alpha=2)", X, W, W),
    ("t.diag(a)", X), ("t.diag(a, 1)", X), ("t.diag(a, -2)", X), ("t.diag(a, 4)", X),
    ("t.diag(a)", V), ("a.diag(2)", V), ("t.diag(a, -1)", V), ("t.diag(a[0])", K),
    ("F.normalize(a)", X), ("F.normalize(a, p=1, dim=0)", X), ("F.normalize(a * 0)", X),
    ("F.normalize(a, dim=(0, 2))", B), ("F.normalize(a, p=float('inf'), dim=-1)", X),
    ("t.median(a)", V), ("t.median(a[:4])", V), ("t.median(a, 0)", X), ("t.median(a)", K),
    ("t.median(a, dim=1, keepdim=True)", B), ("a.median(-1).values", HALVES),
    ("a.median()", HALVES),
    ("t.median(a, 1).values", HALVES), ("t.median(t.tensor(3.0), 0)",),
    ("t.unique(a)", K), ("t.unique(a, return_inverse=True, return_counts=True)", K),
    ("a.detach().round().unique()", X), ("t.unique(a, dim=0)", K),
    ("t.unique(t.tensor([True, False]))",),
    ("t.unique(a, dim=1, return_inverse=True)", K),
]
EINSUMS = [
    ("ij->ji", X), ("ij->", X), ("ij->j", X), ("ij", X), ("ij,jk->ik", X, W), ("ij,jk", X, W),
    ("ij,ij->i", X, Y), ("ij,ij->", X, Y), ("i,j->ij", V, V), ("bij,bkj->bik", B, B),
    ("bij,jk->bik", B, W), ("ij,kj->ijk", X, Y), ("...j,jk->...k", B, W), ("...ij->...ji", B),
    ("bij,...j->...bi", B, X[:, None]), ("ij,jk,k->i", X, W, V), ("ii->i", W[:, :4]),
    ("ii", W[:, :4]), ("bii->b", B[:, :, :3]), ("ba", X), ("i,i", V, V), ("ij , j -> i", X, X[0]),
    ("a...b,b->a...", B, X[0]), ("...,...->...", X, B),
]
PADS = [("(1, 2)", ""), ("(1, 0, 0, 2)", ""), ("(-1, 2)", ""), ("(0, -2, 1, 1)", ", value=3.5"),
        ("(1, 1, 2, 0, 1, 0)", ""), ("(3, 2)", ", mode='reflect'"),
        ("(5, 1)", ", mode='replicate'"), ("(2, 4)", ", mode='circular'"), ("()", "")]


SIGNS = np.where(X > 0, 1, -1)
LOSSES = [
    ("F.hinge_embedding_loss(a, b)", X, SIGNS), ("F.hinge_embedding_loss(a, b, 0.3)", X, SIGNS),
    ("F.hinge_embedding_loss(a, b, reduction='none')", X, SIGNS * 0),
    ("F.cosine_embedding_loss(a, b, c, margin=0.1)", X, Y, SIGNS[:, 0]),
    ("t.nn.HingeEmbeddingLoss(0.5, reduction='sum')(a, b)", X, SIGNS.astype(np.float32)),
    ("t.nn.CosineEmbeddingLoss(reduction='none')(a, b, c)", X, Y, SIGNS[:, 0]),
    ("t.nn.Hardtanh(-0.5, 0.7)(a)", X), ("t.nn.CELU(0.5)(a)", X), ("t.nn.LogSigmoid()(a * 30)", X),
    ("t.cat([a, b])", X, K), ("t.cat([b, b > 0], 1)", X, K), ("t.stack([a, a > 1, a.int()])", K),
    ("t.cat([a.to(t.uint8), a])", K), ("t.cat([t.ones(2), a])", X.astype(bool)[0]),
]
LIMITS = [("finfo", d, n) for d in ("float32", "float64", "float16")
          for n in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype")]
LIMITS += [("iinfo", d, n) for d in ("uint8", "int8", "int16", "int32", "int64")
           for n in ("bits", "max", "min", "dtype")]


@pytest.mark.parametrize(("kind", "dtype", "name"), LIMITS)
def test_limits_like_torch(kind, dtype, name):
    ours, theirs = (getattr(getattr(e, kind)(getattr(e, dtype)), name) for e in (fastnn, torch))
    assert ours == theirs


@pytest.mark.parametrize("case", EINSUMS, ids=lambda c: c[0])
def test_einsum_like_torch(case):
    equation, *arrays = case
    names = ", ".join("abc"[: len(arrays)])
    compare(f"t.einsum('{equation}', {names})", *arrays)
    compare(f"t.einsum('{equation}', [{names}])", *arrays)


@pytest.mark.parametrize("case", PADS, ids=str)
def test_pad_like_torch(case):
    compare(f"F.pad(a, {case[0]}{case[1]})", B)


def test_pad_of_integers_like_torch():
    compare("F.pad(a, (1, 2), value=7)", K)


CASES = GRAPH + SCATTER + POINTWISE + COMPOSED + LOSSES


@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_like_torch(case):
    compare(*case)


@pytest.mark.parametrize("key", [
    "0", "-1", "1:3", ":, 2", "..., 1:", "[0, 2], [1, 1]", "::2", "None, 1",
])
def test_setitem_like_torch(key):
    put = f"(lambda y: (y.__setitem__(np.s_[{key}], VALUE), y * b)[1])(a * 1)"
    compare(put.replace("VALUE", "c[0, 0] * 2"), X, Y, W)
    compare(put.replace("VALUE", "2.0"), X, Y)


def test_repr_like_torch():
    for text in ("Hardtanh(-2, 3, inplace=True)", "CELU(0.5)", "LogSigmoid()",
                 "CosineEmbeddingLoss()", "HingeEmbeddingLoss()"):
        assert repr(eval(f"nn.{text}", {"nn": fastnn.nn})) == repr(
            eval(f"nn.{text}", {"nn": torch.nn}))


def test_retain_grad_like_torch():
    compare("(lambda y: (y.retain_grad(), (y * b).sum().backward(), y.grad)[2])(a * 2)", X, Y)
