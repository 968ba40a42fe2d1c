"""Cases of op_movement.h."""

from . import Case

CASES: list[Case] = []
