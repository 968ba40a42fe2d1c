"""Cases of op_pointwise.h."""

import numpy as np

import fastnn

from . import Case, randn


def positive(*shapes):
    """Inputs in (0.5, 1.5): away from the poles of 1/x and log x, where differences are useless."""
    return lambda rng: tuple((rng.random(s) + 0.5).astype(np.float32) for s in shapes)


def apart(*shapes):
    """Distinct integers plus a fraction: no two elements within a difference step of a tie."""
    def make(rng):
        values = [rng.permutation(int(np.prod(s))) + 0.25 * k for k, s in enumerate(shapes)]
        return tuple((v - v.size / 2 + 0.1).reshape(s).astype(np.float32)
                     for v, s in zip(values, shapes, strict=True))
    return make


def values(*rows):
    """These very numbers, NaN and infinities among them."""
    return lambda rng: tuple(np.array(r, np.float32) for r in rows)


BROADCASTS = {
    "same": ((3, 5), (3, 5)),
    "bias": ((7, 10), (10,)),
    "column": ((7, 10), (7, 1)),
    "outer": ((7, 1), (1, 10)),
    "scalar": ((3, 5), ()),
    "scalar-left": ((), (3, 5)),
    "channels": ((2, 3, 4, 5), (3, 1, 1)),
    "interleaved": ((2, 1, 3, 1, 2), (1, 3, 1, 2, 1)),
    "six-axes": ((2, 1, 2, 1, 2, 1), (1, 2, 1, 2, 1, 2)),
    "rank-0": ((), ()),
    "empty": ((0, 5), (5,)),
    "empty-kept": ((3, 0), (3, 1)),
}
BIG = {
    "same": ((130, 67), (130, 67)),
    "bias": ((3001, 10), (10,)),
    "wide-bias": ((9, 5003), (5003,)),
    "column": ((301, 129), (301, 1)),
    "long-rows": ((3, 9001), (3, 1)),
    "scalar": ((70, 301), ()),
    "channels": ((16, 5, 301), (5, 1)),
}


def sweep(op, fn, make=randn, small=BROADCASTS):
    """One op over every way of broadcasting."""
    return [Case(op, fn, make(*s), n) for n, s in small.items()] + [
        Case(op, fn, make(*s), f"big-{n}", big=True) for n, s in BIG.items()]


TIES = ([0, 1, 2, np.nan, 1, np.inf, -np.inf], [0, 2, 1, 1, np.nan, np.inf, 3])

CASES = [
    *sweep("mul", fastnn.mul),
    *sweep("div", fastnn.div, positive),
    Case("mul", lambda a: a * a, randn((4, 5)), "same-operand"),
]
for op in ("add", "sub"):
    fn = getattr(fastnn, op)
    CASES += [Case(op, fn, randn(*BROADCASTS[n]), n) for n in ("same", "bias", "outer", "scalar")]
CASES += [
    Case("pow", fastnn.pow, positive((3, 5), (3, 5))),
    Case("pow", fastnn.pow, positive((4, 3), (3,)), "bias"),
    Case("pow", fastnn.pow,
         values([0, 0, 0, 0, 2, -2, -2, -0.5, -1.5, np.nan, 2],
                [0, 1, 2, 0.5, 0, 2, 3, -1, 3, 2, np.nan]), "edges", differences=False),
    Case("pow", lambda a: fastnn.pow(a, 3.0), randn((4, 5)), "cube"),
    Case("maximum", fastnn.maximum, apart((4, 5), (4, 5))),
    Case("maximum", fastnn.maximum, apart((4, 5), (5,)), "bias"),
    Case("maximum", fastnn.maximum, values(*TIES), "edges", differences=False),
    Case("minimum", fastnn.minimum, apart((4, 5), (4, 5))),
    Case("minimum", fastnn.minimum, apart((4, 5), (5,)), "bias"),
    Case("minimum", fastnn.minimum, values(*TIES), "edges", differences=False),
]
for op in ("eq", "ne", "lt", "le", "gt", "ge"):
    fn = getattr(fastnn, op)
    CASES += [
        Case(op, fn, values(*TIES), "edges", grad=False),
        Case(op, fn, randn((5, 37), (37,)), "bias", grad=False),
        Case(op, fn, randn((40, 301), ()), "big-scalar", grad=False, big=True),
    ]

FUNCTIONS = {
    "neg": randn, "abs": apart, "exp": randn, "log": positive, "sqrt": positive, "square": randn,
}
EDGES = values([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e38, -1e38, 2.0])
for op, make in FUNCTIONS.items():
    fn = getattr(fastnn, op)
    CASES += [
        Case(op, fn, make((3, 7)), ""),
        Case(op, fn, make((0, 7)), "empty"),
        Case(op, fn, EDGES, "edges", differences=False),
        Case(op, fn, make((3, 4099)), "big", big=True),
    ]
