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
    for antialias in (True, False):
        want = torch.nn.functional.interpolate(torch.tensor(x), size, mode="bilinear",
                                               align_corners=False, antialias=antialias).numpy()
        got = T.Resize(size, antialias=antialias)(x).numpy()
        np.testing.assert_allclose(got, want, atol=1e-5)
    want = torch.nn.functional.interpolate(torch.tensor(x), size).numpy()
    np.testing.assert_array_equal(T.Resize(size, "nearest")(x).numpy(), want)


@pytest.mark.parametrize("antialias", [True, False])
def test_resized_crops_are_interpolate(antialias):
    """The box is found by colours that are its columns and rows."""
    x = np.random.default_rng(0).random((30, 3, 33, 26), np.float32)
    x[:, 0], x[:, 1] = np.arange(26), np.arange(33)[:, None]
    fastnn.manual_seed(0)
    got = T.RandomResizedCrop((8, 5), antialias=antialias)(x).numpy()
    fastnn.manual_seed(0)
    boxes = T.RandomResizedCrop((8, 5), interpolation="nearest")(x).numpy().astype(int)
    seen = 0
    for image, box, y in zip(x, boxes, got, strict=True):
        left, top = box[0, 0, 0], box[1, 0, 0]
        middle = np.mean(y[0, 0, [0, -1]]), np.mean(y[1, [0, -1], 0])   # of a box, when shrunk
        w, h = (round(2 * (m - at)) + 1 for m, at in zip(middle, (left, top), strict=True))
        if w < 5 or h < 8:
            continue
        seen += 1
        part = torch.tensor(image[None, :, top:top + h, left:left + w])
        want = torch.nn.functional.interpolate(part, (8, 5), mode="bilinear", antialias=antialias)
        np.testing.assert_allclose(y, want[0].numpy(), atol=2e-5)
    assert seen > 15


def pairs():
    """(name, a function of the functional module, shape of its input)"""
    yield "nearest", lambda F, x: F.interpolate(x, (7, 20)), (2, 3, 11, 8)
    yield "nearest-factor", lambda F, x: F.interpolate(x, scale_factor=1.7), (2, 3, 11, 8)
    yield "nearest-1d", lambda F, x: F.interpolate(x, 5), (2, 3, 11)
    yield "bilinear", lambda F, x: F.interpolate(x, (7, 20), mode="bilinear"), (2, 3, 11, 8)
    yield ("factor", lambda F, x: F.interpolate(x, scale_factor=(1.3, 0.6), mode="bilinear"),
           (2, 3, 11, 8))
    yield ("recomputed", lambda F, x: F.interpolate(
        x, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True), (2, 3, 11, 8))
    yield ("corners", lambda F, x: F.interpolate(x, (7, 20), mode="bilinear", align_corners=True),
           (2, 3, 11, 8))
    yield "linear", lambda F, x: F.interpolate(x, 20, mode="linear"), (2, 3, 11)
    yield "shuffle", lambda F, x: F.pixel_shuffle(x, 2), (2, 12, 3, 5)
    yield "unshuffle", lambda F, x: F.pixel_unshuffle(x, 2), (2, 3, 4, 6)
    yield "unfold", lambda F, x: F.unfold(x, (2, 3), (2, 1), (1, 0), (2, 1)), (2, 2, 6, 7)
    yield "fold", lambda F, x: F.fold(x, (6, 7), (2, 3), (2, 1), (1, 0), (2, 1)), (2, 12, 15)
    for mode in ("constant", "reflect", "replicate", "circular"):
        yield mode, lambda F, x, mode=mode: F.pad(x, (1, 2, 3, 0), mode), (2, 3, 5, 4)


@pytest.mark.parametrize("name, f, shape", list(pairs()), ids=[p[0] for p in pairs()])
def test_functions_are_torchs(name, f, shape):
    """Forward and backward; sums of a few products each."""
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    ours, theirs = fastnn.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = f(fastnn.nn.functional, ours), f(torch.nn.functional, theirs)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), atol=2e-6)
    (y * y).sum().backward()
    (z * z).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), atol=2e-5)


# ---------------------------------------------------------------- dropout of channels

DROPPED = [("dropout2d", (64, 50, 3, 4)), ("dropout2d", (64, 50, 7)), ("dropout2d", (64, 50)),
           ("dropout1d", (64, 50, 7)), ("dropout1d", (800, 7))]


@pytest.mark.filterwarnings("ignore:dropout2d")         # torch's word on inputs without four axes
@pytest.mark.parametrize("name, shape", DROPPED, ids=str)
def test_dropped_channels_are_torchs(name, shape):
    """What is dropped together, the values of the rest, their part, and gradients."""
    x = (1 + np.random.default_rng(0).random(shape)).astype("float32")
    masks = []
    for lib in (fastnn, torch):
        lib.manual_seed(0)
        t = lib.tensor(x, requires_grad=True)
        y = getattr(lib.nn.functional, name)(t, 0.25)
        y.sum().backward()
        factor = y.detach().numpy() / x
        np.testing.assert_array_equal(t.grad.numpy() != 0, factor != 0)
        np.testing.assert_allclose(factor[factor != 0], 4 / 3, rtol=1e-6)
        masks.append(factor != 0)
    axes = tuple(range(1 if shape == (800, 7) else 2, len(shape)))
    for mask in masks:
        together = mask.mean(axes)
        assert set(np.unique(together)) == {0, 1}
        sigma = np.sqrt(0.25 * 0.75 / together.size)
        assert abs(together.mean() - 0.75) < 5 * sigma


@pytest.mark.filterwarnings("ignore:dropout2d")
@pytest.mark.parametrize("name, shape", DROPPED, ids=str)
def test_dropout_of_channels_at_its_ends_is_torchs(name, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    x.reshape(-1)[:3] = np.nan, np.inf, -np.inf
    for p, training in ((0.0, True), (0.5, False), (1.0, True), (1.0, False)):
        got, want = (getattr(lib.nn.functional, name)(lib.tensor(x), p, training).numpy()
                     for lib in (fastnn, torch))
        np.testing.assert_array_equal(got, want)


@pytest.mark.filterwarnings("ignore:dropout2d")
@pytest.mark.parametrize("name, shape", [("dropout2d", (4,)), ("dropout1d", (2, 3, 4, 5)),
                                         ("dropout1d", (4,))])
def test_dropout_of_channels_refuses_what_torch_does(name, shape):
    for lib, error in ((fastnn, ValueError), (torch, RuntimeError)):
        with pytest.raises(error):
            getattr(lib.nn.functional, name)(lib.ones(*shape), 0.5)
