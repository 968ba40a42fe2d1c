"""Cases of op_activation.h."""

import fastnn

from . import Case, randn
from .pointwise import EDGES, apart

CASES: list[Case] = []
FUNCTIONS = {"relu": apart, "sigmoid": randn, "tanh": randn}
for op, make in FUNCTIONS.items():
    fn = getattr(fastnn, op)
    CASES += [
        Case(op, fn, make((3, 7)), ""),
        Case(op, fn, make((0, 7)), "empty"),
        Case(op, fn, EDGES, "edges", differences=False),
        Case(op, fn, make((3, 4099)), "big", big=True),
    ]
