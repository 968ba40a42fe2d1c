"""Augmentation of whole batches, with the names of torchvision.transforms.v2.

A transform takes images (N, C, H, W), or one image (C, H, W), float32; every image of a batch gets
its own draw, where torchvision draws once for a batch. Labels given behind the images pass through.
The result follows from `fastnn.manual_seed` (or the `generator` given), whatever the number of
threads.

>>> import fastnn
>>> from fastnn.vision import transforms
>>> augment = transforms.Compose([transforms.RandomRotation(10), transforms.RandomErasing()])
>>> x, y = augment(fastnn.rand(8, 1, 28, 28), fastnn.arange(8))
>>> x.shape
(8, 1, 28, 28)
"""

from .base import Compose, InterpolationMode, Normalize, RandomApply, ToDtype, Transform
from .color import ColorJitter, GaussianNoise, Grayscale
from .cropping import CenterCrop, Pad, RandomCrop, RandomResizedCrop, Resize
from .geometric import RandomAffine, RandomHorizontalFlip, RandomRotation, RandomVerticalFlip
from .mixing import CutMix, MixUp, RandomErasing

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "CutMix",
    "GaussianNoise",
    "Grayscale",
    "InterpolationMode",
    "MixUp",
    "Normalize",
    "Pad",
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
