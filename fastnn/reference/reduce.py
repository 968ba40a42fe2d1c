"""NumPy twins of op_reduce.h."""
