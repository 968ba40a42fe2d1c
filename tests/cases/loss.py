"""Cases of op_loss.h."""

from . import Case

CASES: list[Case] = []
