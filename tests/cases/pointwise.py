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
EDGES = values([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e38, -1e38, 2.0])


def integers(*shapes, low=-9, high=10):
    return lambda rng: tuple(rng.integers(low, high, s) for s in shapes)


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
    Case("remainder", fastnn.remainder,
         values([7.5, -7.5, 7.5, -7.5, 10.3, 0.1], [2, 2, -2, -2, 3.7, 7])),
    Case("remainder", fastnn.remainder,
         values([1, -1, np.inf, 2, -2, np.nan, -3], [0, 0, 2, np.inf, np.inf, 1, 3]),
         "edges", differences=False),
    Case("floor_divide", fastnn.floor_divide,
         values([7.5, -7.5, 7.5, -7.5, 10.3, 0.1], [2, 2, -2, -2, 3.7, 7])),
    Case("floor_divide", fastnn.floor_divide,
         values([1, -1, 0, 9, -2, np.nan, -9], [0, 0, 0, 3, np.inf, 1, 3]),
         "edges", differences=False),
]
for op in ("maximum", "minimum"):
    fn = getattr(fastnn, op)
    CASES += [
        Case(op, fn, apart((4, 5), (4, 5))),
        Case(op, fn, apart((4, 5), (5,)), "bias"),
        Case(op, fn, values(*TIES), "edges", differences=False),
    ]
for op in ("eq", "ne", "lt", "le", "gt", "ge"):
    fn = getattr(fastnn, op)
    CASES += [
        Case(op, fn, values(*TIES), "edges", grad=False),
        Case(op, fn, randn((5, 37), (37,)), "bias", grad=False),
        Case(op, fn, randn((40, 301), ()), "big-scalar", grad=False, big=True),
        Case("int_compare", fn, integers((5, 37), (37,)), op, grad=False),
    ]


def unary_cases(fn, op, make=randn, **options):
    """A function of one tensor: plain, empty, at its edges, and longer than a task."""
    return [
        Case(op, fn, make((3, 7)), **options),
        Case(op, fn, make((0, 7)), "empty", **options),
        Case(op, fn, EDGES, "edges", differences=False, **options),
        Case(op, fn, make((3, 4099)), "big", big=True, **options),
    ]


FUNCTIONS = {
    "neg": randn, "abs": apart, "sign": apart, "exp": randn, "expm1": randn, "log": positive,
    "log1p": positive, "sqrt": positive, "rsqrt": positive, "reciprocal": positive,
    "square": randn, "log2": positive, "log10": positive, "erf": randn, "floor": apart,
    "ceil": apart, "round": apart,
}
for op, make in FUNCTIONS.items():
    CASES += unary_cases(getattr(fastnn, op), op, make)
for op in ("sin", "cos"):
    fn = getattr(fastnn, op)
    CASES += [
        Case(op, fn, randn((3, 7))),
        Case(op, fn, values([0.0, -0.0, 1e4, np.inf, np.nan]), "edges", differences=False),
        Case(op, fn, randn((3, 4099)), "big", big=True),
    ]
CASES += unary_cases(lambda x: fastnn.clamp(x, -1.5, 1.25), "clamp", apart)
CASES += [
    Case("clamp", lambda x: fastnn.clamp(x, min=0.25), apart((3, 7)), "from-below"),
    Case("clamp", lambda x: fastnn.clamp(x, max=0.25), apart((3, 7)), "from-above"),
    Case("fill", lambda x: (x + 0).fill_(2.5), randn((3, 7))),
]


def conditions(cond, *shapes):
    """A boolean input and float ones."""
    return lambda rng: (rng.random(cond) < 0.5,
                        *[rng.standard_normal(s).astype(np.float32) for s in shapes])


for name, shapes in {
    "same": ((3, 5), (3, 5), (3, 5)),
    "mask-row": ((5,), (3, 5), (3, 5)),
    "mask-column": ((3, 1), (3, 5), (3, 5)),
    "numbers": ((3, 5), (), ()),
    "outer": ((3, 1), (1, 5), ()),
    "four-axes": ((2, 1, 3, 1), (1, 3, 1, 2), (2, 3, 3, 2)),
    "six-axes": ((2, 1, 2, 1, 2, 1), (1, 2, 1, 2, 1, 2), (2,)),
    "empty": ((0, 5), (5,), (0, 5)),
}.items():
    CASES.append(Case("where", fastnn.where, conditions(*shapes), name))
for name, shapes in {
    "same": ((130, 67), (130, 67), (130, 67)),
    "bias": ((3001, 10), (10,), (3001, 10)),
    "numbers": ((70, 301), (), ()),
}.items():
    CASES.append(Case("where", fastnn.where, conditions(*shapes), f"big-{name}", big=True))
CASES += [
    Case("int_where", fastnn.where, lambda rng: (
        rng.random((4, 1)) < 0.5, rng.integers(0, 9, (4, 5)), rng.integers(0, 9, 5)), grad=False),
    Case("int_arithmetic", lambda a, b: a & b,
         lambda rng: (rng.random(9) < 0.5, rng.random(9) < 0.5), "bool", grad=False),
]
INTEGER = {
    "add": fastnn.add, "sub": fastnn.sub, "mul": fastnn.mul, "floor_divide": fastnn.floor_divide,
    "remainder": fastnn.remainder, "maximum": fastnn.maximum, "minimum": fastnn.minimum,
    "and": fastnn.bitwise_and, "or": fastnn.bitwise_or, "xor": fastnn.bitwise_xor,
}
CASES += [Case("int_arithmetic", fn, integers((20, 37), (37,)), n, grad=False)
          for n, fn in INTEGER.items()]

WILD = np.array([0, 1.5, -1.5, 254.9, 255, 256, -0.5, 2**31 - 128, 2**31, -(2**31),
                 -(2**31) - 256, 2**63, -(2**63), 1e38, -1e38, np.inf, -np.inf, np.nan], np.float32)
WHOLE = np.array([0, 1, -1, 255, 256, 2**24 + 1, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63)])
TYPES = ("float32", "int64", "int32", "uint8", "bool", "float64", "float16", "int8", "int16")
# Of float16: ties at the last place, the largest and what rounds beyond it, the smallest.
FINE = np.array([1 + 2**-11, 1 + 3 * 2**-11, -(1 + 2**-11 + 2**-30), 65519, 65520, -65536, 2**-14,
                 2**-14 - 2**-26, 2**-24, 3 * 2**-25, 2**-25, -(2**-25) - 2**-40, -0.0, 127.9,
                 -128.9, 32767.5, -32768.5, 2**53 + 2, 2**62 + 2**10, *WILD])
for source in TYPES:
    for target in TYPES:
        with np.errstate(over="ignore"):
            data = (FINE if source.startswith("float") else WHOLE).astype(source)
        if source != target:
            CASES.append(Case("cast", lambda x, to=target: x.to(to), lambda rng, d=data: (d,),
                              f"{source}-{target}", grad=False, exact=True))
CASES += [
    Case("cast", lambda x: x.double(), randn((3, 7)), "gradient-float32-float64"),
    Case("cast", lambda x: x.double().float(), randn((3, 1371)), "gradient-float64-float32",
         big=True),
    Case("cast", lambda x: x.half(), randn((3, 7)), "gradient-float32-float16", differences=False,
         exact=True),
    Case("cast", lambda x: fastnn.zeros(3, 7).copy_(x), randn((3, 7)), "copy"),
    Case("cast", lambda x: fastnn.zeros(3, 4099).copy_(x), randn((3, 4099)), "big-copy", big=True),
]
