"""Cases of op_random.h."""

from . import Case

CASES: list[Case] = []
