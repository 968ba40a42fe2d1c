"""Cases of op_pointwise.h."""

from . import Case

CASES: list[Case] = []
