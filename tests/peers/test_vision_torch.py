"""Warping and resizing against torch's grid_sample and interpolate."""

import numpy as np
import pytest

import fastnn
from fastnn.ops.image import warp
from fastnn.vision import transforms as T

torch = pytest.importorskip("torch")


def images(n=3, c=2, h=11, w=8):
    return np.random.default_rng(0).random((n, c, h, w), np.float32)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_warp_is_grid_sample(mode, padding):
    """Places agree to a few u of their size, values to that times the difference of neighbours."""
    x, rng = images(), np.random.default_rng(1)
    maps = np.concatenate([np.eye(2) + 0.3 * rng.standard_normal((3, 2, 2)),
                           3 * rng.standard_normal((3, 2, 1))], 2).astype(np.float32)
    j, i = np.meshgrid(np.arange(9), np.arange(13))
    pixels = np.stack([j, i, np.ones_like(i)], -1).astype("float32")
    places = np.einsum("nab,hwb->nhwa", maps, pixels)
    grid = 2 * places / np.float32([7, 10]) - 1
    want = torch.nn.functional.grid_sample(torch.tensor(x), torch.tensor(grid), mode, padding,
                                           align_corners=True).numpy()
    got = warp(fastnn.tensor(x), maps.reshape(3, 6), (13, 9), nearest=mode == "nearest",
               border=padding == "border").numpy()
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("size", [(22, 16), (7, 20), (11, 8), (1, 1)])
def test_resize_is_interpolate(size):
    x = images()
    want = torch.nn.functional.interpolate(torch.tensor(x), size, mode="bilinear",
                                           align_corners=False).numpy()
    np.testing.assert_allclose(T.Resize(size)(x).numpy(), want, atol=1e-5)
