"""The ops as functions, under the names of torch.nn.functional."""

from ..ops import dropout, linear

__all__ = ["dropout", "linear"]
