"""Cases of op_conv.h."""

from contextlib import contextmanager

import numpy as np

import fastnn
from fastnn import _core
from fastnn.nn import functional as F
from fastnn.ops import conv as ops

from . import Case, randn


def conv(**options):
    return lambda x, w, b=None: F.conv2d(x, w, b, **options)


def last(**options):
    """Of an image that lies channels last already."""
    return lambda x, w, b=None: F.conv2d(_core.from_channels_last(_core.channels_last(x)), w, b,
                                         **options)


def integers(*shapes):
    """Whole numbers whose sums are exact in float32, in any order."""
    return lambda rng: tuple(rng.integers(-8, 9, s).astype(np.float32) for s in shapes)


def packed_twice(x, w):
    """The second use of the same weight reads the panels that were kept."""
    with fastnn.no_grad():
        w = w.clone()
        F.conv2d(x, w)
        return F.conv2d(x, w)


def small(**options):
    """Options over images of 7 by 6 with 4 channels and 6 kernels of 3 by 2."""
    channels = 4 // options.get("groups", 1)
    return conv(**options), randn((2, 4, 7, 6), (6, channels, 3, 2), (6,))


def few():
    """Few channels, in planes and channels last."""
    for order, run in (("", conv), ("-last", last)):
        yield Case("conv2d", run(padding=3, stride=2), randn((2, 3, 33, 31), (20, 3, 7, 7), (20,)),
                   f"stem{order}", big=True)
        yield Case("conv2d", run(padding=3, stride=2), randn((2, 3, 33, 31), (40, 3, 7, 7), (40,)),
                   f"stem-winograd{order}", big=True, atol=1e-5)
        yield Case("conv2d", run(padding=(0, 4), stride=3), randn((1, 2, 31, 50), (33, 2, 8, 7)),
                   f"blocks-winograd{order}", big=True, atol=1e-5)
        yield Case("conv2d", run(padding=1, groups=2), randn((2, 10, 19, 23), (6, 5, 3, 3)),
                   f"few-groups{order}", big=True)
        yield Case("conv2d", run(padding=4, stride=(3, 2), dilation=(2, 3)),
                   randn((2, 2, 40, 33), (9, 2, 3, 5)), f"few-dilated{order}", big=True)
        yield Case("conv2d", run(padding=(7, 9)), randn((2, 3, 5, 4), (4, 3, 5, 6)),
                   f"few-padded{order}", big=True)
        yield Case("conv2d", run(groups=3, padding=1), randn((2, 6, 4, 4), (6, 2, 3, 3), (6,)),
                   f"few-each{order}")
        yield Case("conv2d", run(padding=(0, 2)), randn((1, 8, 3, 2), (35, 8, 2, 2), (35,)),
                   f"few-eight{order}")
    yield Case("conv2d", conv(padding=1), randn((1, 2, 90, 600), (17, 2, 3, 3), (17,)), "few-wide",
               big=True)
    yield Case("conv2d", conv(padding=2, stride=4), randn((3, 3, 67, 63), (32, 3, 11, 11), (32,)),
               "blocks-of-four", big=True, atol=1e-5)
    yield Case("conv2d", conv(padding=2, stride=2), randn((0, 3, 9, 9), (32, 3, 5, 5)),
               "blocks-of-none", big=True)
    for size, stride in ((7, 2), (11, 4), (5, 2)):
        yield Case("pack_conv", conv(stride=stride), randn((1, 3, 30, 30), (33, 3, size, size)),
                   f"blocks-{size}")
    yield Case("conv2d", conv(dilation=(1, 6000), padding=(1, 6000)),
               randn((1, 3, 3, 40), (4, 3, 3, 3)), "few-apart", big=True)


def winograd():
    """Images of 1 to 4 tiles, padded and not; the transform's error is some 1e-6 of an output's
    magnitude, here with room for the largest of all outputs."""
    shapes = (((2, 32, 9, 6), (33, 32, 3, 3), (33,)), ((3, 40, 8, 8), (64, 40, 3, 3), (64,)),
              ((1, 37, 5, 14), (70, 37, 3, 3), (70,)))
    for padding, shape in zip((0, 1, (3, 2)), shapes, strict=True):
        yield Case("conv2d", conv(padding=padding), randn(*shape), f"winograd-{padding}", big=True,
                   atol=1e-5)
    yield Case("conv2d", conv(padding=1), randn((9, 70, 11, 13), (65, 70, 3, 3)), "winograd-slabs",
               big=True, atol=2e-5)
    yield Case("conv2d", conv(padding=1), randn((0, 32, 6, 6), (32, 32, 3, 3)), "winograd-none",
               big=True)
    yield Case("pack_conv", conv(padding=1), randn((1, 40, 5, 5), (33, 40, 3, 3)), "winograd")


def winograd_once():
    """The same with gradients as those of weights whose transforms fit no cache; more than 64
    channels, and more tiles than a part takes."""
    shapes = (((2, 32, 9, 6), (33, 32, 3, 3), (33,)), ((3, 70, 8, 8), (97, 70, 3, 3), (97,)),
              ((1, 37, 5, 14), (129, 37, 3, 3)), ((60, 33, 3, 4), (32, 33, 3, 3)))
    for padding, shape in zip((0, 1, (3, 2), 1), shapes, strict=True):
        def run(x, w, b=None, padding=padding):
            with uncached():
                return F.conv2d(x, w, b, padding=padding)

        yield Case("conv2d", run, randn(*shape), f"winograd-once-{shape[0][0]}", big=True,
                   atol=1e-5)


@contextmanager
def uncached():
    """As if no weights' transforms fitted a cache."""
    before, ops._CACHED = ops._CACHED, 0
    try:
        yield
    finally:
        ops._CACHED = before


def images(x):
    """As a convolution reads them."""
    return _core.channels_last(x)


CASES = [
    Case("turn", images, randn((2, 3, 4, 5)), exact=True),
    Case("turn", images, randn((2, 70, 9, 11)), "odd", exact=True, big=True),
    Case("turn", images, randn((3, 17, 40)), "sequences", exact=True, big=True),
    Case("turn", lambda x: F.conv2d(x, fastnn.ones(4, 2, 1, 1)) @ fastnn.ones(5, 3),
         randn((2, 2, 3, 5)), "back", exact=True),
    Case("conv2d", *small(), "plain"),
    Case("conv2d", *small(padding=1), "padded"),
    Case("conv2d", *small(padding=(2, 0), stride=(1, 2)), "stride-across"),
    Case("conv2d", *small(padding=(0, 3), stride=(2, 1)), "stride-down"),
    Case("conv2d", *small(padding=1, stride=2), "stride"),
    Case("conv2d", *small(padding=1, stride=(3, 4)), "stride-beyond-kernel"),
    Case("conv2d", *small(padding=2, dilation=2), "dilated"),
    Case("conv2d", *small(padding=3, dilation=(3, 2), stride=(2, 3)), "dilated-stride"),
    Case("conv2d", *small(padding=4, dilation=(2, 4), stride=(4, 2)), "dilation-meets-stride"),
    Case("conv2d", *small(groups=2, padding=1), "groups"),
    Case("conv2d", *small(groups=2, padding=1, stride=2), "groups-stride"),
    Case("conv2d", *small(padding="same"), "same"),
    Case("conv2d", *small(padding="same", dilation=2), "same-dilated"),
    Case("conv2d", *small(padding="valid"), "valid"),
    Case("conv2d", conv(padding=5), randn((1, 2, 3, 2), (2, 2, 3, 3)), "padding-beyond-kernel"),
    Case("conv2d", conv(), randn((2, 3, 4, 5), (4, 3, 1, 1), (4,)), "pointwise"),
    Case("conv2d", conv(stride=2), randn((2, 3, 5, 4), (4, 3, 1, 1), (4,)), "pointwise-stride"),
    Case("conv2d", conv(padding=1), randn((2, 3, 3, 2), (4, 3, 1, 1), (4,)), "pointwise-padded"),
    Case("conv2d", conv(groups=2), randn((2, 4, 3, 2), (6, 2, 1, 1)), "pointwise-groups"),
    Case("conv2d", conv(), randn((0, 3, 4, 5), (4, 3, 1, 1), (4,)), "pointwise-none"),
    Case("conv2d", conv(), randn((3, 70, 13, 11), (45, 70, 1, 1), (45,)), "pointwise-odd",
         big=True),
    Case("conv2d", conv(groups=5), randn((1, 80, 21, 16), (200, 16, 1, 1)), "pointwise-wide",
         big=True),
    # x_n dy_n of more than 1024 by 1024 weights does not fit the scratch at once.
    Case("conv2d", conv(), randn((2, 1050, 2, 3), (1030, 1050, 1, 1)), "pointwise-parts", big=True),
    Case("conv2d", last(), randn((2, 3, 4, 5), (4, 3, 1, 1), (4,)), "pointwise-last"),
    Case("conv2d", last(groups=2), randn((2, 4, 3, 2), (6, 2, 1, 1)), "pointwise-last-groups"),
    Case("conv2d", last(), randn((3, 70, 13, 11), (45, 70, 1, 1), (45,)), "pointwise-last-odd",
         big=True),
    Case("conv2d", conv(groups=3, padding=1), randn((2, 3, 4, 4), (6, 1, 3, 3), (6,)),
         "multiplied"),
    Case("conv2d", conv(groups=3, padding=1), randn((2, 3, 7, 8), (3, 1, 3, 3), (3,)), "depthwise"),
    Case("conv2d", conv(groups=3, padding=2, stride=2, dilation=(2, 1)),
         randn((2, 3, 7, 8), (3, 1, 3, 2), (3,)), "depthwise-stride"),
    Case("conv2d", conv(groups=5, padding=3, stride=(1, 3)), randn((2, 5, 6, 11), (5, 1, 2, 10)),
         "depthwise-long"),
    Case("conv2d", conv(groups=2, padding=4), randn((1, 2, 3, 3), (2, 1, 9, 9)), "depthwise-large"),
    Case("conv2d", conv(groups=3), randn((0, 3, 7, 8), (3, 1, 3, 3)), "depthwise-none"),
    Case("conv2d", conv(groups=70, padding=1), randn((3, 70, 9, 13), (70, 1, 3, 3), (70,)),
         "depthwise-odd", big=True),
    Case("conv2d", last(groups=3, padding=1), randn((2, 3, 7, 8), (3, 1, 3, 3), (3,)),
         "depthwise-last"),
    Case("conv2d", last(groups=70, padding=1), randn((3, 70, 9, 13), (70, 1, 3, 3), (70,)),
         "depthwise-last-odd", big=True),
    Case("conv2d", last(groups=33, padding=(3, 1)), randn((2, 33, 10, 9), (33, 1, 5, 5)),
         "depthwise-last-5", big=True),
    Case("conv2d", last(groups=40, padding=1, stride=2), randn((2, 40, 11, 14), (40, 1, 3, 3)),
         "depthwise-last-stride", big=True),
    Case("conv2d", conv(groups=3), randn((2, 3, 5, 16), (3, 1, 3, 3), (3,)), "planes"),
    Case("conv2d", conv(groups=3, padding=4), randn((2, 3, 2, 8), (3, 1, 3, 3), (3,)),
         "planes-padded"),
    Case("conv2d", conv(groups=37, padding=1), randn((3, 37, 9, 45), (37, 1, 3, 3), (37,)),
         "planes-odd", big=True),
    Case("conv2d", conv(groups=20, padding=2), randn((2, 20, 3, 28), (20, 1, 5, 5)), "planes-5",
         big=True),
    Case("conv2d", conv(groups=5, padding=(1, 3)), randn((9, 5, 8, 33), (5, 1, 7, 7), (5,)),
         "planes-7", big=True),
    Case("conv2d", conv(groups=3, padding=1), randn((0, 3, 7, 18), (3, 1, 3, 3), (3,)),
         "planes-none"),
    Case("pack_conv", conv(groups=20), randn((1, 20, 4, 4), (20, 1, 3, 2)), "depthwise",
         exact=True),
    Case("conv2d", conv(padding=1), randn((2, 1, 5, 5), (3, 1, 3, 3), (3,)), "one-channel"),
    Case("conv2d", conv(), randn((2, 3, 4, 4), (5, 3, 4, 4), (5,)), "one-window"),
    Case("conv2d", conv(), randn((0, 3, 5, 5), (4, 3, 3, 3), (4,)), "no-images"),
    Case("conv2d", lambda x, w, b: F.conv1d(x, w, b, padding=2, stride=2),
         randn((2, 3, 9), (4, 3, 5), (4,)), "1d"),
    Case("conv2d", lambda x, w: F.conv1d(x, w, groups=2, dilation=2),
         randn((2, 4, 9), (2, 2, 3)), "1d-groups"),
    Case("conv2d", conv(padding=1), integers((2, 20, 13, 15), (33, 20, 3, 3), (33,)), "integers",
         exact=True, big=True, grad=False),
    Case("conv2d", conv(padding=1, stride=2), integers((2, 20, 12, 15), (33, 20, 3, 3)),
         "integers-stride", exact=True, big=True, grad=False),
    Case("conv2d", conv(padding=2), randn((3, 45, 9, 17), (70, 45, 5, 5), (70,)), "odd", big=True),
    Case("conv2d", conv(padding=(2, 1), stride=(2, 1), dilation=(1, 2)),
         randn((3, 1, 17, 40), (20, 1, 3, 3)), "one-channel-dilated", big=True),
    Case("conv2d", conv(padding=1), randn((5, 1, 28, 28), (32, 1, 3, 3), (32,)), "slabs", big=True),
    Case("conv2d", conv(padding=1, stride=2), randn((2, 1, 9, 12), (48, 1, 3, 3), (48,)),
         "one-channel-stride", big=True),
    # Chains of up to 4 x 530 products of unit normals round to u 2120 / sqrt(6), 5.2e-5; of 13,860
    # the worst is 4.5 of these, 1.3e-6 of the largest gradient.
    Case("conv2d", conv(padding=1, stride=2), randn((2, 70, 9, 11), (530, 70, 3, 3)), "wide",
         big=True, atol=2e-6),
    Case("conv2d", conv(), randn((1, 1100, 3, 4), (40, 1100, 2, 2)), "deep", big=True),
    Case("conv2d", conv(groups=4, padding=1), randn((2, 80, 6, 7), (160, 20, 3, 3), (160,)),
         "groups-odd", big=True),
    Case("conv2d", packed_twice, randn((2, 5, 6, 6), (7, 5, 3, 3)), "packed", grad=False),
    *few(),
    *winograd(),
    *winograd_once(),
    Case("pack_conv", conv(), randn((1, 9, 8, 8), (35, 9, 3, 3)), exact=True),
    Case("pack_conv", conv(stride=(2, 3), padding=1, dilation=(1, 2)),
         randn((1, 40, 8, 9), (6, 40, 4, 3)), "stride", exact=True),
    Case("pack_conv", conv(groups=2), randn((1, 10, 3, 3), (12, 5, 1, 1)), "pointwise", exact=True),
]
