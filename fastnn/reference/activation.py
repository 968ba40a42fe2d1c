"""NumPy twins of op_activation.h."""
