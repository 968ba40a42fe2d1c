"""Cases of op_random.h. Draws are bit-equal to the twin, but for the functions of normal.

Sizes cross a vector (16), a block (64) and a task (1024).
"""

import numpy as np

import fastnn
from fastnn.nn import functional as F

from . import Case, randn


def nothing(rng):
    return ()


def drop(p):
    return lambda x: F.dropout(x, p)


def probabilities(*shape):
    return lambda rng: (rng.random(shape, np.float32),)


def below(low, high, n):
    return lambda: fastnn.randint(low, high, (n,))


CASES = [
    *(Case("uniform", lambda n=n: fastnn.rand(n), nothing, f"{n}", exact=True)
      for n in (0, 1, 15, 16, 17, 63, 64, 65, 1023, 1025, 40001)),
    Case("uniform", lambda: fastnn.uniform(-3.7, 11.1, (5, 7)), nothing, "bounds", exact=True),
    Case("uniform", lambda: fastnn.rand(()), nothing, "scalar", exact=True),
    Case("uniform", lambda x: x.uniform_(-1, 1), randn((3, 4)), "fill", grad=False, exact=True),
    *(Case("normal", lambda n=n: fastnn.randn(n), nothing, f"{n}") for n in (0, 1, 17, 65, 5001)),
    Case("normal", lambda: fastnn.normal(2.5, 0.02, (9, 11)), nothing, "parameters"),
    Case("normal", lambda x: x.normal_(1, 3), randn((3, 4)), "fill", grad=False),
    Case("bernoulli", fastnn.bernoulli, probabilities(7, 11), "tensor", exact=True),
    Case("bernoulli", fastnn.bernoulli, probabilities(0), "none", exact=True),
    Case("bernoulli", lambda x: x.bernoulli_(0.3), randn((130,)), "number", grad=False, exact=True),
    Case("bernoulli", lambda x, p: x.bernoulli_(p), lambda rng: (
        np.zeros((3, 5), np.float32), rng.random((3, 5), np.float32)), "fill", grad=False,
        exact=True),
    Case("randint", below(0, 10, 1000), nothing, "10"),
    Case("randint", below(-5, 6, 33), nothing, "negative"),
    Case("randint", below(-(2**63), 2**63, 2100), nothing, "all"),
    Case("randint", below(-(2**62), 2**62 + 12345678901, 65), nothing, "wide"),
    Case("randint", below(3, 4, 7), nothing, "one"),
    Case("randint", below(0, 5, 0), nothing, "none"),
    Case("randint", lambda: fastnn.randperm(50), nothing, "permutation"),
    Case("dropout", drop(0.5), randn((6, 7)), exact=True),
    Case("dropout", drop(0.1), randn((33,)), "odd"),
    Case("dropout", drop(1.0), randn((20,)), "all", exact=True),
    Case("dropout", drop(0.3), randn((0, 3)), "none"),
    Case("dropout", drop(0.3), randn((41, 1003)), "big", big=True),
]
