"""Cases of conv2d_act and conv2d_norm of op_conv.h: each path of a convolution with each end."""

import numpy as np

from fastnn.nn import functional as F

from . import Case, randn
from .conv import uncached

# Name, options, shapes of x, w, b and of the result.
PATHS = (
    ("few", {"padding": 1, "stride": 2}, (2, 3, 7, 6), (4, 3, 3, 3), (2, 4, 4, 3)),
    ("windows", {"padding": 1, "stride": 2}, (2, 9, 5, 4), (4, 9, 3, 2), (2, 4, 3, 3)),
    ("pointwise", {}, (2, 3, 4, 5), (4, 3, 1, 1), (2, 4, 4, 5)),
    ("groups", {"groups": 2, "padding": 1}, (2, 4, 3, 3), (6, 2, 3, 3), (2, 6, 3, 3)),
    ("depthwise", {"groups": 3, "padding": 1}, (2, 3, 5, 6), (3, 1, 3, 3), (2, 3, 5, 6)),
)
BIG = (
    ("few-odd", {"padding": 3, "stride": 2}, (2, 3, 33, 31), (40, 3, 7, 7), (2, 40, 17, 16)),
    ("windows-odd", {"padding": 1}, (3, 20, 13, 15), (37, 20, 3, 3), (3, 37, 13, 15)),
    ("pointwise-odd", {}, (3, 70, 13, 11), (45, 70, 1, 1), (3, 45, 13, 11)),
    ("groups-odd", {"groups": 5}, (1, 80, 9, 8), (200, 16, 1, 1), (1, 200, 9, 8)),
    ("depthwise-odd", {"groups": 70, "padding": 1}, (3, 70, 9, 13), (70, 1, 3, 3), (3, 70, 9, 13)),
    ("winograd", {"padding": 1}, (3, 40, 9, 6), (66, 40, 3, 3), (3, 66, 9, 6)),
)


def operands(image, kernel, result, norm=False):
    """x, w, b, r, and gain, shift, mean, variance of a norm. Chains end near 1, as errors are
    judged by the size of the outputs."""
    def draw(rng):
        x, w, b, r = randn(image, kernel, kernel[:1], result)(rng)
        w /= np.float32(4 * np.sqrt(w[0].size))
        b, r = b / 4, r / 4
        vectors = randn(*[kernel[:1]] * 4)(rng) if norm else ()
        return x, w, b, r, *(v if i < 3 else v * v + np.float32(0.3) for i, v in enumerate(vectors))
    return draw


def act(name, options):
    return lambda x, w, b, r: F.conv2d_act(x, w, b, activation=name, residual=r, **options)


def norm(name, options):
    return lambda x, w, b, r, gain, shift, mean, var: F.conv2d_norm(
        x, w, mean, var, gain, shift, b, activation=name, residual=r, **options)


def once(run):
    """Kernels transformed where they are used."""
    def with_kernels(*operands):
        with uncached():
            return run(*operands)
    return with_kernels


def every():
    for name, options, *shapes in PATHS:
        for activation in ("relu", "relu6", "tanh", "sigmoid", None):
            yield Case("conv2d_act", act(activation, options), operands(*shapes),
                       f"{name}-{activation}", differences=activation not in ("relu", "relu6"))
        yield Case("conv2d_norm", norm("relu6", options), operands(*shapes, norm=True), name,
                   grad=False)
    for name, options, *shapes in BIG:
        room = {"atol": 1e-5} if name == "winograd" else {}
        yield Case("conv2d_act", act("tanh", options), operands(*shapes), name, big=True, **room)
        yield Case("conv2d_norm", norm(None, options), operands(*shapes, norm=True), name, big=True,
                   grad=False, **room)
    yield Case("conv2d_act", once(act("tanh", options)), operands(*shapes), "winograd-once",
               big=True, **room)
    yield Case("conv2d_norm", once(norm("relu", options)), operands(*shapes, norm=True),
               "winograd-once", big=True, grad=False, **room)


CASES = [
    *every(),
    Case("conv2d_act", lambda x, w: F.conv2d_act(x, w, padding=1, residual=x, activation="tanh"),
         randn((2, 4, 3, 3), (4, 4, 3, 3)), "residual-same"),
    Case("conv2d_act", lambda x, w, b: F.conv2d_act(x, w, b, activation="tanh"),
         randn((2, 3, 5, 5), (1, 3, 2, 2), (1,)), "one-output"),
    Case("conv2d_act", lambda x, w, b: F.conv2d_act(x, w, b),
         randn((0, 3, 5, 5), (4, 3, 2, 2), (4,)), "no-images"),
    Case("conv2d_norm", lambda x, w, v: F.conv2d_norm(x, w, v, v * v, v, v),
         randn((0, 3, 5, 5), (4, 3, 2, 2), (4,)), "no-images", grad=False),
    Case("conv2d_norm", lambda x, w, v: F.conv2d_norm(x, w, v, v * v, v, v, activation="sigmoid"),
         randn((2, 3, 5, 5), (1, 3, 2, 2), (1,)), "one-output", grad=False),
]
