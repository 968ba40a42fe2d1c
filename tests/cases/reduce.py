"""Cases of op_reduce.h."""

from . import Case

CASES: list[Case] = []
