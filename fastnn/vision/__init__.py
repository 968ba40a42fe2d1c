"""Images: `transforms` prepares and augments whole batches, `read_image` opens files."""

from . import transforms
from .files import read_image

__all__ = ["read_image", "transforms"]
