"""Cases of op_conv_transpose.h."""

import numpy as np

import fastnn
from fastnn.nn import functional as F

from . import Case, randn


def back(**options):
    return lambda x, w, b=None: F.conv_transpose2d(x, w, b, **options)


def small(**options):
    """Options over images of 5 by 4 with 4 channels, kernels of 3 by 2 and 6 outputs."""
    return back(**options), randn((2, 4, 5, 4), (4, 6 // options.get("groups", 1), 3, 2), (6,))


def whole(*shapes):
    """Whole numbers whose sums are exact in float32, in any order."""
    return lambda rng: tuple(rng.integers(-8, 9, s).astype(np.float32) for s in shapes)


def packed_twice(x, w):
    """The second use of the same weight reads the panels that were kept."""
    with fastnn.no_grad():
        w = w.clone()
        F.conv_transpose2d(x, w, stride=2)
        return F.conv_transpose2d(x, w, stride=2)


OP = "conv_transpose2d"

CASES = [
    Case(OP, *small(), "plain"),
    Case(OP, *small(padding=1), "padded"),
    Case(OP, *small(stride=2, padding=1, output_padding=1), "output-padding"),
    Case(OP, *small(stride=(3, 4)), "stride-beyond-kernel"),
    Case(OP, *small(stride=(3, 4), padding=(2, 1), output_padding=(2, 3)), "gaps"),
    Case(OP, *small(dilation=2), "dilated"),
    Case(OP, *small(dilation=(3, 2), stride=2, padding=(2, 0), output_padding=(2, 1)),
         "dilated-stride"),
    Case(OP, *small(dilation=(2, 4), stride=(4, 2), padding=1), "dilation-meets-stride"),
    Case(OP, *small(groups=2), "groups"),
    Case(OP, *small(groups=2, stride=2, padding=1, output_padding=1), "groups-stride"),
    Case(OP, lambda x, w: F.conv_transpose2d(x, w, stride=2), randn((2, 3, 3, 4), (3, 5, 2, 2)),
         "twice-as-large"),
    Case(OP, back(stride=2), randn((2, 3, 3, 4), (3, 5, 2, 2), (5,)), "twice-as-large-bias"),
    Case(OP, back(), randn((2, 3, 4, 5), (3, 4, 1, 1), (4,)), "pointwise"),
    Case(OP, back(stride=2), randn((2, 3, 3, 2), (3, 4, 1, 1), (4,)), "pointwise-stride"),
    Case(OP, back(), randn((2, 3, 1, 1), (3, 4, 4, 3), (4,)), "one-pixel"),
    Case(OP, back(padding=4), randn((1, 2, 9, 8), (2, 2, 3, 3), (2,)), "cropped"),
    Case(OP, back(groups=3, padding=1, stride=2, output_padding=1),
         randn((2, 3, 4, 5), (3, 1, 3, 3), (3,)), "depthwise"),
    Case(OP, back(groups=3, padding=2, dilation=2), randn((2, 3, 4, 5), (3, 1, 3, 2)),
         "depthwise-dilated"),
    Case(OP, back(groups=2), randn((1, 2, 3, 3), (2, 1, 9, 9)), "depthwise-large"),
    Case(OP, back(groups=3, stride=2), randn((2, 3, 3, 4), (3, 2, 2, 2), (6,)), "multiplied"),
    Case(OP, back(stride=2), randn((0, 3, 5, 5), (3, 4, 3, 3), (4,)), "no-images"),
    Case(OP, back(groups=3), randn((0, 3, 5, 5), (3, 1, 3, 3), (3,)), "depthwise-none"),
    Case(OP, lambda x, w, b: F.conv_transpose1d(x, w, b, 2, 1, 1),
         randn((2, 3, 7), (3, 4, 5), (4,)), "1d"),
    Case(OP, lambda x, w: F.conv_transpose1d(x, w, groups=2, dilation=2),
         randn((2, 4, 7), (4, 3, 3)), "1d-groups"),
    Case(OP, back(stride=2, padding=1), whole((2, 33, 7, 8), (33, 20, 3, 3), (20,)), "whole",
         exact=True, big=True, grad=False),
    Case(OP, back(stride=2), randn((3, 40, 9, 7), (40, 70, 2, 2), (70,)), "up", big=True),
    Case(OP, back(padding=2), randn((2, 70, 9, 17), (70, 45, 5, 5), (45,)), "odd", big=True),
    Case(OP, back(stride=2, padding=1, output_padding=1), randn((2, 530, 5, 6), (530, 70, 3, 3)),
         "deep", big=True),
    Case(OP, back(stride=2), randn((5, 16, 28, 28), (16, 1, 2, 2), (1,)), "slabs", big=True),
    Case(OP, back(groups=4, padding=1), randn((2, 160, 6, 7), (160, 20, 3, 3), (80,)),
         "groups-odd", big=True),
    Case(OP, packed_twice, randn((2, 5, 6, 6), (5, 7, 3, 3)), "packed", grad=False),
]
