"""Arguments and their meaning in torchvision.transforms.v2, written down from its documentation.

torchvision needs the torch it was built for, so that it cannot run beside ours.
"""

import inspect
import math

import numpy as np
import pytest

import fastnn
from fastnn.vision import transforms as T

NEAREST, BILINEAR = "nearest", "bilinear"
SIGNATURES = {          # name: arguments in order, with their defaults; "needed" has none
    "CenterCrop": {"size": "needed"},
    "ColorJitter": {"brightness": None, "contrast": None, "saturation": None, "hue": None},
    "Compose": {"transforms": "needed"},
    "CutMix": {"alpha": 1.0, "num_classes": None},
    "GaussianNoise": {"mean": 0.0, "sigma": 0.1, "clip": True},
    "Grayscale": {"num_output_channels": 1},
    "MixUp": {"alpha": 1.0, "num_classes": None},
    "Normalize": {"mean": "needed", "std": "needed", "inplace": False},
    "Pad": {"padding": "needed", "fill": 0, "padding_mode": "constant"},
    "RandomAffine": {"degrees": "needed", "translate": None, "scale": None, "shear": None,
                     "interpolation": NEAREST, "fill": 0, "center": None},
    "RandomApply": {"transforms": "needed", "p": 0.5},
    "RandomCrop": {"size": "needed", "padding": None, "pad_if_needed": False, "fill": 0,
                   "padding_mode": "constant"},
    "RandomErasing": {"p": 0.5, "scale": (0.02, 0.33), "ratio": (0.3, 3.3), "value": 0.0,
                      "inplace": False},
    "RandomHorizontalFlip": {"p": 0.5},
    "RandomResizedCrop": {"size": "needed", "scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3),
                          "interpolation": BILINEAR, "antialias": True},
    "RandomRotation": {"degrees": "needed", "interpolation": NEAREST, "expand": False,
                       "center": None, "fill": 0},
    "RandomVerticalFlip": {"p": 0.5},
    "Resize": {"size": "needed", "interpolation": BILINEAR, "max_size": None, "antialias": True},
    "ToDtype": {"dtype": "needed", "scale": False},
}


def seeded(transform, *args, seed=3):
    fastnn.manual_seed(seed)
    out = transform(*args)
    return tuple(t.numpy() for t in out) if isinstance(out, tuple) else out.numpy()


def images(n=2, c=1, h=9, w=7):
    return np.random.default_rng(0).random((n, c, h, w), np.float32)


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_are_torchvisions(name):
    """The same order and defaults; `generator` is ours and stands behind."""
    found = dict(inspect.signature(getattr(T, name)).parameters)
    found.pop("generator", None)
    given = {k: "needed" if p.default is p.empty else p.default for k, p in found.items()}
    assert list(given.items()) == list(SIGNATURES[name].items())
    kinds = {p.kind for p in found.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY if name in ("CutMix", "MixUp")
                     else inspect.Parameter.POSITIONAL_OR_KEYWORD}


def test_all_transforms_have_their_arguments_written_down():
    assert set(SIGNATURES) == set(T.__all__) - {"Transform", "InterpolationMode"}


@pytest.mark.parametrize("size, options, before, after", [
    (6, {}, (12, 9), (8, 6)), (6, {}, (9, 12), (6, 8)), ([6], {}, (9, 12), (6, 8)),
    (5, {}, (7, 10), (5, 7)), ((6, 6), {}, (12, 9), (6, 6)), (5, {}, (5, 11), (5, 11)),
    (6, {"max_size": 7}, (12, 9), (7, 5)), (6, {"max_size": 7}, (9, 12), (5, 7)),
    (6, {"max_size": 9}, (9, 12), (6, 8)), (None, {"max_size": 6}, (12, 9), (6, 4)),
    (None, {"max_size": 24}, (9, 12), (18, 24)),
])
def test_resize_keeps_the_shape_for_one_number(size, options, before, after):
    assert T.Resize(size, **options)(images(2, 3, *before)).shape == (2, 3, *after)


@pytest.mark.parametrize("size, before", [
    ((5, 3), (9, 7)), ((5, 3), (8, 6)), ((4, 4), (9, 7)), ((12, 12), (9, 7)), ((12, 4), (9, 7)),
    ((5, 10), (8, 7)), (6, (3, 9)),
])
def test_center_crop_pads_what_is_too_small(size, before):
    """floor on the left of a border, and Python's round of what is cut off."""
    x = images(1, 1, *before)
    need = (size, size) if isinstance(size, int) else size
    want = x
    for axis, m in zip((2, 3), need, strict=True):
        n, widths = x.shape[axis], [(0, 0)] * 4
        if m > n:
            widths[axis] = (m - n) // 2, (m - n + 1) // 2
            want = np.pad(want, widths)
        else:
            first = int(round((n - m) / 2))
            want = np.take(want, range(first, first + m), axis)
    np.testing.assert_array_equal(seeded(T.CenterCrop(size), x), want)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize("padding, widths", [
    (2, (2, 2, 2, 2)), ([1], (1, 1, 1, 1)), ((1, 2), (1, 2, 1, 2)), ((1, 2, 3, 0), (1, 2, 3, 0))])
def test_pad_is_numpys(padding, widths, mode):
    x, (left, top, right, bottom) = images(), widths
    value = {"constant_values": 0.5} if mode == "constant" else {}
    want = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), mode, **value)
    np.testing.assert_array_equal(seeded(T.Pad(padding, 0.5, mode), x), want)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
def test_random_crop_is_a_part_of_the_padded_image(mode):
    x = images(200)
    y = seeded(T.RandomCrop((10, 7), (1, 2), False, 0.5, mode), x)
    value = {"constant_values": 0.5} if mode == "constant" else {}
    around = np.pad(x, ((0, 0), (0, 0), (2, 2), (1, 1)), mode, **value)
    places = {(i, j) for a, b in zip(around, y, strict=True) for i in range(4) for j in range(3)
              if np.array_equal(a[:, i:i + 10, j:j + 7], b)}
    assert len(places) == 12


def test_random_crop_pads_both_sides_if_needed():
    x = np.ones((60, 1, 4, 9), np.float32)
    y = seeded(T.RandomCrop(6, pad_if_needed=True), x)
    assert y.shape == (60, 1, 6, 6)
    assert set(y[:, 0, :, 0].argmax(1)) == {0, 1, 2}        # 2 above and 2 below, then a part of 8


def test_rotation_is_counter_clockwise_and_affine_clockwise():
    x = np.zeros((1, 1, 5, 5), np.float32)
    x[0, 0, 2, 4] = 1                                       # on the right
    assert seeded(T.RandomRotation((90, 90)), x)[0, 0, 0, 2] == 1
    assert seeded(T.RandomAffine((90, 90)), x)[0, 0, 4, 2] == 1


def test_a_centre_counts_from_the_corner():
    """(0, 0) is the upper left corner of the image, not the middle of its first pixel."""
    x = images(1, 1, 4, 6)
    np.testing.assert_array_equal(seeded(T.RandomRotation((180, 180), center=(3, 2)), x),
                                  x[:, :, ::-1, ::-1])
    y = seeded(T.RandomRotation((180, 180), center=(1, 1)), x)
    np.testing.assert_array_equal(y[:, :, :2, :2], x[:, :, 1::-1, 1::-1])
    assert not y[:, :, 2:].any() and not y[:, :, :, 2:].any()


@pytest.mark.parametrize("angle, shear", [(30, (0, 0)), (-50, (20, 0)), (10, (-15, 25))])
def test_affine_maps_are_torchvisions(angle, shear):
    """The closed form of its documentation: forward = T C R S SHy SHx C^-1."""
    x, s = np.zeros((1, 1, 41, 31), np.float32), 1.3
    x[0, 0, 24:27, 17:20] = 1
    a, (sx, sy) = math.radians(angle), np.radians(shear)
    m = s / math.cos(sy) * np.array([
        [math.cos(a - sy), -math.cos(a - sy) * math.tan(sx) - math.sin(a) * math.cos(sy)],
        [math.sin(a - sy), -math.sin(a - sy) * math.tan(sx) + math.cos(a) * math.cos(sy)]])
    y = seeded(T.RandomAffine((angle, angle), None, (s, s), (shear[0], shear[0], shear[1],
                                                            shear[1]), BILINEAR), x)[0, 0]
    rows, columns = np.indices(y.shape)
    middle = np.array([15, 20])
    want = m @ (np.array([18, 25]) - middle) + middle       # column, row of the square's middle
    got = [(y * columns).sum() / y.sum(), (y * rows).sum() / y.sum()]
    np.testing.assert_allclose(got, want, atol=0.1)


def test_jitter_without_a_factor_changes_nothing():
    x = images(2, 3)
    np.testing.assert_array_equal(seeded(T.ColorJitter(None, None, None, None), x), x)
    y = seeded(T.ColorJitter(brightness=2.0), np.full((2000, 3, 1, 1), 0.1, np.float32))
    assert 0 <= y.min() < 0.01 and 0.29 < y.max() <= 0.3    # factors from max(0, 1 - 2) to 3


def test_mixing_takes_probabilities_without_a_number_of_classes():
    x, labels = images(4), np.eye(4, dtype=np.float32)
    for mix in (T.MixUp, T.CutMix):
        fixed, free = (seeded(mix(**o), x, labels) for o in ({"num_classes": 4}, {}))
        for a, b in zip(fixed, free, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(seeded(mix(num_classes=4), x, np.arange(4))[1], free[1])


def test_erasing_takes_a_value_for_each_channel():
    x = np.ones((20, 3, 16, 16), np.float32)
    y = seeded(T.RandomErasing(1, value=[2, 3, 4]), x)
    gone = y != 1
    np.testing.assert_array_equal(gone[:, 0], gone[:, 1])
    assert gone.any((1, 2, 3)).all()
    for c in range(3):
        assert set(np.unique(y[:, c])) == {1, 2 + c}


def test_erasing_leaves_a_row_and_a_column():
    """A rectangle as long as a side is not tried; ratio is height / width."""
    y = seeded(T.RandomErasing(1, (0.5, 1), value=-1), np.ones((300, 1, 12, 12), np.float32))
    gone = y[:, 0] == -1
    assert gone.any(2).sum(1).max() == gone.any(1).sum(1).max() == 11
    y = seeded(T.RandomErasing(1, (0.1, 0.1), (4, 4), -1), np.ones((1, 1, 40, 40), np.float32))
    gone = y[0, 0] == -1
    assert gone.any(1).sum() == 25 and gone.any(0).sum() == 6       # sqrt(160 * 4), sqrt(160 / 4)


def test_nearest_pixels_of_a_box_are_torchs():
    """floor(i * width / size): the one scale torch's interpolate has for whole images."""
    x = np.tile(np.arange(7, dtype=np.float32), (1, 1, 7, 1))
    for size in range(1, 22):
        crop = T.RandomResizedCrop((7, size), (1, 1), (1, 1), NEAREST)
        want = [i * 7 // size for i in range(size)]
        np.testing.assert_array_equal(seeded(crop, x)[0, 0, 0], want)


def test_modes_are_words_or_members():
    x = images()
    for mode in T.InterpolationMode:
        np.testing.assert_array_equal(seeded(T.RandomRotation(9, mode), x),
                                      seeded(T.RandomRotation(9, mode.value), x))
