"""Every kind of model and training, replayed: eager's bits, its memory at most, no allocations.

A new model joins by one line in MODELS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
from cases.harness import same_bits

import fastnn
from fastnn import Tensor, _core, nn, optim
from fastnn.models import MLP, REGISTRY, create
from fastnn.nn import functional as F
from fastnn.optim import lr_scheduler as schedule

pytestmark = pytest.mark.skipif(_core.backend_is_numpy(), reason="replay is about C")

STEPS = 50
BATCH, FEATURES, CLASSES = 8, 12, 4


@dataclass
class Task:
    """Functions to compile, how a step calls them, and what must be the same afterwards."""

    functions: list[Callable[..., Any]]
    call: Callable[..., list[Any]]              # (step, *functions) -> results
    state: list[Any]                            # modules, optimizers, tensors
    batches: list[Any] = field(default_factory=list)


def batches_of(shape: tuple[int, ...], target: str, sizes: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(1)
    found = []
    for n in sizes:
        x: Any = rng.standard_normal((n, *shape))
        if shape[0] == 0:               # numbers of words
            x = rng.integers(0, 9, (n, *shape[1:]))
        y = {"class": rng.integers(0, CLASSES, n), "real": rng.standard_normal((n, CLASSES)),
             "yes": rng.integers(0, 2, (n, 1)) * 1.0, "one": rng.standard_normal((n, 1))}[target]
        found.append((fastnn.tensor(x if x.dtype.kind == "i" else x.astype(np.float32)),
                      fastnn.tensor(y if y.dtype.kind == "i" else y.astype(np.float32))))
    return found


def training(model: Callable[[], nn.Module], optimizer: Any = None, loss: Any = F.cross_entropy,
             target: str = "class", clip: Any = None, plan: Any = None, shape: Any = (FEATURES,),
             sizes: tuple[int, ...] = (BATCH,) * 5) -> Task:
    """The usual step, with an optimizer of its own."""
    net = model()
    opt = optimizer(net.parameters()) if optimizer else optim.Adam(net.parameters(), 0.01)
    rates = plan(opt) if plan else None

    def step(x: Tensor, y: Tensor) -> Tensor:
        opt.zero_grad()
        value = loss(net(x), y)
        value.backward()
        if clip is not None:
            clip(net.parameters(), 0.5)
        opt.step()
        if rates is not None:
            rates.step()
        return value

    data = batches_of(shape, target, sizes)
    return Task([step], lambda i, f: [f(*data[i % len(data)])], [net, opt])


def mlp(activation: Callable[[], nn.Module] = nn.ReLU, drop: float = 0.0,
        out: int = CLASSES) -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 16), activation(), nn.Dropout(drop),
                         nn.Linear(16, 16), activation(), nn.Linear(16, out))


class Tied(nn.Module):
    """Two layers with the same weight, and a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 12), nn.Linear(12, 12)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.second(F.gelu(self.first(x))))[:, :CLASSES]


def words() -> nn.Module:
    return nn.Sequential(nn.Embedding(9, 6), nn.Flatten(), nn.Linear(30, CLASSES))


def images(name: str, side: int = 8, colours: int = 3, **options: Any) -> Task:
    """A step of a convolutional network; odd batches, so that batch norm sees several counts."""
    model = partial(create, name, num_classes=CLASSES, **options)
    return training(model, shape=(colours, side, side), sizes=(3, 3, 2))


def copies() -> Task:
    """An autoencoder: the target is the input."""
    model = partial(create, "autoencoder", code=3, size=8, width=2)
    return training(model, loss=lambda y, _: F.mse_loss(y, fastnn.full_like(y, 0.25)),
                    shape=(1, 8, 8), sizes=(3, 3, 2))


def per_pixel(scores: Tensor, y: Tensor) -> Tensor:
    """The class of an image at each of its pixels.  scores: (N, C, H, W)."""
    n, c, h, w = scores.shape
    return F.cross_entropy(scores.permute(0, 2, 3, 1).reshape(n * h * w, c),
                           y.reshape(n, 1).expand(n, h * w).reshape(-1))


def adversaries() -> Task:
    """Two models, two optimizers, two backward passes in one step."""
    maker, judge = nn.Linear(3, FEATURES), mlp(nn.Tanh, out=1)
    first, second = optim.Adam(maker.parameters(), 0.01), optim.SGD(judge.parameters(), 0.05)
    score = F.binary_cross_entropy_with_logits
    data = batches_of((FEATURES,), "yes", (BATCH,) * 3)

    def step(x: Tensor) -> tuple[Tensor, Tensor]:
        noise = fastnn.randn(BATCH, 3)
        yes, no = fastnn.ones(BATCH, 1), fastnn.zeros(BATCH, 1)
        second.zero_grad()
        told = score(judge(x), yes) + score(judge(maker(noise).detach()), no)
        told.backward()
        second.step()
        first.zero_grad()
        fooled = score(judge(maker(noise)), yes)
        fooled.backward()
        first.step()
        return told, fooled

    return Task([step], lambda i, f: list(f(data[i % 3][0])), [maker, judge, first, second])


def accumulation() -> Task:
    """Gradients of four batches, then a step: two compiled functions over the same memory."""
    net = mlp()
    opt = optim.AdamW(net.parameters(), 0.01)
    data = batches_of((FEATURES,), "class", (BATCH,) * 4)

    def add(x: Tensor, y: Tensor) -> Tensor:
        value = F.cross_entropy(net(x), y) / 4
        value.backward()
        return value

    def apply() -> Tensor:
        norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        return norm

    def call(i: int, f: Any, g: Any) -> list[Any]:
        return [f(*data[i % 4]), *([g()] if i % 4 == 3 else [])]

    return Task([add, apply], call, [net, opt])


def train_and_eval() -> Task:
    """A step, and between steps the accuracy of the same model in evaluation mode."""
    task = training(partial(mlp, drop=0.3))
    net, data = task.state[0], batches_of((FEATURES,), "class", (BATCH,) * 2)

    def accuracy(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        scores = net(x)
        return (scores.argmax(1) == y).float().mean(), scores.amax(1)

    def call(i: int, f: Any, g: Any) -> list[Any]:
        net.train()
        results = task.call(i, f)
        net.eval()
        with fastnn.no_grad():
            return results + list(g(*data[i % 2]))

    return Task([task.functions[0], accuracy], call, task.state)


def shared() -> Task:
    """An encoder under two heads, each with an optimizer that also has the encoder's weights."""
    encoder, heads = mlp(nn.Tanh, out=FEATURES), [nn.Linear(FEATURES, CLASSES) for _ in range(2)]
    opts = [optim.Adam([*encoder.parameters(), *heads[0].parameters()], 0.01),
            optim.SGD([*encoder.parameters(), *heads[1].parameters()], 0.05, momentum=0.9)]
    data = batches_of((FEATURES,), "class", (BATCH, BATCH, 3))

    def step(x: Tensor, y: Tensor) -> list[Tensor]:
        values = []
        for head, opt in zip(heads, opts, strict=True):
            opt.zero_grad()
            values.append(F.cross_entropy(head(encoder(x)), y))
            values[-1].backward()
            opt.step()
        return values

    return Task([step], lambda i, f: f(*data[i % 3]), [encoder, *heads, *opts])


def inference(model: Callable[[], nn.Module], shape: Any = (FEATURES,)) -> Task:
    net, data = model().eval(), batches_of(shape, "class", (BATCH, BATCH, 3))

    def call(i: int, f: Any) -> list[Any]:
        with fastnn.no_grad():
            return [f(data[i % 3][0])]

    return Task([lambda x: F.softmax(net(x), 1)], call, [net])


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "rmsprop": lambda p: optim.RMSprop(p, 0.01, momentum=0.5, centered=True),
    "adagrad": lambda p: optim.Adagrad(p, 0.05),
    "adam": lambda p: optim.Adam(p, 0.01),
    "amsgrad": lambda p: optim.Adam(p, 0.01, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, 0.01),
    "lion": lambda p: optim.Lion(p, 0.001),
}
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.CELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid,
               nn.Softplus, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.ReLU6, nn.LogSigmoid)
REAL_LOSSES = (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss)
PLANS: dict[str, Any] = {
    "step": lambda o: schedule.StepLR(o, 10, 0.5),
    "exponential": lambda o: schedule.ExponentialLR(o, 0.95),
    "cosine": lambda o: schedule.CosineAnnealingLR(o, STEPS),
    "restarts": lambda o: schedule.CosineAnnealingWarmRestarts(o, 7),
    "one-cycle": lambda o: schedule.OneCycleLR(o, 0.1, total_steps=500),
    "sequence": lambda o: schedule.SequentialLR(
        o, [schedule.LinearLR(o, total_iters=5), schedule.PolynomialLR(o, 40)], [5]),
}

IMAGES: dict[str, Callable[[], Task]] = {               # under their names in the registry
    "alexnet": lambda: images("alexnet", side=28, width=4, small=True),
    "autoencoder": copies,
    "cnn": lambda: images("cnn", 8, 1, size=8, channels=(4, 6), hidden=8),
    "lenet5": lambda: images("lenet5", 28, 1),
    "mobilenet_v2": lambda: images("mobilenet_v2", side=16, width_mult=0.1),
    "unet": lambda: training(partial(create, "unet", num_classes=CLASSES, width=4, depth=2),
                             loss=per_pixel, shape=(1, 8, 8), sizes=(2, 2)),
    **{f"resnet{n}": lambda n=n: images(f"resnet{n}", width=4, small=True)
       for n in (18, 34, 50, 101)},
    **{f"vgg{n}{bn}": lambda n=n, bn=bn: images(f"vgg{n}{bn}", side=32, width=2, small=True)
       for n in (11, 13, 16, 19) for bn in ("", "_bn")},
}
MODELS: dict[str, Callable[[], Task]] = {
    "perceptron": lambda: training(lambda: nn.Linear(FEATURES, 1), OPTIMIZERS["sgd"],
                                   F.binary_cross_entropy_with_logits, "yes"),
    "hinge": lambda: training(lambda: nn.Linear(FEATURES, 1), OPTIMIZERS["sgd"],
                              lambda z, y: F.relu(1 - z * (2 * y - 1)).mean(), "yes"),
    "regression": lambda: training(partial(mlp, out=1), loss=F.mse_loss, target="one"),
    "mlp": lambda: training(lambda: MLP([FEATURES, 32, 16, CLASSES], 0.2)),
    **IMAGES,
    "tied": lambda: training(Tied),
    "embedding": lambda: training(words, shape=(0, 5)),
    "dropout": lambda: training(partial(mlp, drop=0.4)),
    "odd last batch": lambda: training(mlp, sizes=(BATCH, BATCH, BATCH, 3)),
    "adversaries": adversaries,
    "accumulation": accumulation,
    "train and eval": train_and_eval,
    "inference": lambda: inference(mlp),
    "shared": shared,
    **{f"inference {name}": lambda name=name, more=more: inference(
        partial(create, name, num_classes=CLASSES, **more), (3, 16, 16))
       for name, more in (("resnet18", {"width": 4, "small": True}),
                          ("mobilenet_v2", {"width_mult": 0.1}))},
    "clip norm": lambda: training(mlp, clip=nn.utils.clip_grad_norm_),
    "clip value": lambda: training(mlp, clip=nn.utils.clip_grad_value_),
    "clip, plan, dropout": lambda: training(partial(mlp, drop=0.2), OPTIMIZERS["adamw"],
                                            clip=nn.utils.clip_grad_norm_, plan=PLANS["cosine"]),
    **{f"optimizer {k}": partial(training, mlp, v) for k, v in OPTIMIZERS.items()},
    **{f"activation {a.__name__}": partial(training, partial(mlp, a)) for a in ACTIVATIONS},
    **{f"loss {f.__name__}": partial(training, mlp, None, f, "real") for f in REAL_LOSSES},
    **{f"plan {k}": partial(training, mlp, OPTIMIZERS["momentum"], plan=v)
       for k, v in PLANS.items()},
}


def run(name: str, compiled: bool, steps: int = STEPS) -> tuple[Task, list[Any]]:
    """The task, its functions."""
    fastnn.manual_seed(0)
    task = MODELS[name]()
    return task, [fastnn.compile(f) if compiled else f for f in task.functions]


def outcome(name: str, compiled: bool) -> list[np.ndarray]:
    """Everything that can be seen after STEPS steps."""
    task, functions = run(name, compiled)
    seen = [t for i in range(STEPS) for t in task.call(i, *functions)]
    for x in task.state:
        if isinstance(x, nn.Module):
            seen += [*x.parameters(), *(p.grad for p in x.parameters() if p.grad is not None)]
            seen += x.buffers()
        else:
            seen += [t for values in x.state.values() for t in values.values()]
            seen += [np.array(group["lr"]) for group in x.param_groups]
    return [t.detach().numpy() if isinstance(t, Tensor) else t for t in seen]


@pytest.mark.parametrize("name", MODELS)
def test_fifty_steps_have_the_bits_of_eager(name: str) -> None:
    """At 1, 2 and 3 threads, every record on a team."""
    expected = outcome(name, False)
    _core.always_team(True)
    try:
        for threads in (1, 2, 3):
            fastnn.set_num_threads(threads)
            seen = outcome(name, True)
            assert len(seen) == len(expected)
            for i, (a, b) in enumerate(zip(seen, expected, strict=True)):
                assert same_bits(a, b), f"{i} of {len(seen)}, {threads} threads"
    finally:
        _core.always_team(False)


def test_every_model_of_the_registry_is_here() -> None:
    assert {*REGISTRY} <= {*MODELS}


@pytest.mark.parametrize("name", MODELS)
def test_a_replay_takes_no_more_memory_than_eager(name: str) -> None:
    """The plan against the allocator: what eager steps take at most, beyond what stays."""
    task, functions = run(name, False)
    peak = 0
    for i in range(16):
        _core.peak_bytes(True)
        before = fastnn.live_bytes()
        task.call(i, *functions)
        peak = max(peak, _core.peak_bytes() - min(before, fastnn.live_bytes()))
    task, functions = run(name, True)
    for i in range(16):
        task.call(i, *functions)
    for f in functions:
        for recorded in f.programs:
            memory = recorded.program.memory()
            assert memory["arena"] <= memory["eager_peak"] <= peak


@pytest.mark.parametrize("name", MODELS)
def test_replays_allocate_nothing(name: str) -> None:
    task, functions = run(name, True)
    for i in range(16):
        task.call(i, *functions)
    before = _core.alloc_count()
    for i in range(16, 32):
        task.call(i, *functions)
    assert _core.alloc_count() == before
