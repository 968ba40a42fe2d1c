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


def predict_image(model_path: Path, image_path: Path) -> list[tuple[str, float]]:
    """(class, probability) pairs, likeliest first."""
    about = read_description(model_path)
    model = models.create(about["model"], **about["config"])
    model.load_state_dict(load(model_path))
    model.eval()
    x = from_numpy(read_image(image_path, tuple(about["image"])))
    with inference_mode():
        p = F.softmax(model(x), dim=1).numpy()[0]
    return sorted(zip(about["classes"], p.tolist(), strict=True), key=lambda pair: -pair[1])


def read_description(path: Path) -> dict[str, Any]:
    """The model, image and class description that training stored in the file."""
    text = load_metadata(path).get("fastnn")
    try:
        about = json.loads(text or "")
        sizes = [int(s) for s in about["image"]]
        if about["model"] not in models.REGISTRY or len(sizes) != 3 or min(sizes) < 1:
            raise ValueError
        if max(sizes) > 4096 or not isinstance(about["config"], dict):
            raise ValueError
        return {**about, "image": sizes, "classes": [str(c) for c in about["classes"]]}
    except (ValueError, KeyError, TypeError):
        raise CorruptFileError(
            f"{path}: got no usable model description; need a file written by fastnn train"
        ) from None


def read_image(path: Path, image: tuple[int, int, int]) -> np.ndarray:
    """A picture as (1, 1, H, W) in [0, 1]: light strokes on dark ground, as digit sets have them."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ModuleNotFoundError:
        raise ModuleNotFoundError('predict needs Pillow: pip install "fastnn-engine[vision]"') from None
    try:
        with Image.open(path) as picture:
            gray = picture.convert("L")
    except UnidentifiedImageError:
        raise CorruptFileError(f"{path}: got a file Pillow cannot read; need an image") from None
    _, height, width = image
    pixels = np.asarray(gray, np.float32)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if border.mean() > 127:                  # dark ink on light paper
        gray = ImageOps.invert(gray)
    gray = ImageOps.pad(gray, (width, height), Image.Resampling.LANCZOS)
    return (np.asarray(gray, np.float32) / 255)[None, None]
