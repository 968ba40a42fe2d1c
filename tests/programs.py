"""Random small training programs: what they are, how they are drawn, how they run.

A program is a list of (op, operand, operand, variant), made valid by construction: operands are
numbers modulo what there is, shapes are brought together by means. All values stay of the order of
one. The same program runs eagerly, compiled, and on the NumPy backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from image_programs import LAYERS, SMOOTH_LAYERS, network_of

import fastnn
from fastnn import Tensor, nn, optim
from fastnn.nn import functional as F

CLASSES = 3
MOST = 300              # elements of a value


@dataclass(frozen=True)
class Program:
    """A training step and its surroundings."""

    rows: int
    columns: int
    body: tuple[tuple[str, int, int, int], ...]
    images: tuple[tuple[tuple[str, int], ...], ...]     # networks of image layers
    loss: str
    optimizer: str
    clip: str
    schedule: str
    zero: str                   # when gradients are dropped: before, filled, after, every other
    passes: int                 # forward and backward passes in a step
    returned: int
    odd: bool                   # every fifth batch is smaller
    hold: bool                  # results are looked at in the end
    smooth: bool                # no kinks: a twin's rounding changes results by little
    seed: int


class World:
    """What a program works on besides its arguments: parameters, a buffer, a generator."""

    def __init__(self, seed: int, noise: float, images: Any = ()) -> None:
        self.images = images
        self.rng = np.random.default_rng(seed)
        self.shake = np.random.default_rng(seed + 1)
        self.noise = noise
        self.made: dict[tuple[tuple[int, ...], int], Tensor] = {}
        self.buffer = fastnn.zeros(())
        self.running: dict[int, tuple[Tensor, Tensor]] = {}     # channels -> mean, variance
        self.generator = fastnn.Generator().manual_seed(seed)

    def array(self, values: Any) -> np.ndarray:
        """float32, in error by a few roundings if there is noise."""
        shaken = values * (1 + self.noise * self.shake.uniform(-1, 1, np.shape(values)))
        return np.asarray(shaken, np.float32)

    def parameter(self, shape: tuple[int, ...], which: int = 0) -> Tensor:
        """Made when first asked for; the same (shape, which) is the same parameter."""
        key = shape, which % 2
        if key not in self.made:
            values = self.rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:] or shape))
            self.made[key] = nn.Parameter(fastnn.tensor(self.array(values)))
        return self.made[key]

    def statistics(self, channels: int) -> tuple[Tensor, Tensor]:
        """Those of batch normalisation, which training moves."""
        if channels not in self.running:
            self.running[channels] = fastnn.zeros(channels), fastnn.ones(channels)
        return self.running[channels]

    def forget(self) -> None:
        """Buffers as they were at first."""
        self.buffer.zero_()
        for mean, variance in self.running.values():
            mean.zero_()
            variance.fill_(1.0)


@dataclass
class Inputs:
    """The arguments of one call."""

    x: Tensor
    labels: Tensor
    rows: Tensor                # numbers of rows of a table
    factor: Tensor

    @classmethod
    def of(cls, program: Program, world: World, step: int) -> Inputs:
        rng = np.random.default_rng((program.seed, step))
        n = program.rows + 1 - (program.odd and step % 5 == 4)
        return cls(fastnn.tensor(world.array(rng.standard_normal((n, program.columns)))),
                   fastnn.tensor(rng.integers(0, CLASSES, n)),
                   fastnn.tensor(rng.integers(0, 5, n)),
                   fastnn.tensor(world.array(rng.uniform(0.5, 1.5))))

    def tensors(self) -> tuple[Tensor, ...]:
        return self.x, self.labels, self.rows, self.factor


# ---------------------------------------------------------------- ops: (world, inputs, a, b, v)

def fit(b: Tensor, a: Tensor) -> Tensor:
    """b, or a mean of it that broadcasts to a."""
    if b.shape == a.shape:
        return b
    if b.shape[1] == a.shape[1]:
        return b.mean(0, keepdim=True)
    return b.mean(1, keepdim=True) if b.shape[0] == a.shape[0] else b.mean()


def dense(w: World, a: Tensor, v: int) -> Tensor:
    bias = w.parameter((1 + v % 7,)) if v % 3 else None
    return F.linear(a, w.parameter((1 + v % 7, a.shape[1]), v), bias)


def square_of(a: Tensor, b: Tensor) -> Tensor:
    """Products of all rows."""
    return a @ b.T / a.shape[1] if a.shape[1] == b.shape[1] else a.T @ a / a.shape[0]


def reshaped(a: Tensor, v: int) -> Tensor:
    n = a.numel()
    rows = [d for d in range(1, n + 1) if n % d == 0]
    return a.reshape(rows[v % len(rows)], -1)


def joined(a: Tensor, b: Tensor, v: int) -> Tensor:
    parts = [a, fit(b, a).expand(a.shape), a * 0.5]
    if v % 3 == 2:
        return fastnn.stack(parts, 1).reshape(a.shape[0], -1)
    return fastnn.cat(parts, v % 3)


def changed(a: Tensor, b: Tensor, v: int) -> Tensor:
    """In place, on a copy."""
    y = [a.clone, lambda: a * 1.0, lambda: fastnn.zeros_like(a)][v % 3]()
    y.add_(fit(b, y))
    y.mul_(0.5)
    if v % 4 == 1:
        y.tanh_()
    if v % 4 == 2:
        y[0] = 0.25
    if v % 4 == 3:
        y[:, -1] = a[:, 0]
    return y


def without_graph(a: Tensor, v: int) -> Tensor:
    with fastnn.no_grad():
        return F.tanh(a) + v


def running(w: World, a: Tensor) -> Tensor:
    """A buffer that follows the mean."""
    with fastnn.no_grad():
        w.buffer.mul_(0.9).add_(a.mean() * 0.1)
    return a + w.buffer


def counted(c: Inputs, a: Tensor) -> Tensor:
    """An argument that the step changes."""
    with fastnn.no_grad():
        c.factor.add_(0.125)
    return a * c.factor.clone()


def noisy(w: World, a: Tensor, v: int) -> Tensor:
    if v % 3 == 0:
        return F.dropout(a, 0.3)
    generator = w.generator if v % 3 == 1 else None
    return a + fastnn.rand(a.shape, generator=generator) * 0.1


def embedded(w: World, c: Inputs, a: Tensor, v: int) -> Tensor:
    looked = F.embedding(c.rows, w.parameter((5, 1 + v % 4)))
    return fastnn.cat([a, looked], 1) if a.shape[0] == looked.shape[0] else looked


def picked(a: Tensor, v: int) -> Tensor:
    places = fastnn.tensor([i % a.shape[v % 2] for i in range(3)])
    return a.index_select(v % 2, places) if v % 3 else fastnn.gather(
        a, 1, fastnn.tensor([[i % a.shape[1]] * 2 for i in range(a.shape[0])]))


Op = Callable[[World, Inputs, Tensor, Tensor, int], Tensor]
SMOOTH: dict[str, Op] = {
    "tanh": lambda w, c, a, b, v: F.tanh(a),
    "sigmoid": lambda w, c, a, b, v: F.sigmoid(a),
    "gelu": lambda w, c, a, b, v: F.gelu(a, approximate="tanh" if v % 2 else "none"),
    "silu": lambda w, c, a, b, v: F.silu(a),
    "softplus": lambda w, c, a, b, v: F.softplus(a),
    "elu": lambda w, c, a, b, v: F.elu(a),
    "sin": lambda w, c, a, b, v: a.sin() if v % 2 else a.cos(),
    "erf": lambda w, c, a, b, v: a.erf(),
    "exp": lambda w, c, a, b, v: (-a.square()).exp(),
    "log": lambda w, c, a, b, v: (a.square() + 1.0).log() if v % 2 else a.square().log1p(),
    "root": lambda w, c, a, b, v: (a * a + 1).sqrt() if v % 2 else (a * a + 1).rsqrt(),
    "reciprocal": lambda w, c, a, b, v: 1 / (1 + a**2),
    "neg": lambda w, c, a, b, v: -a,
    "power": lambda w, c, a, b, v: (a.tanh().square() + 0.5) ** fit(b, a).tanh(),
    "softmax": lambda w, c, a, b, v: F.softmax(a, v % 2),
    "log_softmax": lambda w, c, a, b, v: F.log_softmax(a, v % 2),
    "add": lambda w, c, a, b, v: a + fit(b, a),
    "sub": lambda w, c, a, b, v: fit(b, a) - a,
    "mul": lambda w, c, a, b, v: a * fit(b, a).tanh(),
    "square": lambda w, c, a, b, v: a.tanh() * a.tanh() if v % 2 else a.tanh().square(),
    "div": lambda w, c, a, b, v: a / (fit(b, a).square() + 1.0),
    "lerp": lambda w, c, a, b, v: a.lerp(fit(b, a).expand(a.shape), 0.25),
    "linear": lambda w, c, a, b, v: dense(w, a, v),
    "matmul": lambda w, c, a, b, v: a @ w.parameter((a.shape[1], 1 + v % 5)),
    "products": lambda w, c, a, b, v: square_of(a, b),
    "sum": lambda w, c, a, b, v: a.sum(v % 2, keepdim=True) * 0.25,
    "mean": lambda w, c, a, b, v: a.mean(v % 2, keepdim=True),
    "var": lambda w, c, a, b, v: a.var(v % 2, correction=0, keepdim=True),
    "logsumexp": lambda w, c, a, b, v: a.logsumexp(v % 2, keepdim=True),
    "cumsum": lambda w, c, a, b, v: a.cumsum(v % 2) / a.shape[v % 2],
    "reshape": lambda w, c, a, b, v: reshaped(a, v),
    "transpose": lambda w, c, a, b, v: a.T,
    "rows": lambda w, c, a, b, v: a[v % a.shape[0]:] if v % 2 else a[:1 + v % a.shape[0]],
    "columns": lambda w, c, a, b, v: a[:, v % a.shape[1]:] if v % 2 else a[:, ::2],
    "cat": lambda w, c, a, b, v: joined(a, b, v),
    "chunk": lambda w, c, a, b, v: a.chunk(2, v % 2)[0] * 2.0,
    "flip": lambda w, c, a, b, v: fastnn.flip(a, (v % 2,)) if v % 3 else fastnn.roll(a, 1, v % 2),
    "band": lambda w, c, a, b, v: fastnn.tril(a) if v % 2 else fastnn.triu(a),
    "pick": lambda w, c, a, b, v: picked(a, v),
    "embedding": lambda w, c, a, b, v: embedded(w, c, a, v),
    "noise": lambda w, c, a, b, v: noisy(w, a, v),
    "in-place": lambda w, c, a, b, v: changed(a, b, v),
    "detach": lambda w, c, a, b, v: a.detach() * 0.5,
    "no-grad": lambda w, c, a, b, v: without_graph(a, v % 3),
    "buffer": lambda w, c, a, b, v: running(w, a),
    "argument": lambda w, c, a, b, v: counted(c, a),
    "images": lambda w, c, a, b, v: network_of(w, a, w.images[v % len(w.images)], MOST),
}
KINKED: dict[str, Op] = {
    "relu": lambda w, c, a, b, v: F.relu(a) if v % 2 else F.leaky_relu(a, 0.1),
    "abs": lambda w, c, a, b, v: a.abs(),
    "clamp": lambda w, c, a, b, v: a.clamp(-0.5, 0.5) if v % 2 else F.hardtanh(a),
    "max-of": lambda w, c, a, b, v: fastnn.maximum(a, fit(b, a)) if v % 2 else a.minimum(fit(b, a)),
    "where": lambda w, c, a, b, v: fastnn.where(a > fit(b, a), a, b.mean()),
    "amax": lambda w, c, a, b, v: a.amax(v % 2, keepdim=True),
    "max": lambda w, c, a, b, v: a.max(v % 2, keepdim=True)[0],
    "argmax": lambda w, c, a, b, v: a.argmax(1).float().reshape(-1, 1) / a.shape[1],
    "accuracy": lambda w, c, a, b, v: a + (a.argmax(1) == a.argmin(1)).float().mean(),
    "steps": lambda w, c, a, b, v: a + a.round() * 0.1 if v % 2 else a.floor() * 0.1 + a.sign(),
    "one-hot": lambda w, c, a, b, v: a + F.one_hot(a.argmax(1), a.shape[1]).float(),
    "masked": lambda w, c, a, b, v: a.masked_fill(a < 0, 0.5),
    "norm": lambda w, c, a, b, v: a.norm(dim=v % 2, keepdim=True) * 0.25,
}
OPS = SMOOTH | KINKED

LOSSES: dict[str, Callable[[World, Inputs, Tensor], Tensor]] = {
    "squares": lambda w, c, y: y.square().mean(),
    "cross-entropy": lambda w, c, y: F.cross_entropy(logits(w, c, y), c.labels),
    "smoothed": lambda w, c, y: F.cross_entropy(logits(w, c, y), c.labels, label_smoothing=0.1),
    "mse": lambda w, c, y: F.mse_loss(y, fastnn.full_like(y, 0.5)),
    "huber": lambda w, c, y: F.huber_loss(y, fastnn.zeros_like(y), reduction="sum") * 0.1,
    "bce": lambda w, c, y: F.binary_cross_entropy_with_logits(y, fastnn.full_like(y, 0.25)),
    "kl": lambda w, c, y: F.kl_div(F.log_softmax(y, 1), F.softmax(y.detach() * 0.5, 1),
                                   reduction="batchmean"),
}
OPTIMIZERS: dict[str, Callable[[list[Tensor]], Any]] = {
    "sgd": lambda p: optim.SGD(p, 0.05),
    "momentum": lambda p: optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, 0.01, eps=0.1),
    "adamw": lambda p: optim.AdamW(p, 0.01, eps=0.1, amsgrad=True),
    "rmsprop": lambda p: optim.RMSprop(p, 0.01, eps=0.1, centered=True),
    "adagrad": lambda p: optim.Adagrad(p, 0.05, eps=0.1),
    "groups": lambda p: optim.Adam([{"params": p[:1]}, {"params": p[1:], "lr": 0.02}], 0.01,
                                   eps=0.1) if len(p) > 1 else optim.Adam(p, 0.01, eps=0.1),
    "lion": lambda p: optim.Lion(p, 0.001),             # a sign: kinked
}
SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "none": lambda o: None,
    "step": lambda o: optim.lr_scheduler.StepLR(o, 3, 0.5),
    "cosine": lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 20),
    "one-cycle": lambda o: optim.lr_scheduler.OneCycleLR(o, 0.05, total_steps=120,
                                                            cycle_momentum=False),
}


def logits(w: World, c: Inputs, y: Tensor) -> Tensor:
    """(rows of x, CLASSES) of any (n, m)."""
    row = F.linear(y, w.parameter((CLASSES, y.shape[1])))
    return row if y.shape[0] == c.x.shape[0] else row.mean(0, keepdim=True).expand(
        c.x.shape[0], CLASSES)


def programs() -> st.SearchStrategy[Program]:
    """Any program; those without kinks have no kinked op and no Lion."""
    def of(smooth: bool) -> st.SearchStrategy[Program]:
        names = sorted(SMOOTH if smooth else OPS) + 4 * ["images"]
        ops = st.tuples(st.sampled_from(names), st.integers(0, 9), st.integers(0, 9),
                        st.integers(0, 11))
        layers = st.tuples(st.sampled_from(sorted(SMOOTH_LAYERS if smooth else LAYERS)),
                           st.integers(0, 11))
        images = st.lists(layers, min_size=1, max_size=6).map(tuple)
        optimizers = sorted(OPTIMIZERS.keys() - ({"lion"} if smooth else set()))
        return st.builds(
            Program, rows=st.integers(1, 9), columns=st.integers(1, 9),
            body=st.lists(ops, min_size=1, max_size=14).map(tuple),
            images=st.tuples(images, images),
            loss=st.sampled_from(sorted(LOSSES)), optimizer=st.sampled_from(optimizers),
            clip=st.sampled_from(["none", "norm", "value"]),
            schedule=st.sampled_from(sorted(SCHEDULES)),
            zero=st.sampled_from(["before", "filled", "after", "every other"]),
            passes=st.integers(1, 2), returned=st.integers(0, 9), odd=st.booleans(),
            hold=st.booleans(), smooth=st.just(smooth), seed=st.integers(0, 99))
    return st.booleans().flatmap(of)


# ---------------------------------------------------------------- running one

def loss_of(p: Program, w: World, c: Inputs) -> tuple[Tensor, Tensor]:
    """The loss of the program's last value and, a little, of its first; and a value to return."""
    pool = [c.x, dense(w, c.x, 4)]
    for op, i, j, v in p.body:
        # The newest values are the likeliest operands.
        value = OPS[op](w, c, pool[-1 - i // 2 % len(pool)], pool[-1 - j % len(pool)], v)
        pool.append(value if value.numel() <= MOST else value[:1, :9])
    loss = LOSSES[p.loss](w, c, pool[-1]) + pool[1].square().mean() * 0.1
    return loss, pool[p.returned % len(pool)].detach()


class Run:
    """One program in a fresh world."""

    def __init__(self, program: Program, noise: float = 0.0) -> None:
        self.program = program
        self.world = World(program.seed, noise, program.images)
        fastnn.manual_seed(program.seed)
        with fastnn.no_grad():          # makes the parameters
            for step in (0, 4):
                loss_of(program, self.world, Inputs.of(program, self.world, step))
        self.world.forget()
        self.parameters = list(self.world.made.values())
        self.optimizer = OPTIMIZERS[program.optimizer](self.parameters)
        self.schedule = SCHEDULES[program.schedule](self.optimizer)

    def step(self, *tensors: Tensor) -> list[Tensor]:
        p, results = self.program, []
        if p.zero in ("before", "filled"):
            self.optimizer.zero_grad(set_to_none=p.zero == "before")
        for _ in range(p.passes):
            loss, value = loss_of(p, self.world, Inputs(*tensors))
            loss.backward()
            results += [loss.detach(), value]
        if p.clip == "norm":
            results.append(nn.utils.clip_grad_norm_(self.parameters, 0.5))
        elif p.clip == "value":
            nn.utils.clip_grad_value_(self.parameters, 0.05)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        if p.zero == "after":
            self.optimizer.zero_grad()
        return results

    def train(self, steps: int, compiled: bool = False) -> list[np.ndarray]:
        """All that can be seen: results and arguments of each step, then the state."""
        step = fastnn.compile(self.step) if compiled else self.step
        seen: list[Any] = []
        for i in range(steps):
            inputs = Inputs.of(self.program, self.world, i).tensors()
            results = [*step(*inputs), *inputs]
            seen += results if self.program.hold else [t.numpy().copy() for t in results]
            if self.program.zero == "every other" and i % 2:
                self.optimizer.zero_grad()
        state = [t for values in self.optimizer.state.values() for t in values.values()]
        grads = [t.grad for t in self.parameters if t.grad is not None]
        rates = [np.array(g["lr"]) for g in self.optimizer.param_groups]
        running = [t for pair in self.world.running.values() for t in pair]
        seen += [*self.parameters, *grads, *state, self.world.buffer, *running, *rates,
                 self.world.generator.get_state(), fastnn.get_rng_state()]
        return [np.array(t.detach().numpy() if isinstance(t, Tensor) else t) for t in seen]
