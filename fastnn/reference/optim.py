"""NumPy twins of op_optim.h."""
