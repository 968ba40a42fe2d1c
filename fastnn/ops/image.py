"""What augmentation is made of: batches of images warped by affine maps, rectangles replaced.

Used by `fastnn.vision.transforms`, which checks the images; maps and boxes are its own.
"""

from __future__ import annotations

import numpy as np

from .._core import OPS, Tensor, as_tensor, call
from ..errors import LimitError

WARP, PASTE = OPS["warp"], OPS["paste"]


def warp(
    x: Tensor, maps: np.ndarray, size: tuple[int, int], *, boxes: np.ndarray | None = None,
    nearest: bool = False, border: bool = False, fill: float = 0.0,
) -> Tensor:
    """Images whose pixel (row i, column j) is x at column a j + b i + e and row d j + f i + g.

    x: (N, C, H, W) float32; maps: (N, 6), a b e d f g; size: rows and columns of the result; boxes:
    (N, 4), the first and last column and row of each image that count, the whole image if None.
    Between pixels four are interpolated, or the nearest is taken. Beyond the box is `fill`, or with
    `border` the nearest pixel of the box.
    """
    n, c, h, w = x.shape
    if max(h, w, *size) > 2**24 or h * w >= 2**31:      # places are float32, addresses int32
        raise LimitError(f"warp: got images of {h} x {w} pixels for {size[0]} x {size[1]}; "
                         "need at most 2**24 a side and 2**31 - 1 in all")
    if boxes is None:
        boxes = np.tile([0, w - 1, 0, h - 1], (n, 1))
    tables = [as_tensor(np.ascontiguousarray(a, np.float32)) for a in (maps, boxes)]
    return call(WARP, (x, *tables), ((n, c, *size),),
                (n, c, h, w, *size, int(nearest), int(border)), (fill,))


def paste(x: Tensor, other: Tensor, boxes: np.ndarray) -> Tensor:
    """x with other inside the box of each image.

    x: (N, C, H, W); other: the same shape, or one number; boxes: (N, 4) integers, the first column
    and the one after the last, the first row and the one after the last; no area = nothing.
    """
    n, c, h, w = x.shape
    table = as_tensor(np.ascontiguousarray(boxes, np.int64))
    return call(PASTE, (x, other, table), (x.shape,), (n, c, h, w, int(other.numel() == 1)))
