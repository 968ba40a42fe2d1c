"""Cases of op_linear.h."""

import fastnn
from fastnn.nn import functional as F

from . import Case, randn

M = fastnn.matmul


def t(x):
    return x.transpose(-2, -1)


def packed_twice(x, w, b):
    """The second use of the same weight has its panels made; both records are examined."""
    with fastnn.no_grad():
        w = w.clone()
        F.linear(x, w, b)
        return F.linear(x, w, b)


def of_order_one(rng):
    """x, w, b, r whose chains end near 1, as errors are judged by the size of the outputs."""
    x, w, b, r = randn((150, 70), (90, 70), (90,), (150, 90))(rng)
    return x, w / 16, b / 4, r / 4


def fused():
    """linear_act with each activation, which takes its slope from y or from z."""
    for act in ("relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid"):
        smooth = act != "relu"

        def fn(x, w, b, r=None, act=act):
            return F.linear(x, w, b, activation=act, residual=r)

        yield Case("linear_act", fn, randn((5, 3), (4, 3), (4,)), act, differences=smooth)
        yield Case("linear_act", fn, randn((2, 3, 5), (4, 5), (4,), (2, 3, 4)), f"{act}-residual",
                   differences=smooth)
        yield Case("linear_act", fn, of_order_one, f"{act}-odd", big=True)
    yield Case("linear_act", lambda x, w, b: F.linear(x, w, b, activation="gelu", residual=x),
               randn((5, 4), (4, 4), (4,)), "residual-same")
    yield Case("linear_act", lambda x, w, b: F.linear(x, w, b, activation="gelu"),
               randn((70, 5), (1, 5), (1,)), "column")
    yield Case("linear_act", lambda x, w: F.linear(x, w, activation="silu"),
               randn((0, 3), (4, 3)), "no-rows")


CASES = [
    Case("matmul", M, randn((3, 4), (4, 5)), "plain"),
    Case("matmul", lambda a, b: M(t(a), b), randn((4, 3), (4, 5)), "ta"),
    Case("matmul", lambda a, b: M(a, t(b)), randn((3, 4), (5, 4)), "tb"),
    Case("matmul", lambda a, b: M(t(a), t(b)), randn((4, 3), (5, 4)), "ta-tb"),
    Case("matmul", M, randn((2, 3, 4, 5), (2, 3, 5, 6)), "batched"),
    Case("matmul", M, randn((2, 1, 4, 5), (3, 5, 6)), "batch-broadcast"),
    Case("matmul", lambda a, b: M(a, t(b)), randn((2, 3, 4, 5), (3, 6, 5)), "batch-shared-tb"),
    Case("matmul", M, randn((2, 3, 4), (4, 5)), "shared-right"),
    Case("matmul", M, randn((1, 4), (3, 4, 5)), "shared-left"),
    Case("matmul", M, randn((2, 1, 2, 1, 2, 3), (1, 2, 1, 2, 3, 2)), "interleaved"),
    Case("matmul", M, randn((4,), (4, 5)), "row"),
    Case("matmul", M, randn((3, 4), (4,)), "column"),
    Case("matmul", M, randn((4,), (4,)), "dot"),
    Case("matmul", M, randn((0, 4), (4, 5)), "no-rows"),
    Case("matmul", M, randn((3, 0), (0, 5)), "no-terms"),
    Case("matmul", M, randn((0, 3, 4), (4, 5)), "no-batch"),
    Case("matmul", M, randn((0, 3, 4), (1, 4, 5)), "no-batch-shared"),
    Case("matmul", lambda a: M(a, a), randn((4, 4)), "same-operand"),
    Case("matmul", M, randn((37, 129), (129, 65)), "odd", big=True),
    Case("matmul", lambda a, b: M(t(a), b), randn((131, 67), (131, 33)), "odd-ta", big=True),
    Case("matmul", M, randn((200, 300), (300, 150)), "parallel", big=True),
    Case("matmul", fastnn.outer, randn((3,), (4,)), "outer"),
    Case("matmul", fastnn.bmm, randn((2, 3, 4), (2, 4, 5)), "bmm"),
    Case("linear", F.linear, randn((5, 3), (4, 3), (4,)), "bias"),
    Case("linear", F.linear, randn((5, 3), (4, 3)), "no-bias"),
    Case("linear", F.linear, randn((2, 3, 5), (4, 5), (4,)), "rank-3"),
    Case("linear", F.linear, randn((3,), (4, 3), (4,)), "vector"),
    Case("linear", F.linear, randn((0, 3), (4, 3), (4,)), "no-rows"),
    Case("linear", F.linear, randn((5, 0), (4, 0), (4,)), "no-features"),
    Case("linear", F.linear, randn((301, 130), (67, 130), (67,)), "odd", big=True),
    Case("linear", lambda x, w, r: F.linear(x, w, residual=r), randn((5, 3), (4, 3), (5, 4)),
         "residual"),
    Case("linear", lambda x, w, b: F.linear(x, w, b, residual=x), randn((5, 4), (4, 4), (4,)),
         "residual-same"),
    *fused(),
    Case("pack_weight", packed_twice, randn((3, 200), (130, 200), (130,)), grad=False),
    Case("linear", packed_twice, randn((1, 200), (133, 200), (133,)), "packed-row", grad=False),
    Case("linear", packed_twice, randn((40, 400), (70, 400), (70,)), "packed-rows", grad=False),
]
