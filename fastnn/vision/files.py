"""Image files, through Pillow: its decoders of the formats named here and no others."""

from __future__ import annotations

import os
import stat
from os import PathLike
from typing import Any

import numpy as np

from .. import _core, limits
from .._core import Tensor
from ..errors import CorruptFileError, DTypeError, LimitError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
_DIRECT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")    # modes that convert to any of ours


def pillow() -> Any:
    """PIL.Image, or an error that says how to get it."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'pictures need Pillow: pip install "fastnn-engine[vision]"') from None
    return Image


def read_image(path: str | PathLike[str], mode: str = "RGB") -> Tensor:
    """A picture file as a uint8 tensor (channels, rows, columns), upright as its EXIF tag says.

    mode: "RGB", "RGBA", or "L" for grey. PNG, JPEG, GIF, BMP, TIFF, WebP and PNM are read, whatever
    the file's name ends in, and of several frames the first. Sixteen bits are rounded to eight, by
    Pillow cut off where there are several channels. "RGB" and "L" leave transparency out: what is
    seen through has the colour that the file keeps for it.

    Errors: CorruptFileError for what is no such picture or ends too early, DTypeError for pixels
    that are neither 8 nor 16 bits, LimitError beyond 2 PIL.Image.MAX_IMAGE_PIXELS, MemoryError
    beyond `fastnn.limits`, OSError as the disk says, ModuleNotFoundError without Pillow.
    """
    if mode not in ("RGB", "L", "RGBA"):
        raise ValueError(f"read_image: mode: got {mode!r}; need 'RGB', 'RGBA' or 'L'")
    pixels = np.asarray(open_image("read_image", path, mode))
    return _core.tensor(np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1)))


def open_image(name: str, path: str | PathLike[str], mode: str) -> Any:
    """The PIL image that `read_image` is about.

    Pillow gets an open file, not a path: a path it may map into memory, where a file that becomes
    shorter is a SIGBUS; mapped TIFFs on their side it reads in the wrong order, too.
    """
    image = pillow()
    where = f"{name}: {os.fspath(path)}"
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(f"{where}: got no regular file; need a picture file")
    try:
        with open(path, "rb") as f, image.open(f, formats=FORMATS) as file:
            size, room = 4 * file.width * file.height, limits.max_bytes() - _core.live_bytes()
            if limits.max_bytes() and room < size:
                raise MemoryError(f"{where}: got {file.width} x {file.height} pixels, {size} "
                                  f"bytes; need {max(room, 0)} at most")
            if file.mode == "F" or file.mode == "I" and file.format not in ("PNG", "PPM"):
                raise DTypeError(f"{where}: got pixels of Pillow's mode {file.mode!r}; need 8 or "
                                 "16 bits for each channel: scale them and save as PNG")
            return _converted(_upright(file), mode)
    except (MemoryError, DTypeError):
        raise
    except image.DecompressionBombError as e:
        raise LimitError(f"{where}: got too many pixels ({e}); need fewer, or a larger "
                         "PIL.Image.MAX_IMAGE_PIXELS if you trust the file") from None
    except Exception as e:          # decoders of damaged files raise whatever they stumble over
        if isinstance(e, OSError) and e.errno is not None:
            raise
        raise CorruptFileError(f"{where}: got no readable picture ({e}); need a whole file in one "
                               f"of the formats {', '.join(FORMATS)}") from None


def _upright(file: Any) -> Any:
    """The decoded image, turned and mirrored as its EXIF orientation says."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(file)


def _converted(picture: Any, mode: str) -> Any:
    """An image of 8 bits in this mode."""
    if picture.mode.startswith("I"):            # 16 bits, which convert() cuts off at 255
        wide = np.asarray(picture, np.uint32)
        picture = pillow().fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")       # as Pillow asks
    elif picture.mode not in _DIRECT:
        picture = picture.convert("RGB")
    return picture.convert(mode)
