"""Cases of op_image.h.

A place differs from its twin by the rounding of a j + b i + e, some 1e-6 pixels, and so does what
is interpolated there, times the difference of neighbours; nearest ones are the same but at ties,
which these maps do not meet.
"""

import numpy as np

from fastnn.nn import functional as F
from fastnn.ops.image import paste, warp

from . import Case, randn

TURN = [0.8, -0.6, 3.31, 0.6, 0.8, -1.77]
ZOOM = [0.43, 0, 0.17, 0, 0.61, 1.23]
FLIP = [-1, 0, 6, 0, 1, 0]
FAR = [1, 0, 1e30, 0, 1, -1e30]


def maps(*rows):
    return np.float32(rows)


def warped(name, m, shape, size, **options):
    big = options.pop("big", False)
    exact = options.pop("exact", False)
    return Case("warp", lambda x: warp(x, np.resize(maps(*m), (shape[0], 6)), size, **options),
                randn(shape), name, grad=False, atol=1e-5, exact=exact, big=big)


def pasted(name, boxes, shape, **options):
    return Case("paste", lambda x, z: paste(x, z, np.int64(boxes)),
                randn(shape, options.pop("other", shape)), name, grad=False, exact=True, **options)


def resized(name, shape, *args, **options):
    return Case("interpolate", lambda x: F.interpolate(x, *args, **options), randn(shape), name)


CASES = [
    resized("nearest", (2, 3, 5, 7), (8, 3)),
    resized("nearest-factor", (2, 3, 5, 7), scale_factor=2),
    resized("bilinear", (2, 3, 5, 7), (9, 4), mode="bilinear"),
    resized("bilinear-factor", (1, 2, 3, 5), scale_factor=(2.3, 0.7), mode="bilinear"),
    resized("corners", (2, 3, 5, 7), (9, 4), mode="bilinear", align_corners=True),
    resized("corners-one", (2, 1, 5, 7), (1, 1), mode="bilinear", align_corners=True),
    resized("linear", (2, 3, 7), 11, mode="linear"),
    resized("nearest-1d", (2, 3, 7), 4),
    resized("none", (0, 3, 5, 7), (8, 3)),
    resized("same", (1, 1, 3, 3), (3, 3), mode="bilinear"),
    Case("interpolate", lambda x: F.interpolate(x, (61, 70), mode="bilinear"),
         randn((3, 7, 30, 37)), "odd", big=True),
    Case("unfold", lambda x: F.unfold(x, 3, padding=1), randn((2, 3, 5, 4)), "same"),
    Case("unfold", lambda x: F.unfold(x, (2, 3), (2, 1), (1, 0), (2, 1)), randn((2, 2, 6, 7)),
         "all"),
    Case("unfold", lambda x: F.unfold(x, 2, stride=3), randn((2, 6, 7)), "gaps"),
    Case("unfold", lambda x: F.unfold(x, 2, padding=3, dilation=4), randn((1, 2, 3, 3)), "far"),
    Case("unfold", lambda x: F.unfold(x, 2), randn((0, 2, 6, 7)), "none"),
    Case("unfold", lambda x: F.unfold(x, 3, padding=1), randn((5, 7, 29, 31)), "odd", big=True),
    Case("fold", lambda x: F.fold(x, (5, 4), 3, padding=1), randn((2, 27, 20)), "same"),
    Case("fold", lambda x: F.fold(x, (6, 7), (2, 3), (2, 1), (1, 0), (2, 1)), randn((2, 12, 15)),
         "all"),
    Case("fold", lambda x: F.fold(x, (6, 7), 2, stride=3), randn((8, 4)), "gaps"),
    Case("fold", lambda x: F.fold(x, (29, 31), 3, padding=1), randn((5, 63, 899)), "odd", big=True),
    warped("turn", [TURN], (2, 3, 5, 7), (5, 7)),
    warped("turn-fill", [TURN, ZOOM], (2, 1, 9, 7), (6, 21), fill=-2.5),
    warped("zoom-border", [ZOOM, TURN], (3, 2, 5, 7), (12, 17), border=True),
    warped("nearest", [TURN, ZOOM], (2, 3, 8, 7), (5, 18), nearest=True, exact=True),
    warped("nearest-border", [TURN], (2, 3, 8, 7), (5, 18), nearest=True, border=True, exact=True),
    warped("flip", [FLIP], (2, 3, 5, 7), (5, 7), exact=True),
    warped("box", [ZOOM], (2, 1, 9, 8), (9, 9), boxes=np.float32([[1, 5, 2, 7], [0, 0, 3, 3]]),
           border=True),
    warped("box-outside", [ZOOM], (2, 1, 9, 8), (9, 9),
           boxes=np.float32([[-5, 99, -7, 1e20], [6, 2, 0, 8]])),
    warped("far", [FAR, [np.nan] * 6, [np.inf, 0, 0, 0, np.inf, 0]], (3, 1, 4, 4), (4, 4)),
    warped("far-border", [FAR], (1, 1, 4, 4), (4, 4), border=True),
    warped("one-pixel", [TURN], (2, 1, 1, 1), (3, 3)),
    warped("none", [TURN], (0, 3, 5, 7), (5, 7)),
    warped("no-pixels", [TURN], (2, 3, 5, 7), (0, 7)),
    warped("odd", [TURN, ZOOM, FLIP], (33, 3, 29, 31), (30, 37), big=True),
    pasted("box", [[1, 4, 2, 5], [0, 7, 0, 1]], (2, 3, 5, 7)),
    pasted("number", [[1, 4, 2, 5], [3, 3, 0, 5]], (2, 3, 5, 7), other=(1,)),
    pasted("outside", [[-3, 99, 2, 9], [9, 12, 0, 5], [5, 2, 0, 5]], (3, 2, 5, 7)),
    pasted("none", np.zeros((0, 4)), (0, 2, 5, 7)),
    pasted("odd", np.arange(260).reshape(65, 4) % 29, (65, 3, 29, 31), big=True),
]
