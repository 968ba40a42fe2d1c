"""Augmentation of whole batches, with the names of torchvision.transforms.v2.

A transform takes images (N, C, H, W), or one image (C, H, W), float32; every image of a batch gets
its own draw. Labels given behind the images pass through. The result follows from
`fastnn.manual_seed` (or the `generator` given), whatever the number of threads.

>>> import fastnn
>>> from fastnn.vision import transforms
>>> augment = transforms.Compose([transforms.RandomRotation(10), transforms.RandomErasing()])
>>> x, y = augment(fastnn.rand(8, 1, 28, 28), fastnn.arange(8))
>>> x.shape
(8, 1, 28, 28)
"""

from .base import Compose, Normalize, RandomApply, ToDtype, Transform
from .color import ColorJitter, GaussianNoise, Grayscale
from .geometric import (
    CenterCrop,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
)
from .mixing import CutMix, MixUp, RandomErasing

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "CutMix",
    "GaussianNoise",
    "Grayscale",
    "MixUp",
    "Normalize",
    "RandomAffine",
    "RandomApply",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomVerticalFlip",
    "Resize",
    "ToDtype",
    "Transform",
]
