"""Every optimizer as it is tested, and training with it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import fastnn
from fastnn import _core, optim

SHAPES = [(13, 7), (5,), (1,), (64, 33), (0, 3), (20001,)]
CONFIGS = {
    "sgd": optim.SGD,
    "sgd-momentum": partial(optim.SGD, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "sgd-nesterov": partial(optim.SGD, lr=0.1, momentum=0.9, nesterov=True, maximize=True),
    "rmsprop": partial(optim.RMSprop, weight_decay=0.01),
    "rmsprop-all": partial(optim.RMSprop, momentum=0.9, centered=True),
    "adagrad": partial(optim.Adagrad, lr_decay=0.1, initial_accumulator_value=0.1),
    "adam": partial(optim.Adam, weight_decay=0.01),
    "adam-amsgrad": partial(optim.Adam, amsgrad=True, maximize=True),
    "adamw": optim.AdamW,
    "lion": partial(optim.Lion, lr=1e-3, weight_decay=0.1),
}
every_config = pytest.mark.parametrize("make", CONFIGS.values(), ids=CONFIGS)


def weights(shapes=SHAPES, seed=0):
    rng = np.random.default_rng(seed)
    return [fastnn.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]


def set_gradients(params, seed):
    """Random gradients through backward, so that they land where backward puts them."""
    rng = np.random.default_rng(1000 + seed)
    for p in params:
        g = fastnn.tensor(rng.standard_normal(p.shape))
        (p * g).backward(fastnn.tensor(np.ones(p.shape)))


def arrays(params):
    return [p.detach().numpy().copy() for p in params]


def bits(params):
    return b"".join(a.tobytes() for a in arrays(params))


def train(optimizer, params, steps, first=0):
    for k in range(first, first + steps):
        optimizer.zero_grad()
        set_gradients(params, k)
        optimizer.step()
    return bits(params)


def launches(function):
    """The ops that function launches."""
    _core.capture(True)
    try:
        function()
    finally:
        records = _core.capture(False)
    return [r[0] for r in records]


def address(t):
    return t.detach().numpy().ctypes.data
