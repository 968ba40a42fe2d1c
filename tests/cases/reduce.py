"""Cases of op_reduce.h."""

import numpy as np

import fastnn

from . import Case, randn

# The three ways a fold walks memory, short and long: rows shorter than a vector, rows, columns.
SHAPES = {
    "all": ((3, 5), None), "scalar": ((), None), "short": ((37, 3), 1), "rows": ((3, 37), 1),
    "columns": ((5, 3), 0), "middle": ((2, 5, 3), 1), "empty-outer": ((0, 3), 1),
}
BIG = {
    "short": ((1003, 16), 1), "rows": ((7, 9001), 1), "columns": ((301, 131), 0),
    "middle": ((5, 130, 70), 1), "all": ((3, 70001), None), "tall": ((20011, 3), 0),
}


def family(op, method, nothing=False, draw=randn, **options):
    """A method along one axis of each shape."""
    for name, (shape, dim) in SHAPES.items():
        yield Case(op, lambda x, d=dim: method(x, d), draw(shape), name, **options)
    if nothing:
        yield Case(op, lambda x: method(x, 1), randn((3, 0)), "nothing", **options)
    for name, (shape, dim) in BIG.items():
        yield Case(op, lambda x, d=dim: method(x, d), draw(shape), name + "-big", big=True,
                   **options)


def distinct(shape):
    """Values a tenth apart from each other and from 0: no kink is near."""
    return lambda rng: ((1 + rng.permutation(int(np.prod(shape))).reshape(shape).astype(np.float32))
                        / 10,)


def shifted(shape):
    """A mean of one standard deviation: one near 0 would have no digits to compare."""
    return lambda rng: ((1 + rng.standard_normal(shape)).astype(np.float32),)


def ties(*shape):
    """Few distinct values."""
    return lambda rng: (rng.integers(0, 3, shape).astype(np.float32),)


def far(*shape):
    """A mean of ten thousand standard deviations."""
    return lambda rng: ((10000 + rng.standard_normal(shape)).astype(np.float32),)


def special(rng):
    """Rows with NaN, infinities and both zeros."""
    x = rng.standard_normal((6, 40)).astype(np.float32)
    x[0, 7] = x[0, 30] = np.nan
    x[1, 3] = np.inf
    x[2, 39] = -np.inf
    x[3] = -np.inf
    x[4] = np.inf
    x[5, 4] = x[5, 20] = 0
    return (x,)


def whole(dtype, *shape):
    return lambda rng: (rng.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype),)


def along(fn):
    """fn over rows, for special values."""
    return lambda x: fn(x, 1)


def peak(x, dim):
    """max along an axis; of all elements by way of a flat view."""
    return x.flatten().max(0) if dim is None else x.max(dim)


def trough(x, dim):
    return x.flatten().min(0) if dim is None else x.min(dim)


def running(x, dim):
    return x.flatten().cumsum(0) if dim is None else x.cumsum(dim)


CASES = [
    *family("sum", fastnn.sum, nothing=True),
    Case("sum", lambda x: x.sum((0, 2)), randn((3, 4, 5)), "groups"),
    Case("sum", lambda x: x.sum((0, 2, 3), keepdim=True), randn((3, 4, 5, 2)), "channels"),
    Case("sum", lambda x: x.sum(()), randn((3, 4)), "no-axes"),
    Case("sum", lambda x: x.mean((0, 2)), randn((3, 4, 5)), "mean-groups"),
    Case("sum", lambda x: x.mean(-1), randn((7, 300)), "mean-rows", big=True),
    Case("sum", along(fastnn.sum), special, "special", differences=False),
    *(Case("sum_int", lambda x, d=d: x.sum(d), whole(t, 5, 70, 3), f"{t}-{d}", grad=False)
      for t in ("bool", "uint8", "int32", "int64") for d in (None, 0, 1, 2)),
    *family("amax", fastnn.amax, draw=distinct), *family("amin", fastnn.amin, draw=distinct),
    Case("amax", lambda x: x.amax((0, 2)), ties(4, 3, 5), "ties", differences=False),
    Case("amin", lambda x: x.amin(0), ties(40, 3), "ties", differences=False),
    Case("amax", along(fastnn.amax), special, "special", differences=False),
    Case("amin", along(fastnn.amin), special, "special", differences=False),
    *family("max", peak, draw=distinct), *family("min", trough, draw=distinct),
    Case("max", lambda x: x.max(1), ties(40, 33), "ties", differences=False),
    Case("min", lambda x: x.min(0), ties(40, 33), "ties", differences=False),
    Case("max", along(peak), special, "special", differences=False),
    Case("min", along(trough), special, "special", differences=False),
    Case("max", lambda x: x.argmax(), randn((5, 7)), "argmax", grad=False),
    *family("var", lambda x, d: x.var(d, correction=0), draw=shifted),
    Case("var", lambda x: x.var((0, 2)), randn((3, 4, 5)), "groups"),
    Case("var", lambda x: x.std(1), randn((4, 7)), "root"),
    Case("var", lambda x: x.std(1), lambda rng: (np.ones((4, 7), np.float32),), "root-zero",
         differences=False),
    # Rounding the mean itself to float32 moves each x - mean by 3e-4 of the deviation at most.
    Case("var", lambda x: x.var(1), far(5, 4001), "far", big=True, rtol=3e-4, atol=3e-4),
    Case("var", lambda x: x.std(0), far(4001, 5), "far-columns", big=True, rtol=3e-4, atol=3e-4),
    *family("norm", lambda x, d: x.norm(2, d), nothing=True, draw=distinct),
    Case("norm", lambda x: x.norm(dim=1), lambda rng: (np.zeros((3, 4), np.float32),), "zero",
         differences=False),
    *family("logsumexp", fastnn.logsumexp),
    Case("logsumexp", lambda x: x.logsumexp(1), lambda rng: (
        (80 * rng.standard_normal((5, 40))).astype(np.float32),), "wide", differences=False),
    Case("logsumexp", along(fastnn.logsumexp), special, "special", differences=False),
    *(c for c in family("prod", fastnn.prod, nothing=True) if not c.big),
    Case("prod", lambda x: x.prod(1), ties(5, 7), "zeros", differences=False),
    Case("prod", lambda x: x.prod(1), lambda rng: (
        rng.uniform(0.99, 1.01, (3, 5001)).astype(np.float32),), "long", big=True, rtol=1e-4),
    *family("cumsum", running, nothing=True),
]
