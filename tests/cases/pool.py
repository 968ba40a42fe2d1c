"""Cases of op_pool.h."""

import numpy as np

from fastnn.nn import functional as F

from . import Case, randn


def distinct(*shape):
    """No two elements close enough for a finite difference to change which is larger."""
    return lambda rng: (rng.permutation(int(np.prod(shape))).reshape(shape).astype(np.float32),)


def ties(rng):
    return (rng.integers(0, 2, (2, 3, 7, 8)).astype(np.float32),)


def largest(*args, **options):
    return lambda x: F.max_pool2d(x, *args, **options)


def mean(*args, **options):
    return lambda x: F.avg_pool2d(x, *args, **options)


def adaptive(*args):
    return lambda x: F.adaptive_avg_pool2d(x, *args)


IMAGES = (2, 3, 7, 6)
CASES = [
    Case("max_pool2d", largest(2), distinct(*IMAGES), "plain"),
    Case("max_pool2d", largest(3, 2, 1), distinct(*IMAGES), "overlapping"),
    Case("max_pool2d", largest((2, 3), (3, 1), (1, 0)), distinct(*IMAGES), "uneven"),
    Case("max_pool2d", largest(3, 2, 1, ceil_mode=True), distinct(*IMAGES), "ceil"),
    Case("max_pool2d", largest(2, 5, ceil_mode=True), distinct(*IMAGES), "ceil-beyond"),
    Case("max_pool2d", largest(2, 1, 0, 3), distinct(*IMAGES), "dilated"),
    Case("max_pool2d", largest(3, 2, 1, (2, 1)), distinct(*IMAGES), "dilated-stride"),
    Case("max_pool2d", largest(2), ties, "ties", exact=True, differences=False),
    Case("max_pool2d", largest(2), distinct(0, 3, 4, 4), "no-images"),
    Case("max_pool2d", largest(17, 5, 8), distinct(1, 2, 20, 19), "two-passes", big=True),
    Case("max_pool2d", largest(3, 2, 1), distinct(3, 70, 17, 15), "odd", big=True),
    Case("max_pool2d", lambda x: F.max_pool1d(x, 3, 2, 1), distinct(2, 5, 9), "1d"),
    Case("max_pool2d", lambda x: F.adaptive_max_pool2d(x, (7, 3)), distinct(*IMAGES), "adaptive"),
    Case("max", lambda x: F.adaptive_max_pool2d(x, (3, 4)), distinct(*IMAGES), "shares"),
    Case("avg_pool2d", mean(2), randn(IMAGES), "plain"),
    Case("avg_pool2d", mean(3, 2, 1), randn(IMAGES), "overlapping"),
    Case("avg_pool2d", mean(3, 2, 1, count_include_pad=False), randn(IMAGES), "inside"),
    Case("avg_pool2d", mean(3, 2, 1, True), randn(IMAGES), "ceil"),
    Case("avg_pool2d", mean((2, 3), (3, 4), 1, True, False), randn(IMAGES), "ceil-inside"),
    Case("avg_pool2d", mean(2, 3, divisor_override=7), randn(IMAGES), "divisor"),
    Case("avg_pool2d", mean(2), randn((0, 3, 4, 4)), "no-images"),
    Case("avg_pool2d", mean(3, 1, 1), randn((3, 70, 9, 11)), "odd", big=True),
    Case("avg_pool2d", lambda x: F.avg_pool1d(x, 3, 2, 1), randn((2, 5, 9)), "1d"),
    Case("avg_pool2d", adaptive(1), randn(IMAGES), "global"),
    Case("avg_pool2d", adaptive((3, 4)), randn(IMAGES), "adaptive"),
    Case("avg_pool2d", adaptive((9, None)), randn(IMAGES), "adaptive-larger"),
    Case("avg_pool2d", adaptive(1), randn((2, 130, 13, 14)), "global-odd", big=True),
    Case("avg_pool2d", lambda x: F.adaptive_avg_pool1d(x, 4), randn((2, 5, 9)), "adaptive-1d"),
]
