"""Transposed convolutions beyond their cases: the transpose, batches, layers."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn
from fastnn import _core, nn
from fastnn.errors import ShapeError
from fastnn.nn import functional as F

RNG = np.random.default_rng(7)


def randn(*shape: int) -> fastnn.Tensor:
    return fastnn.tensor(RNG.standard_normal(shape).astype(np.float32))


def whole(*shape: int) -> fastnn.Tensor:
    return fastnn.tensor(RNG.integers(-6, 7, shape).astype(np.float32))


@pytest.mark.parametrize("size,options", [
    ((7, 9), {}), ((7, 9), {"stride": 2, "padding": 1}), ((8, 10), {"stride": 3, "padding": 2}),
    ((12, 9), {"dilation": 2, "padding": (3, 1)}), ((8, 8), {"groups": 3, "stride": (2, 1)}),
], ids=str)
def test_it_is_the_transpose(size: tuple, options: dict) -> None:
    """<conv(x), y> = <x, transpose(y)>, without rounding for whole numbers."""
    x, w = whole(2, 6, *size), whole(9, 6 // options.get("groups", 1), 3, 3)
    y = F.conv2d(x, w, **options)
    seed = whole(*y.shape)
    least = F.conv_transpose2d(seed, w, **options).shape[2:]
    extra = tuple(n - m for n, m in zip(size, least, strict=True))
    back = F.conv_transpose2d(seed, w, **options, output_padding=extra)
    assert back.shape == x.shape
    assert (y * seed).sum().item() == (x * back).sum().item()


@pytest.mark.parametrize("options", [{"padding": 1}, {"stride": 2}, {"groups": 2}, {"groups": 6}],
                         ids=str)
def test_an_image_alone_has_the_bits_it_has_in_a_batch(options: dict) -> None:
    x, w = randn(9, 6, 11, 10), randn(6, 6 // options.get("groups", 1), 3, 3)
    together = F.conv_transpose2d(x, w, randn(6) * 0 + 0.3, **options).numpy()
    for i in range(9):
        alone = F.conv_transpose2d(x[i : i + 1], w, randn(6) * 0 + 0.3, **options).numpy()
        assert alone.tobytes() == together[i : i + 1].tobytes()


def test_an_image_twice_as_large_has_no_seams() -> None:
    """Stride 2 with kernels of 2: every output pixel is one product, at its place."""
    x, w = whole(2, 3, 4, 5), whole(3, 2, 2, 2)
    y = F.conv_transpose2d(x, w, stride=2).numpy()
    want = np.einsum("ncij,cokl->noikjl", x.numpy(), w.numpy()).reshape(2, 2, 8, 10)
    np.testing.assert_array_equal(y, want)


def test_networks_keep_images_as_they_lie() -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 2, 2))
    _core.capture(True)
    net(fastnn.randn(4, 1, 12, 12)).sum().backward()
    ops = [r[0] for r in _core.capture(False)]
    assert "turn" not in ops and ops.count("conv_transpose2d") == 1


def test_it_learns_eagerly_and_compiled() -> None:
    """The same losses, bit for bit, and smaller ones in the end."""
    x = fastnn.rand(16, 1, 8, 8)
    losses = []
    for wrap in (lambda f: f, fastnn.compile):
        fastnn.manual_seed(3)
        net = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 2, 2))
        optimizer = fastnn.optim.Adam(net.parameters(), lr=1e-2)

        @wrap
        def step(x, net=net, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), x)
            loss.backward()
            optimizer.step()
            return loss

        losses.append([step(x).item() for _ in range(30)])
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0] / 2


def test_output_size() -> None:
    up, x = nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1), randn(1, 3, 5, 5)
    assert up(x).shape == (1, 2, 9, 9)
    assert up(x, (9, 10)).shape == (1, 2, 9, 10)
    assert up(x, (1, 2, 10, 10)).shape == (1, 2, 10, 10)
    for size in ((8, 9), (9, 11), (9,)):
        with pytest.raises(ShapeError, match="ConvTranspose2d: output_size: got"):
            up(x, size)
