"""Cases of op_optim.h."""

from . import Case

CASES: list[Case] = []
