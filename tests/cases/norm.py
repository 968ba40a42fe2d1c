"""Cases of op_norm.h and op_batch_norm.h."""

import numpy as np

import fastnn
from fastnn.nn import functional as F

from . import Case, randn


def over_last(op, **options):
    """op over the last axis, with whatever follows x."""
    return lambda x, *more: getattr(F, op)(x, x.shape[-1:], *more, **options)


def far(*shapes):
    """Standard normal but for a mean of 10,000."""
    def inputs(rng):
        x, *more = randn(*shapes)(rng)
        return (x + np.float32(1e4), *more)
    return inputs


def rows():
    """layer_norm and rms_norm: their arguments differ by the bias."""
    for op, n_more in (("layer_norm", 2), ("rms_norm", 1)):
        fn = over_last(op)

        def shapes(x, n, n_more=n_more):
            return randn(x, *[(n,)] * n_more)

        yield Case(op, fn, shapes((5, 7), 7), "plain")
        yield Case(op, fn, randn((5, 7)), "no-weight")
        yield Case(op, fn, randn((5, 7), (7,)), "no-bias")
        yield Case(op, fn, shapes((2, 3, 16), 16), "rank-3")
        yield Case(op, fn, shapes((9,), 9), "one-row")
        yield Case(op, over_last(op, eps=0.5), shapes((6, 1), 1), "one-column")
        yield Case(op, fn, shapes((0, 5), 5), "no-rows")
        yield Case(op, fn, shapes((4, 0), 0), "no-columns")
        yield Case(op, lambda x, op=op: getattr(F, op)(x, x.shape, x), randn((7,)), "same-operand",
                   differences=False)
        yield Case(op, over_last(op, eps=0.5), shapes((3, 6), 6), "eps")
        yield Case(op, fn, shapes((301, 67), 67), "odd", big=True)
        yield Case(op, fn, shapes((70, 1024), 1024), "slabs", big=True)
        yield Case(op, fn, shapes((3, 9001), 9001), "long", big=True)
        yield Case(op, fn, shapes((2, 33000), 33000), "windows", big=True)
        added = over_added(op)
        yield Case(f"add_{op}", added, shapes2((5, 7), 7, n_more), "plain")
        yield Case(f"add_{op}", added, randn((5, 7), (5, 7)), "no-weight")
        yield Case(f"add_{op}", lambda x, op=op: getattr(F, f"add_{op}")(x, x, x.shape[-1:]),
                   randn((4, 6)), "same-operand")
        yield Case(f"add_{op}", added, shapes2((0, 5), 5, n_more), "no-rows")
        yield Case(f"add_{op}", added, shapes2((131, 257), 257, n_more), "odd", big=True)
    yield Case("layer_norm", lambda x, w: F.layer_norm(x, (7,), None, w), randn((5, 7), (7,)),
               "no-weight-but-bias")
    yield Case("layer_norm", lambda x, w, b: F.layer_norm(x, (3, 4), w, b),
               randn((5, 3, 4), (3, 4), (3, 4)), "two-axes")
    yield Case("layer_norm", over_last("layer_norm"), far((9, 300), (300,), (300,)), "far",
               big=True)


def over_added(op):
    return lambda x, r, *more: getattr(F, f"add_{op}")(x, r, x.shape[-1:], *more)


def shapes2(x, n, n_more):
    return randn(x, x, *[(n,)] * n_more)


def groups(n, **options):
    return lambda x, *more: F.group_norm(x, n, *more, **options)


def train(x, *more, **options):
    """Training without running statistics."""
    return F.batch_norm(x, None, None, *more, training=True, **options)


def tracked(momentum=0.1):
    """Two steps of training, whose running statistics are examined, too."""
    def fn(x, w, b):
        c = x.shape[1]
        mean, var = fastnn.zeros(c), fastnn.ones(c)
        for _ in range(2):
            y = F.batch_norm(x, mean, var, w, b, True, momentum)
        return y
    return fn


def counted(momentum):
    """The module, which counts batches."""
    def fn(x):
        bn = fastnn.nn.BatchNorm1d(x.shape[1], momentum=momentum)
        bn(x)
        return bn(x)
    return fn


def evaluated(**options):
    def fn(x, mean, var, *more):
        return F.batch_norm(x, mean.detach(), var.detach().abs() + 0.5, *more, **options)
    return fn


def with_residual(x, r, w, b):
    return train(x, w, b, activation="relu", residual=r)


AFFINE = ((5,), (5,))
CASES = [
    *rows(),
    Case("group_norm", groups(2), randn((3, 4, 5), (4,), (4,)), "plain"),
    Case("group_norm", groups(2), randn((3, 4, 5)), "no-weight"),
    Case("group_norm", groups(1), randn((2, 4, 3, 3), (4,), (4,)), "one-group"),
    Case("group_norm", groups(4), randn((2, 4, 3), (4,), (4,)), "all-groups"),
    Case("group_norm", groups(3, eps=0.5), randn((4, 6), (6,), (6,)), "no-length"),
    Case("group_norm", groups(2), randn((0, 4, 5), (4,), (4,)), "no-items"),
    Case("group_norm", groups(2), randn((3, 4, 0), (4,), (4,)), "no-elements"),
    Case("group_norm", groups(5), randn((70, 35, 49), (35,), (35,)), "odd", big=True),
    Case("group_norm", groups(2), randn((3, 4, 5000), (4,), (4,)), "long", big=True),
    Case("group_norm", groups(3), randn((2, 20001, 2), (20001,), (20001,)), "windows", big=True),
    Case("group_norm", F.instance_norm, randn((3, 4, 5)), "instance"),
    Case("group_norm", lambda x, w, b: F.instance_norm(x, None, None, w, b),
         randn((2, 3, 4, 5), (3,), (3,)), "instance-affine"),
    Case("batch_norm", train, randn((7, 5), *AFFINE), "columns"),
    Case("batch_norm", train, randn((3, 5, 4), *AFFINE), "planes"),
    Case("batch_norm", train, randn((7, 5)), "no-weight"),
    Case("batch_norm", train, randn((7, 5), (5,)), "no-bias"),
    Case("batch_norm", tracked(), randn((7, 5), *AFFINE), "running"),
    Case("batch_norm", tracked(), randn((3, 5, 2, 4), *AFFINE), "running-planes"),
    Case("batch_norm", counted(0.1), randn((7, 5)), "counted"),
    Case("batch_norm", counted(None), randn((7, 5)), "cumulative"),
    Case("batch_norm", counted(None), randn((0, 5)), "no-items"),
    Case("batch_norm", train, randn((4, 0), (0,), (0,)), "no-channels"),
    Case("batch_norm", train, randn((4, 5, 0), *AFFINE), "no-elements"),
    Case("batch_norm", lambda x, w, b: train(x, w, b, eps=0.5), randn((2, 5), *AFFINE),
         "two-rows"),     # with a small eps, x^ is 1 or -1 and the gradient almost 0
    Case("batch_norm", lambda x, w, b: train(x, w, b, activation="relu"), randn((7, 5), *AFFINE),
         "relu", differences=False),
    Case("batch_norm", lambda x, r: train(x, residual=r), randn((3, 5, 4), (3, 5, 4)), "residual"),
    Case("batch_norm", with_residual, randn((7, 5), (7, 5), *AFFINE), "residual-relu",
         differences=False),
    Case("batch_norm", lambda x, w, b: with_residual(x, x, w, b), randn((3, 5, 4), *AFFINE),
         "residual-same", differences=False),
    # Few channels are added up one by one: 1,000 unit normals round to u 1000 / sqrt(6), 2.4e-5, of
    # which five are 7e-6 of sums of 18.
    Case("batch_norm", tracked(), randn((1000, 3), (3,), (3,)), "narrow", big=True, atol=7e-6),
    Case("batch_norm", tracked(), randn((5001, 1), (1,), (1,)), "one-channel", big=True),
    Case("batch_norm", tracked(), randn((523, 67), (67,), (67,)), "odd", big=True),
    Case("batch_norm", tracked(), randn((70, 1100), (1100,), (1100,)), "wide", big=True),
    Case("batch_norm", tracked(), randn((3, 20000), (20000,), (20000,)), "windows", big=True),
    Case("batch_norm", tracked(), randn((33, 5, 101), *AFFINE), "odd-planes", big=True),
    Case("batch_norm", tracked(), randn((4, 2, 9001), (2,), (2,)), "long-planes", big=True),
    Case("batch_norm", tracked(), randn((600, 1000, 2), (1000,), (1000,)), "many-planes", big=True),
    Case("batch_norm", with_residual, randn((523, 67), (523, 67), (67,), (67,)), "odd-relu",
         big=True),
    Case("batch_norm", train, far((300, 20), (20,), (20,)), "far", big=True),
    Case("batch_norm", train, far((30, 5, 40), *AFFINE), "far-planes", big=True),
    Case("batch_norm_eval", evaluated(), randn((7, 5), (5,), (5,), *AFFINE), "columns"),
    Case("batch_norm_eval", evaluated(), randn((3, 5, 4), (5,), (5,), *AFFINE), "planes"),
    Case("batch_norm_eval", evaluated(), randn((7, 5), (5,), (5,)), "no-weight"),
    Case("batch_norm_eval", evaluated(), randn((1, 5), (5,), (5,), *AFFINE), "one-item"),
    Case("batch_norm_eval", evaluated(), randn((0, 5), (5,), (5,), *AFFINE), "no-items"),
    Case("batch_norm_eval", evaluated(activation="relu"), randn((7, 5), (5,), (5,), *AFFINE),
         "relu", differences=False),
    Case("batch_norm_eval", evaluated(), randn((523, 67), (67,), (67,), (67,), (67,)), "odd",
         big=True),
    Case("batch_norm_eval", lambda x, m, v: F.instance_norm(
        x, m.detach(), v.detach().abs() + 1, use_input_stats=False), randn((3, 5, 4), (5,), (5,)),
        "instance"),
]
