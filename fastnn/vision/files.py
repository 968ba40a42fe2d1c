"""Image files, through Pillow."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np

from .. import _core
from .._core import Tensor
from ..errors import CorruptFileError


def pillow() -> Any:
    """PIL.Image, or an error that says how to get it."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'pictures need Pillow: pip install "fastnn-engine[vision]"') from None
    return Image


def read_image(path: str | PathLike[str], mode: str = "RGB") -> Tensor:
    """A picture file as a uint8 tensor (channels, rows, columns); mode: "RGB", or "L" for grey.

    Errors: CorruptFileError for what is no picture, FileNotFoundError, ModuleNotFoundError
    without Pillow. A picture of more than 178 million pixels is refused, as Pillow does.
    """
    image = pillow()
    if mode not in ("RGB", "L", "RGBA"):
        raise ValueError(f"read_image: mode: got {mode!r}; need 'RGB', 'RGBA' or 'L'")
    try:
        with image.open(path) as file:
            pixels = np.asarray(file.convert(mode))
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except (OSError, SyntaxError, ValueError, image.DecompressionBombError) as e:
        raise CorruptFileError(f"read_image: {path}: got no readable picture ({e}); need a picture "
                               "file that Pillow opens") from None
    return _core.tensor(np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1)))
