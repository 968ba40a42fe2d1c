"""NumPy twins of op_loss.h."""
