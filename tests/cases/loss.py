"""Cases of op_loss.h and op_cross_entropy.h: reductions, options, scores (n, c) and (n, c, d).

No finite differences where a drawn point lies on a kink.
"""

import numpy as np

from fastnn.nn import functional as F

from . import Case, randn

REDUCTIONS = ("mean", "sum", "none")


def pair(name, fn, inputs, *, bounds=(17, 4099), **options):
    """A loss of (input, target): every reduction, and a shape with many parts."""
    sizes = [Case(name, lambda x, t: fn(x, t, reduction="sum"), inputs((n,)), f"{n}", **options)
             for n in bounds[:1]]
    return [
        *(Case(name, lambda x, t, r=r: fn(x, t, reduction=r), inputs((5, 7)), r, **options)
          for r in REDUCTIONS),
        *sizes,
        Case(name, lambda x, t: fn(x, t, reduction="sum"), inputs((0, 3)), "empty-sum", **options),
        Case(name, lambda x, t: fn(x, t, reduction="none"), inputs((0, 3)), "empty", **options),
        Case(name, fn, inputs((101, 211)), "parts", big=True, **options),
        Case(name, fn, inputs(()), "scalar", **options),
    ]


def two(shape):
    return randn(shape, shape)


def signs(shape):
    return lambda rng: (rng.standard_normal(shape).astype(np.float32),
                        np.sign(rng.standard_normal(shape)).astype(np.float32))


def logits(shape):
    """Scores and targets in (0, 1)."""
    return lambda rng: (3 * rng.standard_normal(shape).astype(np.float32),
                        np.asarray(rng.random(shape), np.float32))


def chances(shape):
    """Two probabilities well inside (0, 1), where differences are accurate."""
    return lambda rng: (np.asarray(rng.uniform(0.05, 0.95, shape), np.float32),
                        np.asarray(rng.uniform(0.05, 0.95, shape), np.float32))


def log_and_chance(shape):
    return lambda rng: (np.asarray(np.log(rng.uniform(0.1, 1, shape)), np.float32),
                        np.asarray(rng.uniform(0.1, 1, shape), np.float32))


def classes(shape, c, ignore=(), dtype=np.int64):
    """Scores with c classes on axis 1 and class indices, some of them ignored."""
    def make(rng):
        scores = (shape[0], c, *shape[1:]) if shape else (c,)
        target = np.asarray(rng.integers(0, c, shape), dtype)
        target.reshape(-1)[list(ignore)] = -100
        return 3 * rng.standard_normal(scores).astype(np.float32), target
    return make


def weighted(make, c):
    """The same with one weight per class."""
    return lambda rng: (*make(rng), rng.uniform(0.5, 2, c).astype(np.float32))


def distributions(shape, c):
    def make(rng):
        x = rng.standard_normal((shape[0], c, *shape[1:])).astype(np.float32)
        t = np.exp(rng.standard_normal(x.shape))
        return x, (t / t.sum(axis=1, keepdims=True)).astype(np.float32)
    return make


def by_class(op, fn, **options):
    """A loss of class scores: shapes, reductions, weights, ignored targets."""
    def with_weight(x, t, w, **o):
        return fn(x, t, w.detach(), **o)

    return [
        *(Case(op, lambda x, t, r=r: fn(x, t, reduction=r), classes((9,), 5, (2, 7)), r, **options)
          for r in REDUCTIONS),
        *(Case(op, lambda x, t, r=r: fn(x, t, reduction=r), classes((3, 4, 5), 6, (2, 17)),
               f"axes-{r}", **options) for r in REDUCTIONS),
        *(Case(op, lambda x, t, w, r=r: with_weight(x, t, w, reduction=r),
               weighted(classes((9,), 5, (0,)), 5), f"weight-{r}", **options) for r in REDUCTIONS),
        Case(op, with_weight, weighted(classes((2, 19), 4, (3,)), 4), "weight-axes", **options),
        Case(op, fn, classes((4,), 1), "one-class", **options),
        Case(op, fn, classes((), 7), "vector", **options),
        Case(op, fn, classes((3,), 5, (0, 1, 2)), "all-ignored", **options),
        Case(op, lambda x, t: fn(x, t, ignore_index=1), classes((8,), 3), "ignore-a-class",
             **options),
        Case(op, lambda x, t: fn(x, t, reduction="sum"), classes((0,), 3), "no-rows", **options),
        Case(op, lambda x, t: fn(x, t, reduction="none"), classes((2, 0), 3), "no-columns",
             **options),
        Case(op, fn, classes((37,), 1003, (5,)), "many-classes", big=True, **options),
        Case(op, fn, classes((5, 81), 33), "many-columns", big=True, **options),
        Case(op, fn, classes((1003,), 10, (1, 999)), "many-rows", big=True, **options),
        Case(op, fn, classes((17,), 16, dtype=np.int32), "int32", **options),
    ]


def unusual(rng):
    """Infinite, NaN and huge scores."""
    inf = np.inf
    x = np.array([[0, -inf, 1], [-inf, 0, -inf], [1e38, -1e38, 0], [-inf, -inf, -inf],
                  [inf, 0, 0], [inf, 0, 0], [np.nan, 0, 0], [300, 200, 100]], np.float32)
    return x, np.array([0, 1, 1, 0, 0, 1, 1, 2])


def smooth(x, t, *w, **options):
    return F.cross_entropy(x, t, *(v.detach() for v in w), label_smoothing=0.1, **options)


def bce(x, t, w, **options):
    return F.binary_cross_entropy(x, t, w.detach(), **options)


def bce_logits(x, t, w, pos):
    return F.binary_cross_entropy_with_logits(x, t, w.detach(), pos_weight=pos.detach())


CASES = [
    *pair("mse_loss", F.mse_loss, two),
    Case("mse_loss", lambda x: F.mse_loss(x, x * 1.0), randn((3, 4)), "twice"),
    *pair("l1_loss", F.l1_loss, two),
    *pair("smooth_l1_loss", F.smooth_l1_loss, two),
    Case("smooth_l1_loss", lambda x, t: F.smooth_l1_loss(x, t, beta=0.3), two((6, 7)), "beta"),
    *pair("huber_loss", F.huber_loss, two),
    Case("huber_loss", lambda x, t: F.huber_loss(x, t, delta=0.7), two((6, 7)), "delta",
         differences=False),
    *pair("hinge_loss", F.hinge_loss, signs),
    Case("hinge_loss", lambda x, t: F.hinge_loss(x, t, margin=0.0), signs((6, 7)), "perceptron",
         differences=False),
    *pair("binary_cross_entropy", F.binary_cross_entropy, chances, rtol=4e-6),
    *(Case("binary_cross_entropy", lambda x, t, w, r=r: bce(x, t, w, reduction=r),
           lambda rng: (*chances((5, 7))(rng), rng.random(7, np.float32)), f"weight-{r}", rtol=4e-6)
      for r in REDUCTIONS),
    Case("binary_cross_entropy", lambda x, t: F.binary_cross_entropy(x, t, reduction="none"),
         lambda rng: (np.array([0, 0, 1, 1], np.float32), np.array([0, 1, 0, 1], np.float32)),
         "edges", differences=False),
    *pair("binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits, logits),
    Case("binary_cross_entropy_with_logits", bce_logits,
         lambda rng: (*logits((5, 7))(rng), rng.random((5, 1), np.float32),
                      rng.uniform(0.5, 3, 7).astype(np.float32)), "weights"),
    *pair("kl_div", F.kl_div, log_and_chance),
    Case("kl_div", lambda x, t: F.kl_div(x, t, reduction="batchmean"), log_and_chance((5, 7)),
         "batchmean"),
    Case("kl_div", F.kl_div, lambda rng: (randn((6,))(rng)[0], np.array(
        [0, 1, 0, 0.5, 0, 0.2], np.float32)), "zeros", differences=False),
    *pair("kl_div_log", lambda x, t, **o: F.kl_div(x, t, log_target=True, **o), two),
    *by_class("nll_loss", F.nll_loss),
    *by_class("cross_entropy", F.cross_entropy),
    *(Case("cross_entropy", F.cross_entropy, classes(batch, n), f"no-gradient-{n}", grad=False)
      for batch, n in (((19,), 7), ((19,), 40), ((2, 19), 5))),
    Case("cross_entropy", F.cross_entropy, classes((3,), 4099), "a-row-a-group", big=True),
    Case("cross_entropy", F.cross_entropy, classes((2, 3), 2000), "beyond-scratch", big=True),
    Case("cross_entropy", lambda x, t: F.cross_entropy(x, t, reduction="none"), unusual, "unusual",
         differences=False),
    Case("cross_entropy", lambda x, t: F.cross_entropy(x, t, reduction="none"),
         lambda rng: tuple(a.reshape(2, 4, *a.shape[1:]).swapaxes(1, -1).copy()
                           if a.ndim == 2 else a.reshape(2, 4) for a in unusual(rng)),
         "unusual-axes", differences=False),
    *(Case("cross_entropy", lambda x, t, r=r: smooth(x, t, reduction=r), classes((9,), 5, (2,)),
           f"smooth-{r}") for r in REDUCTIONS),
    Case("cross_entropy", smooth, weighted(classes((9,), 21, (2,)), 21), "smooth-weight"),
    Case("cross_entropy", smooth, weighted(classes((3, 18), 4, (2,)), 4), "smooth-weight-axes"),
    *(Case("soft_cross_entropy", lambda x, t, r=r: F.cross_entropy(x, t, reduction=r),
           distributions((6,), 7), r) for r in REDUCTIONS),
    Case("soft_cross_entropy", F.cross_entropy, distributions((3, 4, 2), 5), "axes"),
    Case("soft_cross_entropy", smooth, distributions((6,), 17), "smooth"),
    Case("soft_cross_entropy", smooth, weighted(distributions((6,), 17), 17), "smooth-weight"),
    Case("soft_cross_entropy", F.cross_entropy, distributions((53,), 301), "big", big=True),
    Case("soft_cross_entropy", lambda x, t: F.cross_entropy(x, t, reduction="none"),
         distributions((0,), 4), "empty"),
]
