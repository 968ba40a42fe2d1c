"""fastnn and torch: one adapter, since fastnn has torch's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..rows import Row
from . import Job

STEP_RATE = 1e-9    # changes no bit of a weight: the last step is as much work as the first


class Torchlike:
    """Builds rows with a namespace t that is torch or has its names."""

    def __init__(self, t: Any, threads: int) -> None:
        self.t = t
        t.set_num_threads(threads)
        self.about = {"versions": {t.__name__: t.__version__}, "settings": ""}

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def build(self, row: Row) -> Job | None:
        return getattr(self, row.mode)(row)

    def tensors(self, arrays: list[np.ndarray]) -> list[Any]:
        return [self.t.from_numpy(a) for a in arrays]

    def prepared(self, row: Row) -> tuple[Callable[..., Any], list[Any], list[Any]]:
        """The row's function, its operands and its trainable tensors."""
        arrays, weights = row.arrays()
        function, inputs = row.torch(self.t), self.tensors(arrays)
        if not isinstance(function, self.t.nn.Module):
            trained = self.tensors(weights)
            return function, inputs + trained, trained
        with self.t.no_grad():
            for p, w in zip(function.parameters(), self.tensors(weights), strict=True):
                p.copy_(w)
        return function, inputs, list(function.parameters())

    def forward(self, row: Row) -> Job:
        job = self.eager(row)
        job.context = self.t.inference_mode()
        return job

    def eager(self, row: Row) -> Job:
        function, operands, _ = self.prepared(row)
        function = self.compiled(function)
        return Job(lambda: function(*operands), magnitude)

    def backward(self, row: Row) -> Job:
        function, operands, _ = self.prepared(row)
        leaves = [x for x in operands if x.is_floating_point()]
        for x in leaves:
            x.requires_grad_(True)
        loss = self.compiled(lambda: function(*operands).sum())

        def run() -> Any:
            for x in leaves:
                x.grad = None
            loss().backward()
            return leaves[0]

        return Job(run, lambda leaf: magnitude(leaf.grad))

    def step(self, row: Row) -> Job:
        model, (*inputs, labels), trained = self.prepared(row)
        optimizer = self.t.optim.Adam(trained, lr=STEP_RATE, fused=True)
        cross_entropy = self.t.nn.functional.cross_entropy
        loss_of = self.compiled(lambda: cross_entropy(model(*inputs), labels))

        def run() -> Any:
            optimizer.zero_grad()
            loss = loss_of()
            loss.backward()
            optimizer.step()
            return loss

        return Job(run, magnitude)

    def optimizer(self, row: Row) -> Job:
        _, arrays = row.arrays()
        params = [x.requires_grad_(True) for x in self.tensors(arrays)]
        for p, gradient in zip(params, self.tensors(arrays), strict=True):
            p.grad = gradient * 1.0
        optimizer = row.torch(self.t)(params)

        def run() -> Any:
            optimizer.step()
            return params[0]

        return Job(run, magnitude)


class Fastnn(Torchlike):
    def __init__(self, threads: int) -> None:
        import fastnn

        super().__init__(fastnn, threads)
        self.about["settings"] = fastnn._core.isa()


class Torch(Torchlike):
    def __init__(self, threads: int, compile: bool = False) -> None:
        import torch

        torch.set_num_interop_threads(1)
        super().__init__(torch, threads)
        self.compile = compile
        self.about["settings"] = "inference_mode, fused optimizers"


def magnitude(x: Any) -> float:
    """Mean of |x| in double precision."""
    return float(np.abs(np.asarray(x.detach().numpy(), np.float64)).mean())
