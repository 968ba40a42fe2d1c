"""Cases of op_activation.h."""

from . import Case

CASES: list[Case] = []
