"""fastnn.vision: transforms against geometry, the standard library and statistics; layers."""

import colorsys

import numpy as np
import pytest

import fastnn
from fastnn.errors import DTypeError, LimitError, ShapeError
from fastnn.ops.image import warp
from fastnn.vision import transforms as T

U = 2.0**-24


def images(n=6, c=3, h=9, w=7, seed=0):
    return np.random.default_rng(seed).random((n, c, h, w), np.float32)


def bits(result):
    return [a.tobytes() for a in (result if isinstance(result, tuple) else (result,))]


def seeded(transform, *args, seed=3):
    fastnn.manual_seed(seed)
    out = transform(*args)
    return tuple(t.numpy() for t in out) if isinstance(out, tuple) else out.numpy()


ALL = [
    T.RandomHorizontalFlip(), T.RandomVerticalFlip(), T.RandomRotation(30, "bilinear"),
    T.RandomAffine(20, (0.2, 0.1), (0.8, 1.2), 10), T.RandomResizedCrop(5),
    T.RandomCrop(5, padding=2), T.CenterCrop(4), T.Resize((11, 3)),
    T.ColorJitter(0.4, 0.4, 0.4, 0.2), T.GaussianNoise(),
    T.RandomErasing(0.9), T.RandomErasing(0.9, value="random"), T.Grayscale(3),
    T.RandomErasing(0.9, value=(0.1, 0.2, 0.3)), T.RandomResizedCrop(5, antialias=False),
    T.RandomResizedCrop(5, interpolation="nearest"), T.RandomCrop(5, 2, padding_mode="reflect"),
    T.Resize(4), T.Resize(12, "nearest"), T.Resize((4, 12), antialias=False), T.Pad((1, 2, 3, 0)),
    T.Pad(2, padding_mode="symmetric"), T.ToDtype(fastnn.float32),
    T.Normalize([0.5, 0.4, 0.3], [0.1, 0.2, 0.3]),
    T.Compose([T.RandomRotation(10), T.RandomErasing()]), T.RandomApply([T.GaussianNoise()]),
]
IDS = [f"{i}-{type(t).__name__}" for i, t in enumerate(ALL)]
MIXING = [T.MixUp(num_classes=3), T.CutMix(num_classes=3)]
CERTAIN = [t for t in ALL if isinstance(t, (T.CenterCrop, T.Resize, T.Pad, T.Grayscale, T.ToDtype,
                                            T.Normalize))]


# ---- what all of them promise ----

def test_every_transform_is_among_those_tested():
    """What a transform promises is tested for all there are."""
    bases = {T.Transform, T.InterpolationMode}
    assert {getattr(T, name) for name in T.__all__} - bases == {type(t) for t in ALL + MIXING}


@pytest.mark.parametrize("transform", ALL + MIXING, ids=IDS + ["mixup", "cutmix"])
def test_a_seed_gives_the_same_images_at_any_thread_count(transform):
    """Enough pixels that a team shares them; another seed gives others, if chance plays a part."""
    x, before = images(16, 3, 33, 31), fastnn.get_num_threads()
    given = (x, np.arange(16) % 3) if transform in MIXING else (x,)
    try:
        results = []
        for threads in (1, 2, 3, 7, 2):
            fastnn.set_num_threads(threads)
            results.append(seeded(transform, *given))
    finally:
        fastnn.set_num_threads(before)
    for r in results[1:]:
        assert bits(r) == bits(results[0])
    if transform not in CERTAIN:
        assert any(bits(seeded(transform, *given, seed=s)) != bits(results[0]) for s in range(4, 9))


@pytest.mark.parametrize("transform", ALL, ids=IDS)
def test_images_given_stay_as_they_are(transform):
    x = images()
    before = x.copy()
    seeded(transform, x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("transform", ALL, ids=IDS)
def test_one_image_is_a_batch_of_one(transform):
    x = images(1)
    np.testing.assert_array_equal(seeded(transform, x[0]), seeded(transform, x)[0])


@pytest.mark.parametrize("transform", ALL, ids=IDS)
def test_an_empty_batch_stays_empty(transform):
    assert len(seeded(transform, images()[:0])) == 0


@pytest.mark.parametrize("transform", ALL, ids=IDS)
def test_labels_pass_through(transform):
    labels = np.arange(6)
    _, y = transform(images(), labels)
    assert y is labels


@pytest.mark.parametrize("transform", ALL[:-2], ids=IDS[:-2])
def test_what_is_no_image_is_refused(transform):
    with pytest.raises(ShapeError, match=r"images: got shape \(3, 4\); need \(N, C, H, W\)"):
        transform(np.zeros((3, 4), np.float32))
    with pytest.raises(DTypeError, match="images: got int64"):
        transform(np.zeros((1, 3, 4, 4), np.int64))


def test_a_generator_of_its_own_leaves_the_global_stream_alone():
    g = fastnn.Generator().manual_seed(1)
    noise = T.GaussianNoise(generator=g)
    state = fastnn.get_rng_state().numpy().copy()
    a = noise(images()).numpy()
    np.testing.assert_array_equal(fastnn.get_rng_state().numpy(), state)
    g.manual_seed(1)
    np.testing.assert_array_equal(noise(images()).numpy(), a)


# ---- geometry ----

def test_flips_with_certainty_are_numpys():
    x = images()
    np.testing.assert_array_equal(seeded(T.RandomHorizontalFlip(1), x), x[..., ::-1])
    np.testing.assert_array_equal(seeded(T.RandomVerticalFlip(1), x), x[..., ::-1, :])
    np.testing.assert_array_equal(seeded(T.RandomVerticalFlip(0), x), x)


def test_half_of_the_images_are_flipped():
    x = np.tile(np.float32([0, 1]), (4000, 1, 1, 1))
    flipped = seeded(T.RandomHorizontalFlip(), x)[:, 0, 0, 0].mean()
    assert abs(flipped - 0.5) < 5 * 0.5 / np.sqrt(4000)         # five standard deviations


@pytest.mark.parametrize("quarter", [1, 2, 3])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_quarter_turns_are_numpys(quarter, interpolation):
    """About the centre; cos(90 degrees) is 6e-17 in double, nothing in float32."""
    x, degrees = images(2, 3, 8, 8), (90 * quarter, 90 * quarter)
    y = seeded(T.RandomRotation(degrees, interpolation), x)
    np.testing.assert_allclose(y, np.rot90(x, quarter, (2, 3)), atol=8 * 8 * U)
    y = seeded(T.RandomAffine(degrees, interpolation=interpolation), x)
    np.testing.assert_allclose(y, np.rot90(x, -quarter, (2, 3)), atol=8 * 8 * U)


def test_a_translation_moves_whole_pixels_and_fills():
    x = np.ones((500, 1, 10, 20), np.float32)
    y = seeded(T.RandomAffine(0, translate=(0.1, 0.2), fill=-1), x)
    gone_columns, gone_rows = (y[:, 0] == -1).all(1).sum(1), (y[:, 0] == -1).all(2).sum(1)
    assert set(gone_columns) == {0, 1, 2} and set(gone_rows) == {0, 1, 2}
    assert set(np.unique(y)) == {-1, 1}


def test_scaling_by_two_shows_the_middle():
    x = np.zeros((1, 1, 9, 9), np.float32)
    x[0, 0, 3:6, 3:6] = 1
    y = seeded(T.RandomAffine(0, scale=(2, 2)), x)[0, 0]
    assert y[2:7, 2:7].all() and not y[0].any() and not y[:, 0].any()


def test_shear_along_the_rows_moves_rows_only():
    x = images(1, 1, 9, 9)
    y = seeded(T.RandomAffine(0, shear=(45, 45)), x)
    np.testing.assert_allclose(y[..., 4, :], x[..., 4, :], atol=1e-6)       # the row of the centre
    np.testing.assert_allclose(y[0, 0, 3, 1:], x[0, 0, 3, :-1], atol=1e-6)  # its neighbour, by one


def test_center_crop_and_random_crop_are_slices():
    x = images(50, 2, 9, 7)
    np.testing.assert_array_equal(seeded(T.CenterCrop((5, 3)), x), x[:, :, 2:7, 2:5])
    y = seeded(T.RandomCrop((8, 6)), x)
    offsets = set()
    for k in range(50):
        found = [(i, j) for i in range(2) for j in range(2)
                 if np.array_equal(y[k], x[k, :, i:i + 8, j:j + 6])]
        assert len(found) == 1
        offsets |= set(found)
    assert len(offsets) == 4


def test_random_resized_crop_of_a_constant_is_that_constant():
    """Nothing from outside the box comes in: a border would show."""
    y = seeded(T.RandomResizedCrop((6, 5)), np.full((300, 1, 9, 7), 3, np.float32))
    assert y.shape == (300, 1, 6, 5)
    np.testing.assert_allclose(y, 3, rtol=8 * U)


def test_random_resized_crop_covers_the_areas_asked_for():
    ramp = np.tile(np.arange(64, dtype=np.float32), (400, 1, 64, 1))
    y = seeded(T.RandomResizedCrop(32, scale=(0.25, 0.25), ratio=(1, 1)), ramp)
    widths = (y[:, 0, 0, -1] - y[:, 0, 0, 0]) / 31 * 32         # a quarter of the area: 32 of 64
    np.testing.assert_allclose(widths, 32, rtol=1e-4)


# ---- values ----

def test_hue_follows_the_standard_library():
    x = images(1, 3, 4, 4)
    y = seeded(T.ColorJitter(hue=(0.3, 0.3)), x)
    for p, q in zip(x[0].reshape(3, -1).T, y[0].reshape(3, -1).T, strict=True):
        h, s, v = colorsys.rgb_to_hsv(*map(float, p))
        np.testing.assert_allclose(q, colorsys.hsv_to_rgb((h + 0.3) % 1, s, v), atol=1e-5)


def test_factors_of_one_change_nothing_and_of_zero_all():
    x = images()
    grey = (x * np.float32([0.2989, 0.587, 0.114])[:, None, None]).sum(1, keepdims=True)
    np.testing.assert_array_equal(seeded(T.ColorJitter(), x), x)
    np.testing.assert_array_equal(seeded(T.ColorJitter(brightness=(0, 0)), x), 0 * x)
    np.testing.assert_allclose(seeded(T.ColorJitter(saturation=(0, 0)), x),
                               np.broadcast_to(grey, x.shape), atol=8 * U)
    np.testing.assert_allclose(seeded(T.ColorJitter(contrast=(0, 0)), x), np.broadcast_to(
        grey.mean((1, 2, 3), keepdims=True), x.shape), atol=8 * U)
    np.testing.assert_allclose(seeded(T.Grayscale(), x), grey, atol=8 * U)


def test_noise_has_its_moments():
    x = np.full((100, 1, 32, 32), 0.5, np.float32)
    d = seeded(T.GaussianNoise(0.05, 0.2, clip=False), x) - x
    n = d.size
    assert abs(d.mean() - 0.05) < 5 * 0.2 / np.sqrt(n)
    assert abs(d.std() - 0.2) < 5 * 0.2 / np.sqrt(2 * n)
    assert seeded(T.GaussianNoise(0, 2), x).min() == 0


def test_to_dtype_scales_bytes():
    x = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    scaled = seeded(T.ToDtype(fastnn.float32, scale=True), x)
    np.testing.assert_array_equal(scaled, np.float32(x) / np.float32(255))
    np.testing.assert_array_equal(seeded(T.ToDtype(fastnn.float32), x), np.float32(x))


def test_normalize_is_by_channel():
    x, mean, std = images(), [0.1, 0.2, 0.3], [2.0, 3.0, 4.0]
    want = (x - np.float32(mean)[:, None, None]) / np.float32(std)[:, None, None]
    np.testing.assert_allclose(seeded(T.Normalize(mean, std), x), want, rtol=4 * U)


# ---- rectangles and mixtures ----

def test_erasing_leaves_one_rectangle_of_the_area_asked_for():
    y = seeded(T.RandomErasing(1, (0.1, 0.2), value=-1), np.ones((300, 2, 40, 40), np.float32))
    gone = y == -1
    np.testing.assert_array_equal(gone[:, 0], gone[:, 1])
    rows, columns = gone[:, 0].any(2).sum(1), gone[:, 0].any(1).sum(1)
    np.testing.assert_array_equal(gone[:, 0].sum((1, 2)), rows * columns)
    part = rows * columns / 1600
    assert part.min() > 0.1 * 0.8 and part.max() < 0.2 * 1.2    # sides are rounded to whole pixels
    assert abs((y != 1).any((1, 2, 3)).mean() - 1) < 1e-9


def test_mixup_mixes_images_and_labels_alike():
    x, labels = images(5), np.arange(5) % 3
    y, p = seeded(T.MixUp(num_classes=3), x, labels)
    one_hot = np.eye(3, dtype=np.float32)[labels]
    part = (p[0, 0] - one_hot[-1, 0]) / (1 - one_hot[-1, 0])    # image 4 is of class 1
    np.testing.assert_allclose(p, part * one_hot + (1 - part) * np.roll(one_hot, 1, 0), atol=4 * U)
    np.testing.assert_allclose(y, part * x + (1 - part) * np.roll(x, 1, 0), atol=1e-6)


def test_cutmix_labels_follow_the_area():
    x = np.arange(4, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 20, 30), np.float32)
    for seed in range(20):
        y, p = seeded(T.CutMix(num_classes=4), x, np.arange(4), seed=seed)
        for k in range(4):
            own = (y[k] == k).mean()
            assert own + (y[k] == (k - 1) % 4).mean() == pytest.approx(1)
            assert p[k, k] == pytest.approx(own, abs=1e-6)


@pytest.mark.parametrize("mix", MIXING, ids=repr)
def test_mixing_needs_a_batch_and_its_labels(mix):
    with pytest.raises(ShapeError, match="need a batch"):
        mix(images())
    with pytest.raises(ShapeError, match=r"labels: got \(6, 4\)"):
        mix(images(), np.zeros((6, 4), np.float32))


# ---- bad arguments ----

@pytest.mark.parametrize("make, error, text", [
    (lambda: T.RandomHorizontalFlip(1.5), ValueError, "p: got 1.5; need 0 to 1"),
    (lambda: T.RandomRotation(-3), ValueError, "degrees: got -3"),
    (lambda: T.RandomRotation(3, expand=True), ValueError, "expand: got True"),
    (lambda: T.RandomRotation(3, "cubic"), ValueError, "interpolation: got 'cubic'"),
    (lambda: T.RandomAffine(3, translate=(2, 0)), ValueError, "translate"),
    (lambda: T.RandomAffine(3, scale=(0, 1)), ValueError, "scale"),
    (lambda: T.RandomAffine(3, shear=90), ValueError, "shear"),
    (lambda: T.Resize(0), ShapeError, "size: got 0"),
    (lambda: T.Resize(3, "cubic"), ValueError, "interpolation"),
    (lambda: T.RandomCrop(3, padding=-1), ShapeError, "padding: got -1"),
    (lambda: T.RandomCrop(3, 1, 0.5), DTypeError, "pad_if_needed: got 0.5; need True or False"),
    (lambda: T.RandomCrop(3, 1, padding_mode="wrap"), ValueError, "padding_mode: got 'wrap'"),
    (lambda: T.RandomCrop(3, (1, 2, 3)), ShapeError, "need an integer, or 1 or 2 or 4 of them"),
    (lambda: T.Pad(4, padding_mode="reflect")(images(1, 1, 4, 9)), ShapeError, "side of 4 pixels"),
    (lambda: T.Pad(1, padding_mode="edge")(images(1, 1, 4, 0)), ShapeError, "side of 0 pixels"),
    (lambda: T.Pad(1.5), DTypeError, "padding: got 1.5; need an integer"),
    (lambda: T.Pad(1, (1, 2, 3)), DTypeError, "fill: got .*; need one number"),
    (lambda: T.Resize((1, 2, 3)), ShapeError, "size: got"),
    (lambda: T.Resize("28"), DTypeError, "size: got '28'"),
    (lambda: T.Resize(None), ValueError, "without max_size"),
    (lambda: T.Resize(8, max_size=8), ValueError, "max_size: got 8 for size 8"),
    (lambda: T.Resize((8, 8), max_size=9), ValueError, "max_size: got 9"),
    (lambda: T.Resize(None, max_size=2)(images(1, 1, 1, 9)), ShapeError, "max_size: got 2"),
    (lambda: T.Resize(3)(images(1, 1, 0, 9)), ShapeError, "need pixels"),
    (lambda: T.RandomResizedCrop(3)(images(1, 1, 0, 9)), ShapeError, "need pixels"),
    (lambda: T.RandomRotation("10"), DTypeError, "degrees: got '10'; need numbers"),
    (lambda: T.RandomRotation((1, "10")), DTypeError, "degrees: got '10'; need a number"),
    (lambda: T.RandomRotation((1, 2, 3)), ValueError, "degrees: got .*; need 2 numbers"),
    (lambda: T.RandomRotation(float("nan")), ValueError, "degrees: got nan"),
    (lambda: T.RandomRotation(5, center=3), DTypeError, "center: got 3"),
    (lambda: T.RandomAffine(3, shear=(1, 2, 3)), ValueError, "shear: got .*; need 2 or 4 numbers"),
    (lambda: T.RandomHorizontalFlip(None), DTypeError, "p: got None; need a number"),
    (lambda: T.ColorJitter(-0.5), ValueError, "brightness: got -0.5; need 0 or more"),
    (lambda: T.ColorJitter(hue="red"), DTypeError, "hue: got 'red'"),
    (lambda: T.Compose([]), ValueError, "need at least one"),
    (lambda: T.Compose(T.Grayscale()), DTypeError, "need a sequence of transforms"),
    (lambda: T.RandomErasing(value=(1, 2, 3))(images(1, 2)), ShapeError, "got 2 channels; need 3"),
    (lambda: T.MixUp()(images(), np.arange(6)), ValueError, "num_classes: got None"),
    (lambda: T.CutMix(num_classes=2)(images(2, 1, 0, 3), np.arange(2)), ShapeError, "need pixels"),
    (lambda: T.CutMix(num_classes=2.5), DTypeError, "num_classes: got 2.5"),
    (lambda: T.RandomCrop(9)(images(1, 1, 4, 4)), ShapeError, "need at least 9 x 9"),
    (lambda: T.RandomResizedCrop(4, ratio=(0, 1)), ValueError, "ratio"),
    (lambda: T.ColorJitter(hue=0.6), ValueError, "hue: got 0.6"),
    (lambda: T.ColorJitter(brightness=(-1, 2)), ValueError, "brightness"),
    (lambda: T.ColorJitter(0.1)(images(1, 2)), ShapeError, "got 2 channels"),
    (lambda: T.GaussianNoise(sigma=-1), ValueError, "sigma: got -1"),
    (lambda: T.Grayscale(2), ValueError, "num_output_channels: got 2"),
    (lambda: T.RandomErasing(scale=(0.5, 2)), ValueError, "scale"),
    (lambda: T.RandomErasing(value="noise"), ValueError, "value: got 'noise'"),
    (lambda: T.MixUp(alpha=0, num_classes=3), ValueError, "alpha 0"),
    (lambda: T.ToDtype(fastnn.int64), DTypeError, "got fastnn.int64; need fastnn.float32"),
    (lambda: T.Normalize([1, 2], [1, 1])(images()), ShapeError, "need 2 channels"),
    (lambda: warp(fastnn.zeros(0, 1, 3, 3), np.zeros((0, 6)), (2**25, 1)), LimitError, "2\\*\\*24"),
])
def test_bad_arguments(make, error, text):
    with pytest.raises(error, match=text):
        make()


# ---- layers ----

def test_layers_are_their_functions():
    x, F, nn = fastnn.tensor(images(2, 4, 6, 6)), fastnn.nn.functional, fastnn.nn
    columns = F.unfold(x, 2, stride=2)
    for layer, want in [
        (nn.Upsample(None, 2, "bilinear"), F.interpolate(x, None, 2, "bilinear")),
        (nn.PixelShuffle(2), F.pixel_shuffle(x, 2)),
        (nn.PixelUnshuffle(3), F.pixel_unshuffle(x, 3)),
        (nn.Unfold(2, stride=2), columns),
        (nn.ZeroPad2d(1), F.pad(x, (1, 1, 1, 1))),
        (nn.ReflectionPad2d((1, 2, 3, 0)), F.pad(x, (1, 2, 3, 0), "reflect")),
        (nn.ReplicationPad2d(2), F.pad(x, (2, 2, 2, 2), "replicate")),
    ]:
        np.testing.assert_array_equal(layer(x).numpy(), want.numpy())
        assert type(layer).__name__ in repr(layer)
    np.testing.assert_array_equal(nn.Fold(6, 2, stride=2)(columns).numpy(), x.numpy())


@pytest.mark.parametrize("op", [
    lambda x: fastnn.nn.functional.interpolate(x, (9, 4), mode="bilinear"),
    lambda x: fastnn.nn.functional.interpolate(x, scale_factor=2),
    lambda x: fastnn.cat([x, 2 * x, x], 1),
])
def test_images_keep_their_order(op):
    """What a convolution made stays channels last, with the values and gradients of a plain one."""
    x = fastnn.tensor(images(2, 4, 6, 6), requires_grad=True)
    one = fastnn.tensor(np.eye(4, dtype=np.float32)[:, :, None, None])
    y = op(fastnn.nn.functional.conv2d(x, one))
    assert fastnn._core.is_channels_last(y)
    (y * y).sum().backward()
    found, x.grad = x.grad.numpy(), None
    plain = op(x)
    np.testing.assert_array_equal(y.detach().numpy(), plain.detach().numpy())
    (plain * plain).sum().backward()
    np.testing.assert_allclose(found, x.grad.numpy(), rtol=16 * U)


@pytest.mark.parametrize("layer, shape", [(fastnn.nn.Dropout2d, (50, 40, 3, 5)),
                                          (fastnn.nn.Dropout1d, (50, 40, 7))])
def test_whole_channels_are_dropped(layer, shape):
    drop = layer(0.25)
    fastnn.manual_seed(0)
    y = drop(fastnn.ones(*shape)).numpy().reshape(2000, -1)
    gone = (y == 0).all(1)
    assert ((y[~gone] - 4 / 3) == 0).all() or np.allclose(y[~gone], 4 / 3, rtol=2 * U)
    assert abs(gone.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 2000)
    assert drop.eval()(fastnn.ones(*shape)).numpy().all()


@pytest.mark.parametrize("make, error, text", [
    (lambda F, x: F.interpolate(x), ValueError, "need one of them"),
    (lambda F, x: F.interpolate(x, 3, 2), ValueError, "need one of them"),
    (lambda F, x: F.interpolate(x, 0), ShapeError, r"size: got \(0, 0\)"),
    (lambda F, x: F.interpolate(x, -3), ShapeError, "size"),
    (lambda F, x: F.interpolate(x, (2, 3, 4)), ShapeError, "need one number, or 2"),
    (lambda F, x: F.interpolate(x, 2**62), ShapeError, "need 1 to"),
    (lambda F, x: F.interpolate(x, scale_factor=-1), ShapeError, "scale_factor"),
    (lambda F, x: F.interpolate(x, scale_factor=float("nan")), ShapeError, "scale_factor"),
    (lambda F, x: F.interpolate(x, scale_factor=0.01), ShapeError, "need 1 to"),
    (lambda F, x: F.interpolate(x, 3, mode="bicubic"), ValueError, "mode: got 'bicubic'"),
    (lambda F, x: F.interpolate(x, 3, align_corners=True), ValueError, "align_corners"),
    (lambda F, x: F.interpolate(x[0, 0], 3), ShapeError, "need \\(N, C, L\\)"),
    (lambda F, x: F.interpolate(x[:, :, :0], 3), ShapeError, "need pixels"),
    (lambda F, x: F.pixel_shuffle(x, 3), ShapeError, "multiple of its square"),
    (lambda F, x: F.pixel_shuffle(x, 0), ShapeError, "upscale_factor 0"),
    (lambda F, x: F.pixel_unshuffle(x, 4), ShapeError, "multiples of it"),
    (lambda F, x: F.unfold(x, 0), ShapeError, "kernel_size: got 0"),
    (lambda F, x: F.unfold(x, 2, stride=0), ShapeError, "stride: got 0"),
    (lambda F, x: F.unfold(x, 2, dilation=-1), ShapeError, "dilation: got -1"),
    (lambda F, x: F.unfold(x, 2, padding=-1), ShapeError, "padding: got -1"),
    (lambda F, x: F.unfold(x, 9), ShapeError, "need at least one window"),
    (lambda F, x: F.unfold(x, (1, 2, 3)), ShapeError, "kernel_size"),
    (lambda F, x: F.unfold(x, 2, padding=2**40), ShapeError, "padding"),
    (lambda F, x: F.fold(x[0], (6, 6), 2), ShapeError, "fold: input"),
    (lambda F, x: F.dropout2d(x, 1.5), ValueError, "p: got 1.5"),
    (lambda F, x: F.dropout2d(x[0, 0, 0], 0.5), ShapeError, "dropout2d: input"),
    (lambda F, x: F.interpolate(x.long(), 3), DTypeError, "got int64"),
    (lambda F, x: F.unfold(x.long(), 3), DTypeError, "got int64"),
])
def test_bad_arguments_of_functions(make, error, text):
    with pytest.raises(error, match=text):
        make(fastnn.nn.functional, fastnn.ones(2, 4, 6, 6))
