"""NumPy twins of op_movement.h."""
