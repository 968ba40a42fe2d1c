"""NumPy twins of op_random.h."""
