"""Convolutions beyond their cases: exact sums, batches, the order images lie in."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn
from fastnn import _core, reference
from fastnn.errors import GraphError
from fastnn.nn import functional as F

PLANES = 16                     # CONV_PLANES of csrc/op_conv.h
RNG = np.random.default_rng(3)


def randn(*shape: int) -> fastnn.Tensor:
    return fastnn.tensor(RNG.standard_normal(shape).astype(np.float32))


def whole(*shape: int) -> np.ndarray:
    return RNG.integers(-6, 7, shape).astype(np.float32)


@pytest.mark.parametrize("options", [
    {}, {"padding": 1}, {"padding": 2, "stride": 2}, {"dilation": 2}, {"groups": 3},
    {"stride": (3, 2), "padding": (1, 4)}], ids=str)
def test_gradients_of_whole_numbers_are_exact(options: dict) -> None:
    """Sums below 2**24 have no rounding: not one term may be missing."""
    x, w = whole(3, 12, 15, 14), whole(21, 12 // options.get("groups", 1), 3, 4)
    xt, wt = fastnn.tensor(x).requires_grad_(), fastnn.tensor(w).requires_grad_()
    _core.capture(True)
    y = F.conv2d(xt, wt, **options)
    (dim,) = [r[4] for r in _core.capture(False) if r[0] == "conv2d"]
    seed = whole(*y.shape)
    y.backward(fastnn.tensor(seed))
    _, twin = reference.table(["conv2d"])["conv2d"]
    planes = dim[15] & 16
    wide = [a.astype(np.float64) for a in
            (x if planes else x.transpose(0, 2, 3, 1), w, seed.transpose(0, 2, 3, 1))]
    want = [True, True, *[False] * 4]
    dx, dw, *_ = twin([*wide[:2], *[None] * 4], [None], wide[2:], want, dim, [])
    np.testing.assert_array_equal(xt.grad.numpy(), dx if planes else dx.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(wt.grad.numpy(), dw)


@pytest.mark.parametrize("options", [{"padding": 1}, {"stride": 2}, {"groups": 2}], ids=str)
def test_an_image_alone_has_the_bits_it_has_in_a_batch(options: dict) -> None:
    x, w, b = randn(9, 6, 11, 10), randn(14, 6 // options.get("groups", 1), 3, 3), randn(14)
    together = F.conv2d(x, w, b, **options).numpy()
    for i in range(9):
        alone = F.conv2d(x[i : i + 1], w, b, **options).numpy()
        assert alone.tobytes() == together[i : i + 1].tobytes()


def of_both_orders(x: np.ndarray, w: np.ndarray, **options: int) -> list[list[bytes]]:
    """y, dx and dw of a plain image, and of one that lies channels last."""
    results = []
    for plain in (True, False):
        xt, wt = fastnn.tensor(x).requires_grad_(), fastnn.tensor(w).requires_grad_()
        image = xt if plain else _core.from_channels_last(_core.channels_last(xt))
        _core.capture(True)
        y = F.conv2d(image, wt, **options)
        (dim,) = [r[4] for r in _core.capture(False) if r[0] == "conv2d"]
        assert bool(dim[15] & PLANES) == plain
        y.backward(fastnn.tensor(np.random.default_rng(1).standard_normal(y.shape).astype("f4")))
        results.append([a.numpy().tobytes() for a in (y.detach(), xt.grad, wt.grad)])
    return results


@pytest.mark.parametrize("x,w,options", [
    ((3, 20, 7, 9), (33, 20, 1, 1), {}), ((1, 300, 14, 14), (64, 300, 1, 1), {}),
    ((2, 6, 4, 5), (4, 3, 1, 1), {"groups": 2}), ((3, 3, 9, 20), (20, 3, 3, 3), {"padding": 1}),
    ((2, 4, 17, 9), (6, 2, 4, 3), {"groups": 2, "stride": 2, "padding": 2}),
    ((2, 3, 21, 30), (33, 3, 7, 7), {"stride": 2, "padding": 3}),
    ((3, 21, 9, 45), (21, 1, 3, 3), {"groups": 21, "padding": 1}),
    ((2, 32, 3, 13), (32, 1, 3, 3), {"groups": 32, "padding": 3}),
    ((2, 18, 11, 28), (18, 1, 5, 5), {"groups": 18, "padding": 2}),
    ((2, 3, 8, 30), (3, 1, 7, 7), {"groups": 3, "padding": 1}),
], ids=str)
def test_planes_and_pixels_have_the_same_bits(x: tuple, w: tuple, options: dict) -> None:
    """y, dx and, but for depthwise kernels, dw do not depend on the order an image lies in."""
    planes, pixels = of_both_orders(randn(*x).numpy(), randn(*w).numpy(), **options)
    assert planes[:2] == pixels[:2]
    assert options.get("groups", 1) > 2 or planes[2] == pixels[2]    # depthwise: sums of lanes


def wide_conv(x: fastnn.Tensor, w: fastnn.Tensor) -> np.ndarray:
    """A 3×3 convolution with padding 1 in float64."""
    x = np.pad(x.numpy().astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, w.numpy().astype(np.float64), optimize=True)


def test_winograd_errors_and_the_exact_switch() -> None:
    """Root mean square of the error over that of the outputs: 2.5e-6, and 1e-6 without."""
    x, w = randn(3, 64, 14, 15), randn(48, 64, 3, 3)
    want = wide_conv(x, w)
    scale = np.sqrt((want**2).mean())

    def error() -> float:
        return float(np.sqrt(((F.conv2d(x, w, padding=1).numpy() - want) ** 2).mean()) / scale)

    assert error() < 2.5e-6
    with fastnn.exact_conv():
        exact = F.conv2d(x, w, padding=1).numpy()
        assert fastnn.exact_conv.on and error() < 1e-6
    assert not fastnn.exact_conv.on
    fastnn.exact_conv(True)
    try:
        assert F.conv2d(x, w, padding=1).numpy().tobytes() == exact.tobytes()
    finally:
        fastnn.exact_conv(False)


@pytest.mark.parametrize("channels,size,stride,padding", [
    (3, 7, 2, 3), (3, 11, 4, 2), (3, 5, 2, 2), (8, 6, 2, 0), (2, 8, 3, 1)])
def test_errors_of_winograd_over_blocks_of_pixels(
    channels: int, size: int, stride: int, padding: int
) -> None:
    """A stride over few channels: the bounds of the transform, and an image alone has its bits."""
    x, w = randn(5, channels, 49, 52), randn(48, channels, size, size)
    padded = np.pad(x.numpy().astype(np.float64), ((0, 0), (0, 0), *[(padding, padding)] * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
    want = np.einsum("nchwij,ocij->nohw", windows[:, :, ::stride, ::stride],
                     w.numpy().astype(np.float64), optimize=True)

    def error() -> float:
        y = F.conv2d(x, w, stride=stride, padding=padding).numpy()
        return float(np.sqrt(((y - want) ** 2).mean() / (want**2).mean()))

    assert error() < 2.5e-6
    with fastnn.exact_conv():
        assert error() < 1e-6
    together = F.conv2d(x, w, stride=stride, padding=padding).numpy()
    for i in range(5):
        alone = F.conv2d(x[i : i + 1], w, stride=stride, padding=padding).numpy()
        assert alone.tobytes() == together[i : i + 1].tobytes()


def test_errors_of_winograds_gradient_of_weights() -> None:
    """Over that of the gradient itself: 2.5e-6, and 1e-6 without; no bound grows with the sum."""
    x, w, seed = randn(9, 64, 14, 15), randn(48, 64, 3, 3), randn(9, 48, 14, 15)
    padded = np.pad(x.numpy().astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    want = np.einsum("nchwij,nohw->ocij", windows, seed.numpy().astype(np.float64), optimize=True)

    def error() -> float:
        weight = w.detach().requires_grad_()
        F.conv2d(x, weight, padding=1).backward(seed)
        return float(np.sqrt(((weight.grad.numpy() - want) ** 2).mean() / (want**2).mean()))

    assert error() < 2.5e-6
    with fastnn.exact_conv():
        assert error() < 1e-6


def test_an_image_alone_has_its_bits_with_winograd_too() -> None:
    x, w = randn(20, 32, 11, 10), randn(40, 32, 3, 3)
    together = F.conv2d(x, w, padding=1).numpy()
    for i in range(20):
        alone = F.conv2d(x[i : i + 1], w, padding=1).numpy()
        assert alone.tobytes() == together[i : i + 1].tobytes()


@pytest.mark.skipif(_core.backend_is_numpy(), reason="NumPy's bits depend on the number of rows")
def test_an_image_alone_has_its_bits_and_gradients_where_kernels_are_transformed_anew(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastnn.ops.conv, "_CACHED", 0)
    x, w, seed = randn(70, 66, 4, 4), randn(40, 66, 3, 3), randn(70, 40, 4, 4)

    def both(rows: slice) -> np.ndarray:
        images = x[rows].detach().requires_grad_()
        y = F.conv2d(images, w, padding=1)
        y.backward(seed[rows])
        return np.concatenate([y.detach().numpy(), images.grad.numpy()], 1)

    together = both(slice(70))
    for i in (0, 13, 34, 69):
        assert both(slice(i, i + 1)).tobytes() == together[i : i + 1].tobytes()


def test_kernels_transformed_where_they_are_used_give_the_bits_of_panels(
        monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, b = randn(3, 70, 9, 6), randn(97, 70, 3, 3), randn(97)
    panels = F.conv2d(x, w, b, padding=1).numpy()
    monkeypatch.setattr(fastnn.ops.conv, "_CACHED", 0)
    assert F.conv2d(x, w, b, padding=1).numpy().tobytes() == panels.tobytes()


def test_gradient_without_that_of_the_input() -> None:
    x, w = randn(2, 3, 6, 6), randn(4, 3, 3, 3).requires_grad_()
    F.conv2d(x, w).sum().backward()
    first = w.grad.numpy().copy()
    w.grad = None
    F.conv2d(x.requires_grad_(), w).sum().backward()
    assert first.tobytes() == w.grad.numpy().tobytes() and x.grad is not None


# ---------------------------------------------------------------- the order images lie in


def lies_channels_last(x: fastnn.Tensor) -> bool:
    return _core.is_channels_last(x)


def test_images_stay_channels_last_through_elementwise_ops() -> None:
    x, w = randn(2, 3, 6, 5), randn(4, 3, 3, 3)
    y = F.conv2d(x, w, padding=1)
    z = F.relu(y) * 2 + y
    z = z + randn(2, 4, 6, 5)
    z = z + randn(1, 4, 1, 1)
    assert lies_channels_last(y) and lies_channels_last(z) and z.shape == (2, 4, 6, 5)
    written = y.numpy()
    assert not lies_channels_last(y)
    want = F.conv2d(x, w, padding=1)
    np.testing.assert_array_equal(written, want.numpy())
    mask = F.conv2d(x, w, padding=1) > 0
    np.testing.assert_array_equal(mask.numpy(), written > 0)


def test_gradients_flow_through_both_orders() -> None:
    x = randn(2, 3, 6, 5).requires_grad_()
    w = randn(4, 3, 3, 3).requires_grad_()
    y = F.conv2d(x, w, padding=1)
    r = randn(4, 6, 5)
    (F.relu(y).sum() + (y * r).sum() + y[0].sum()).backward()
    both = x.grad.numpy().copy()
    x.grad = None
    y = F.conv2d(x, w, padding=1).reshape(2, 4, 6, 5)
    (F.relu(y).sum() + (y * r).sum() + y[0].sum()).backward()
    np.testing.assert_allclose(both, x.grad.numpy(), rtol=1e-5, atol=1e-5)


def test_in_place_ops_change_images_where_they_lie() -> None:
    x, w = randn(2, 3, 6, 5), randn(4, 3, 3, 3)
    y = F.conv2d(x, w)
    before = F.conv2d(x, w).numpy()
    r = randn(*y.shape)
    y += r
    assert F.relu(y, inplace=True) is y and lies_channels_last(y)
    np.testing.assert_array_equal(y.numpy(), np.maximum(before + r.numpy(), 0))
    y += 1.0
    np.testing.assert_array_equal(y.numpy(), np.maximum(before + r.numpy(), 0) + 1)
    y = F.conv2d(x, w)
    y += randn(3)[:, None, None][0]
    y += y
    assert y.shape == before.shape


def test_in_place_gradients() -> None:
    x, w, r = randn(2, 3, 6, 5), randn(4, 3, 3, 3).requires_grad_(), randn(2, 4, 4, 3)
    y = F.conv2d(x, w)
    y = F.relu(y + r)
    y.sum().backward()
    want = w.grad.numpy().copy()
    w.grad = None
    y = F.conv2d(x, w)
    y += r
    F.relu(y, inplace=True)
    y.sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), want)


def test_one_channel_and_one_pixel_need_no_copy() -> None:
    x = randn(4, 1, 6, 6)
    y = F.conv2d(x, randn(5, 1, 6, 6))
    _core.capture(True)
    F.conv2d(x, randn(5, 1, 6, 6)).reshape(4, 5)
    ops = [r[0] for r in _core.capture(False)]
    assert ops == ["pack_conv", "conv2d"]
    np.testing.assert_array_equal(y.numpy().reshape(4, 5), y.reshape(4, 5).numpy())


def test_a_leaf_made_of_an_image_gets_its_gradient() -> None:
    with fastnn.no_grad():
        y = F.conv2d(randn(1, 2, 4, 4), randn(3, 2, 3, 3))
    y.requires_grad_()
    F.conv2d(y, randn(2, 3, 1, 1)).sum().backward()
    assert y.is_leaf and y.grad.shape == y.shape


def test_retained_gradient() -> None:
    w = randn(3, 2, 3, 3).requires_grad_()
    y = F.conv2d(randn(1, 2, 4, 4), w)
    y.retain_grad()
    (F.relu(y) * 3).sum().backward()
    np.testing.assert_array_equal(y.grad.numpy(), 3.0 * (y.detach().numpy() > 0))
    late = F.conv2d(randn(1, 2, 4, 4), w)
    F.relu(late)
    with pytest.raises(GraphError, match="before its first use"):
        late.retain_grad()


def test_a_compiled_step_returns_images() -> None:
    x, w = randn(2, 3, 6, 5), randn(4, 3, 3, 3).requires_grad_()

    def step(x):
        w.grad = None
        y = F.relu(F.conv2d(x, w, padding=1))
        y.sum().backward()
        return y

    want = step(x).detach().numpy()
    gradient = w.grad.numpy().copy()
    compiled = fastnn.compile(step)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(x).detach().numpy(), want)
        np.testing.assert_array_equal(w.grad.numpy(), gradient)


# ---------------------------------------------------------------- values


def test_nan_spreads_as_far_as_its_windows() -> None:
    x = np.zeros((1, 2, 5, 5), np.float32)
    x[0, 1, 0, 0] = np.nan
    y = F.conv2d(fastnn.tensor(x), fastnn.ones(3, 2, 3, 3), padding=1).numpy()
    assert np.isnan(y[0, :, :2, :2]).all() and np.isnan(y).sum() == 12


# ---------------------------------------------------------------- with other layers


def small_network() -> fastnn.nn.Module:
    nn = fastnn.nn
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.Conv2d(16, 16, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def test_a_network_converts_no_image() -> None:
    """One channel in, one pixel out: nothing is written in another order on the way."""
    model = small_network()
    _core.capture(True)
    model(fastnn.randn(4, 1, 12, 12)).sum().backward()
    ops = [r[0] for r in _core.capture(False)]
    assert "turn" not in ops and ops.count("conv2d") == 3 and "batch_norm" in ops


def test_a_network_learns_eagerly_and_compiled() -> None:
    """The same losses, bit for bit."""
    x, y = fastnn.randn(32, 1, 12, 12), fastnn.randint(0, 10, (32,))
    losses = []
    for wrap in (lambda f: f, fastnn.compile):
        fastnn.manual_seed(3)
        model = small_network()
        optimizer = fastnn.optim.Adam(model.parameters(), lr=1e-2)

        @wrap
        def step(x, y, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        losses.append([float(step(x, y).item()) for _ in range(30)])
    assert losses[0] == losses[1] and losses[0][-1] < 0.5 * losses[0][0]


def test_batch_norm_of_images_equals_that_of_plain_tensors() -> None:
    x, w = randn(4, 3, 6, 5), randn(5, 3, 3, 3)
    image = F.conv2d(x, w)
    plain = fastnn.tensor(F.conv2d(x, w).numpy())
    results = [F.batch_norm(t, None, None, training=True).numpy() for t in (image, plain)]
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)


def test_pooling_hands_nan_on() -> None:
    x = np.zeros((1, 1, 4, 4), np.float32)
    x[0, 0, 1, 2] = np.nan
    for pool in (F.max_pool2d, F.avg_pool2d):
        y = pool(fastnn.tensor(x), 2).numpy()
        assert np.isnan(y).sum() == 1 and np.isnan(y[0, 0, 0, 1])


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes(mode: str) -> None:
    x = randn(1, 2, 6, 5)
    layer = fastnn.nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode=mode)
    want = F.conv2d(F.pad(x, (2, 2, 1, 1), mode), layer.weight, layer.bias)
    np.testing.assert_array_equal(layer(x).detach().numpy(), want.detach().numpy())
