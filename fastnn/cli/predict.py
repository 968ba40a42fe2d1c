"""Classify one image file with a saved model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .. import from_numpy, inference_mode, load, models
from ..errors import CorruptFileError
from ..nn import functional as F
from ..serialization import load_metadata
from ..vision.files import open_image, pillow


def predict_image(model_path: Path, image_path: Path) -> list[tuple[str, float]]:
    """(class, probability) pairs, likeliest first."""
    about = read_description(model_path)
    model = models.create(about["model"], **about["config"])
    model.load_state_dict(load(model_path))
    model.eval()
    x = from_numpy(read_image(image_path, about["image"], about["box"]))
    with inference_mode():
        p = F.softmax(model(x), dim=1).numpy()[0]
    return sorted(zip(about["classes"], p.tolist(), strict=True), key=lambda pair: -pair[1])


def read_description(path: Path) -> dict[str, Any]:
    """The model, image and class description that training stored in the file."""
    text = load_metadata(path).get("fastnn")
    try:
        about = json.loads(text or "")
        channels, height, width = image = tuple(int(size) for size in about["image"])
        box = int(about["box"])
        if not (about["model"] in models.REGISTRY and isinstance(about["config"], dict)
                and channels == 1 and 1 <= box <= min(height, width)
                and max(height, width) <= 4096):
            raise ValueError
        return {**about, "image": image, "box": box, "classes": [str(c) for c in about["classes"]]}
    except (ValueError, KeyError, TypeError):
        raise CorruptFileError(
            f"{path}: got no usable model description; need a file written by fastnn train"
        ) from None


def read_image(path: Path, image: tuple[int, int, int], box: int) -> np.ndarray:
    """A picture as (1, 1, H, W) in [0, 1], framed as MNIST is.

    That is: light strokes on dark ground, the longer side of the ink `box` pixels long, the centre
    of its mass in the middle.
    """
    Image, gray = pillow(), open_image("predict", path, "L")
    from PIL import ImageOps

    pixels = np.asarray(gray)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if border.mean() > 127:                             # dark ink on light paper
        gray = ImageOps.invert(gray)
    gray = ImageOps.autocontrast(gray)
    ink = gray.point(lambda value: 255 * (value > 127)).getbbox()
    if ink is None:
        raise ValueError(f"{path}: got an empty picture; need one of a digit")
    digit = ImageOps.contain(gray.crop(ink), (box, box), Image.Resampling.BOX)
    return _centred(np.asarray(digit, np.float32) / 255, image[1:])[None, None]


def _centred(digit: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """digit on an empty ground of this shape, the centre of its mass as near the middle as fits."""
    ground = np.zeros(shape, np.float32)
    corner = []
    for axis, (length, room) in enumerate(zip(digit.shape, shape, strict=True)):
        mass = digit.sum(1 - axis)
        centre = float(mass @ np.arange(length) / mass.sum())
        corner.append(min(max(round((room - 1) / 2 - centre), 0), room - length))
    top, left = corner
    ground[top:top + digit.shape[0], left:left + digit.shape[1]] = digit
    return ground


def write_sample(path: Path, pixels: np.ndarray) -> None:
    """One image (1, H, W) in [0, 1] as a picture: dark squares on light ground."""
    paper = np.pad(np.uint8(255 - 255 * pixels[0]), 2, constant_values=255)
    pillow().fromarray(paper).resize((240, 240), pillow().Resampling.NEAREST).save(path)
