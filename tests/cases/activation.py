"""Cases of op_activation.h."""

import numpy as np

import fastnn
from fastnn.nn import functional as F

from . import Case, randn
from .pointwise import apart, unary_cases, values


def spread(*shapes):
    """Values up to about +-12, where the functions bend and where they have flattened out."""
    return lambda rng: tuple((4 * rng.standard_normal(s)).astype(np.float32) for s in shapes)


CASES = [
    *unary_cases(F.relu, "relu", apart),
    *unary_cases(F.relu6, "hardtanh", apart),
    *unary_cases(lambda x: F.leaky_relu(x, 0.1), "leaky_relu", apart),
    *unary_cases(lambda x: F.elu(x, 1.5), "elu", spread),
    *unary_cases(F.sigmoid, "sigmoid", spread),
    *unary_cases(F.tanh, "tanh", spread),
    *unary_cases(F.silu, "silu", spread),
    *unary_cases(F.gelu, "gelu", spread),
    *unary_cases(lambda x: F.gelu(x, approximate="tanh"), "gelu_tanh", spread),
    *unary_cases(F.softplus, "softplus", spread),
    *unary_cases(F.hardsigmoid, "hardsigmoid", apart),
    *unary_cases(F.hardswish, "hardswish", apart),
    Case("softplus", lambda x: F.softplus(x, 2.0, 3.0), apart((3, 7)), "beta"),
    Case("heaviside", fastnn.heaviside, apart((3, 7), (7,))),
    Case("heaviside", fastnn.heaviside, values([0.0, -0.0, 1, -1, np.nan, np.inf], [0.5] * 6),
         "edges", differences=False),
]

INF = np.inf
ROWS = values([[0, 1, 2], [1e38, -1e38, 0], [-3e38, 3e38, 0], [-INF, -INF, -INF], [-INF, 0, 1],
               [INF, 0, 1], [np.nan, 0, 1], [INF, INF, 0]])
for op, fn in {"softmax": F.softmax, "log_softmax": F.log_softmax}.items():
    for name, shape, dim in (
        ("rows", (3, 7), 1), ("columns", (3, 7), 0), ("middle", (2, 5, 3), 1), ("one", (4, 1), 1),
        ("vector", (17,), 0), ("wide-columns", (3, 4, 33), 1), ("no-rows", (0, 3), 1),
        ("no-terms", (3, 0), 1), ("rank-0", (), 0),
    ):
        CASES.append(Case(op, lambda x, fn=fn, d=dim: fn(x, d), randn(shape), name))
    for name, shape, dim in (
        ("rows", (300, 37), 1), ("long-rows", (3, 9001), 1), ("columns", (301, 67), 0),
        ("classes", (2000, 10), 1),
    ):
        CASES.append(Case(op, lambda x, fn=fn, d=dim: fn(x, d), randn(shape), f"big-{name}",
                          big=True))
    CASES.append(Case(op, lambda x, fn=fn: fn(x, 1), ROWS, "edges", differences=False))
