"""NumPy twins of op_pointwise.h."""
