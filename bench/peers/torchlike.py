"""fastnn and torch: one adapter, since fastnn has torch's names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from ..rows import Row
from . import Job
from . import magnitude as of_array

STEP_RATE = 1e-9    # changes no bit of a weight: the last step is as much work as the first


class Torchlike:
    """Builds rows with a namespace t that is torch or has its names."""

    def __init__(self, t: Any, threads: int) -> None:
        self.t = t
        t.set_num_threads(threads)
        self.about = {"versions": {t.__name__: t.__version__}, "settings": ""}

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def replayed(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """The whole step, optimizer included, as one call: where the library can."""
        return step

    def build(self, row: Row) -> Job | None:
        return getattr(self, row.mode)(row)

    def tensors(self, arrays: list[np.ndarray]) -> list[Any]:
        """In the library's own memory, which is aligned as its kernels like it."""
        return [self.t.from_numpy(a).clone() for a in arrays]

    def prepared(self, row: Row) -> tuple[Callable[..., Any], list[Any], list[Any]]:
        """The row's function, its operands and its trainable tensors."""
        arrays, weights = row.arrays()
        function, inputs = row.torch(self.t), self.tensors(arrays)
        if not isinstance(function, self.t.nn.Module):
            trained = self.tensors(weights)
            return function, inputs + trained, trained
        with self.t.no_grad():
            statistics = [b for b in function.buffers() if b.is_floating_point()]
            for p, w in zip((*function.parameters(), *statistics), self.tensors(weights),
                            strict=True):
                p.copy_(w)
        return function, inputs, list(function.parameters())

    def inference(self, row: Row) -> tuple[Callable[..., Any], list[Any]]:
        """The row's function as it predicts, and its operands."""
        function, operands, _ = self.prepared(row)
        if isinstance(function, self.t.nn.Module):
            function.eval()
        return function, operands

    def forward(self, row: Row) -> Job:
        function, operands = self.inference(row)
        function = self.compiled(function)
        return Job(lambda: function(*operands), magnitude, self.t.inference_mode())

    def eager(self, row: Row) -> Job | None:
        function, operands, _ = self.prepared(row)
        return Job(lambda: function(*operands), magnitude)

    def backward(self, row: Row) -> Job:
        function, operands, _ = self.prepared(row)
        leaves = [x for x in operands if x.is_floating_point()]
        for x in leaves:
            x.requires_grad_(True)
        loss = self.compiled(lambda *xs: function(*xs).sum())

        def run() -> Any:
            for x in leaves:
                x.grad = None
            loss(*operands).backward()
            return leaves[0]

        return Job(run, lambda leaf: magnitude(leaf.grad))

    def step(self, row: Row) -> Job:
        model, batch, trained = self.prepared(row)
        optimizer = self.t.optim.Adam(trained, lr=STEP_RATE, fused=True)
        cross_entropy = self.t.nn.functional.cross_entropy
        loss_of = self.compiled(lambda *xs: cross_entropy(model(*xs[:-1]), xs[-1]))

        def one_step(*batch: Any) -> Any:
            optimizer.zero_grad()
            loss = loss_of(*batch)
            loss.backward()
            optimizer.step()
            return loss

        one_step = self.replayed(one_step)
        return Job(lambda: one_step(*batch), magnitude)

    def optimizer(self, row: Row) -> Job:
        _, arrays = row.arrays()
        params = [x.requires_grad_(True) for x in self.tensors(arrays)]
        for p, gradient in zip(params, self.tensors(arrays), strict=True):
            p.grad = gradient
        optimizer_step = self.compiled(row.torch(self.t)(params).step)

        def run() -> Any:
            optimizer_step()
            return params[0]

        return Job(run, magnitude)


class FastnnEager(Torchlike):
    """Models without fastnn.compile; kernels are the same and measured once."""

    def __init__(self, threads: int) -> None:
        import fastnn

        super().__init__(fastnn, threads)
        self.about["settings"] = f"{fastnn._core.isa()}, models eagerly"

    def build(self, row: Row) -> Job | None:
        return None if row.group == "kernels" else super().build(row)


class Fastnn(FastnnEager):
    """Models by fastnn.compile, as other libraries' are compiled; kernels by plain calls."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.about["settings"] = f"{self.t._core.isa()}, models replayed"

    def build(self, row: Row) -> Job | None:
        return Torchlike.build(self, row)

    def replayed(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return self.t.compile(step)

    def forward(self, row: Row) -> Job:
        function, operands = self.inference(row)
        if row.group != "kernels":
            function = self.t.compile(function)
        return Job(lambda: function(*operands), magnitude, self.t.inference_mode())


class FastnnExact(Fastnn):
    """Without Winograd's transform: the rows that have convolutions."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.t.exact_conv(True)
        self.about["settings"] += ", exact_conv"

    def build(self, row: Row) -> Job | None:
        convolves = any(isinstance(s, tuple) and len(s) == 4 for s in row.weights)
        return super().build(row) if convolves else None


class Torch(Torchlike):
    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_interop_threads(1)
        super().__init__(torch, threads)
        self.about["settings"] = "inference_mode, fused optimizers"


class TorchChannelsLast(Torch):
    """Images and kernels in the order that torch's convolutions like best; other rows it lacks."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.about["settings"] += ", channels_last"

    def tensors(self, arrays: list[np.ndarray]) -> list[Any]:
        order = self.t.channels_last
        return [x.contiguous(memory_format=order) if x.ndim == 4 else x
                for x in super().tensors(arrays)]

    def prepared(self, row: Row) -> tuple[Callable[..., Any], list[Any], list[Any]]:
        function, *rest = super().prepared(row)
        if isinstance(function, self.t.nn.Module):
            function.to(memory_format=self.t.channels_last)
        return function, *rest

    def build(self, row: Row) -> Job | None:
        images = any(len(a.shape) == 4 for a in row.inputs)
        return super().build(row) if images else None


class TorchCompile(Torch):
    """torch.compile of the forward pass and loss (backward follows), or of the optimizer's step."""

    def __init__(self, threads: int) -> None:
        self.cache = tempfile.TemporaryDirectory()      # empty: `first` is what compiling takes
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = self.cache.name
        super().__init__(threads)
        from torch._inductor import config

        config.freezing = True                          # for inference: weights as constants
        self.about["settings"] = "torch.compile with inductor, frozen weights in inference"

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return self.t.compile(lambda *xs: function(*xs), dynamic=False)

    def build(self, row: Row) -> Job | None:
        self.t.compiler.reset()         # or the ninth row would silently not be compiled
        return super().build(row)

    def eager(self, row: Row) -> None:
        return None



def magnitude(x: Any) -> float:
    return of_array(x.detach().numpy())
