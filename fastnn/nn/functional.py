"""The ops as functions, under the names of torch.nn.functional."""

from ..ops import linear

__all__ = ["linear"]
