"""What tests of compiled functions share: steps, a small network, and what can be seen of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import Case
from cases.harness import same_bits

import fastnn
from fastnn import nn, optim
from fastnn.nn import functional as F


def arrays_of(value: Any) -> list[np.ndarray]:
    """Copies of all tensors in a result."""
    if isinstance(value, fastnn.Tensor):
        return [np.array(value.detach().numpy())]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [a for v in value for a in arrays_of(v)]
    return []


def tensors_of(value: Any) -> list[fastnn.Tensor]:
    if isinstance(value, fastnn.Tensor):
        return [value]
    return [t for v in value for t in tensors_of(v)] if isinstance(value, (tuple, list)) else []


def step_of(case: Case) -> Any:
    """The case's function with its gradients, as a step that returns all it computes."""
    def step(*inputs: fastnn.Tensor) -> Any:
        if not case.grad:
            return [t.detach() for t in tensors_of(case.fn(*inputs))]
        leaves = [t.clone().requires_grad_() if t.dtype is fastnn.float32 else t for t in inputs]
        result = case.fn(*leaves)
        outputs = [t for t in tensors_of(result) if t.requires_grad]
        if outputs:
            sum((t.float() * t.float()).sum() for t in outputs).backward()
        return [t.detach() for t in tensors_of(result)], [
            t.grad for t in leaves if t.grad is not None]
    return step


REFUSED = {
    "take-mask": "a mask's result has a size that depends on values",
    "randint-permutation": "randperm sorts in NumPy",
}


def network(seed: int = 0) -> nn.Sequential:
    fastnn.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 4))


def batch(i: int, n: int = 8) -> tuple[fastnn.Tensor, fastnn.Tensor]:
    rng = np.random.default_rng(i)
    x = rng.standard_normal((n, 12)).astype(np.float32)
    return fastnn.tensor(x), fastnn.tensor(rng.integers(0, 4, n))


def trained(make: Any, compiled: bool, steps: int = 50, plan: Any = None, sizes=(8,)) -> list[Any]:
    """Losses, parameters and optimizer states after some steps."""
    model = network()
    optimizer = make(model.parameters())
    schedule = plan(optimizer) if plan else None

    def step(x: fastnn.Tensor, y: fastnn.Tensor) -> fastnn.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        return loss

    run = fastnn.compile(step) if compiled else step
    losses = [run(*batch(i, sizes[i % len(sizes)])) for i in range(steps)]
    rates = [group["lr"] for group in optimizer.param_groups]
    states = [arrays_of(s) for s in optimizer.state.values()]
    grads = [arrays_of(p.grad) for p in model.parameters()]
    return [arrays_of(losses), arrays_of(list(model.parameters())), states, grads, rates]


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return same_bits(a, b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: optim.RMSprop(p, 0.01),
    "adagrad": lambda p: optim.Adagrad(p, 0.05),
    "adam": lambda p: optim.Adam(p, 0.01, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, 0.01),
    "lion": lambda p: optim.Lion(p, 0.001),
}


def training_step(model: nn.Module, optimizer: optim.Optimizer) -> Any:
    """A compiled step of a classifier, from images and labels to the loss."""
    @fastnn.compile
    def step(x: fastnn.Tensor, y: fastnn.Tensor) -> fastnn.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss
    return step
