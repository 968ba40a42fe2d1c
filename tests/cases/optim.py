"""Cases of op_optim.h: two steps of each optimizer, and the operations of clipping."""

from functools import partial

import numpy as np

import fastnn
from fastnn import optim
from fastnn.nn import utils

from . import Case, randn


def steps(make, p, *grads):
    """Step a copy of p once per gradient."""
    p = fastnn.tensor(p, requires_grad=True)
    optimizer = make([p])
    for g in grads:
        p.grad = g
        optimizer.step()


def gradients(arrays, together):
    """Parameters with these gradients, together in an arena or each in memory of its own."""
    params = [fastnn.tensor(np.ones(g.shape), requires_grad=True) for g in arrays]
    optimizer = optim.SGD(params)
    for p, g in zip(params, arrays, strict=True):
        if together:
            (p * g).backward(fastnn.tensor(np.ones(g.shape)))
        else:
            p.grad = fastnn.tensor(g)
    return optimizer, params


def clip(kind, together, *grads):
    utils.clip_grad_norm_(gradients(grads, together)[1], 0.5, kind)


def clamp(together, *grads):
    utils.clip_grad_value_(gradients(grads, together)[1], 0.5)


def zero(together, *grads):
    gradients(grads, together)[0].zero_grad(set_to_none=False)


def case(op, make, name, shape=(37,), **more):
    return Case(op, partial(steps, make), randn(shape, shape, shape), name, grad=False, **more)


def variants(op, make, **options):
    """A plain case, one per option set, and the odd sizes."""
    yield case(op, make, "plain")
    for name, chosen in options.items():
        yield case(op, partial(make, **chosen), name.replace("_", "-"))
    yield case(op, make, "one-element", (1,))
    yield case(op, make, "no-elements", (0, 3))
    yield case(op, make, "odd", (9001, 3), big=True)


L2 = {"weight_decay": 0.1}
UP = {"maximize": True}
SEGMENTS = randn((3, 5), (4097,), (0,), (1,), (12288,))
PLACES = [("apart", False, SEGMENTS), ("together", True, SEGMENTS),
          ("no-elements", True, randn((0,)))]

CASES = [
    *variants("sgd", optim.SGD, momentum={"momentum": 0.9}, decay=L2, maximize=UP,
              dampening={"momentum": 0.9, "dampening": 0.5},
              nesterov={"momentum": 0.9, "nesterov": True}),
    *variants("rmsprop", optim.RMSprop, momentum={"momentum": 0.9}, centered={"centered": True},
              decay=L2, maximize=UP, all={"momentum": 0.9, "centered": True, **L2}),
    *variants("adagrad", optim.Adagrad, decay=L2, maximize=UP, slower={"lr_decay": 0.1},
              warm={"initial_accumulator_value": 0.5}),
    *variants("adam", optim.Adam, decay=L2, maximize=UP, amsgrad={"amsgrad": True},
              adamw={"decoupled_weight_decay": True, "lr": 0.1, **L2},
              no_momentum={"betas": (0.0, 0.9)}),
    *variants("lion", optim.Lion, decay=L2, maximize=UP),
    *(
        Case(op, partial(clip, kind, together), shapes, f"{kind}-{name}", grad=False)
        for op in ("grad_sums", "grad_norm", "grad_scale")
        for kind in (2, 1, np.inf)
        for name, together, shapes in PLACES
    ),
    *(
        Case(op, partial(fn, together), shapes, name, grad=False, exact=True)
        for op, fn in (("grad_clamp", clamp), ("grad_zero", zero))
        for name, together, shapes in PLACES
    ),
]
