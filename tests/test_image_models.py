"""Models from images to images: shapes, gradients everywhere, bad sizes."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fastnn
from fastnn import models
from fastnn.errors import ShapeError
from fastnn.nn import functional as F


def reached(net: fastnn.nn.Module, loss: fastnn.Tensor) -> None:
    loss.backward()
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.abs().sum().item() > 0, name


@pytest.mark.parametrize("depth,width,size", [(0, 3, (5, 7)), (1, 4, (6, 4)), (3, 4, (24, 32))])
def test_unet(depth: int, width: int, size: tuple) -> None:
    net = models.create("unet", in_channels=2, num_classes=5, width=width, depth=depth)
    y = net(fastnn.randn(3, 2, *size))
    assert y.shape == (3, 5, *size)
    reached(net, F.cross_entropy(y, fastnn.randint(0, 5, (3, *size))))


@pytest.mark.parametrize("shape", [(1, 1, 30, 32), (1, 1, 32, 20), (1, 32, 32)], ids=str)
def test_unet_names_bad_sizes(shape: tuple) -> None:
    with pytest.raises(ShapeError, match="UNet: x: got"):
        models.UNet(width=2)(fastnn.zeros(shape))


def test_autoencoder() -> None:
    net = models.create("autoencoder", code=6, in_channels=3, size=16, width=4)
    x = fastnn.rand(4, 3, 16, 16)
    y = net(x)
    assert y.shape == x.shape and net.encoder(x).shape == (4, 6)
    assert 0 <= y.min().item() and y.max().item() <= 1
    reached(net, F.mse_loss(y, x))


@pytest.mark.parametrize("size", [0, -4, 30])
def test_autoencoder_names_bad_sizes(size: int) -> None:
    with pytest.raises(ValueError, match="Autoencoder: size: got"):
        models.Autoencoder(size=size)
    with pytest.raises(ShapeError):
        models.Autoencoder(width=2)(fastnn.zeros(1, 1, 32, 32))


LATE = """
import sys, fastnn
assert {"models", "vision"} <= set(dir(fastnn))
assert not any(name.startswith(("fastnn.models", "fastnn.vision")) for name in sys.modules)
fastnn.models.resnet18, fastnn.vision.transforms.RandomAffine
try:
    fastnn.nothing
except AttributeError as e:
    print(e)
"""


def test_models_and_vision_load_when_first_named() -> None:
    result = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "module 'fastnn' has no attribute 'nothing'"
