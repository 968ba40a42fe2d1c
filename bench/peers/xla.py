"""jax: every row one jitted function of arrays on the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import models
from ..rows import Row
from . import Job, magnitude
from .torchlike import STEP_RATE


class Jax:
    """XLA takes its number of threads from the variable NPROC and from the process's affinity."""

    def __init__(self, threads: int) -> None:
        import jax
        import jaxlib

        jax.config.update("jax_cpu_enable_async_dispatch", False)   # mlp-tiny: 30 µs, else 94
        self.jax = jax
        self.about = {"versions": {"jax": jax.__version__, "jaxlib": jaxlib.__version__},
                      "settings": "one jitted call, donated parameters and states, dispatched "
                                  "synchronously"}

    def build(self, row: Row) -> Job | None:
        return getattr(self, row.mode)(row) if row.jax else None

    def prepared(self, row: Row) -> tuple[Any, list[Any], list[Any]]:
        """The row's function, its inputs and its weights."""
        assert row.jax
        array = self.jax.numpy.array
        inputs, weights = row.arrays()
        return (row.jax(self.jax),
                [array(a.astype(np.int32) if a.dtype == np.int64 else a) for a in inputs],
                [array(row.jax_layout(w)) for w in weights])

    def forward(self, row: Row) -> Job:
        return self.eager(row, self.jax.jit)

    def eager(self, row: Row, compiled: Any = lambda function: function) -> Job:
        function, inputs, weights = self.prepared(row)
        function, operands = compiled(function), [*inputs, *weights]
        return Job(lambda: function(*operands).block_until_ready(), magnitude)

    def backward(self, row: Row) -> Job:
        function, inputs, weights = self.prepared(row)
        operands = [*inputs, *weights]
        wanted = tuple(i for i, x in enumerate(operands) if x.dtype == np.float32)
        both = self.jax.jit(self.jax.value_and_grad(lambda *xs: function(*xs).sum(), wanted))
        return Job(lambda: self.jax.block_until_ready(both(*operands)),
                   lambda out: magnitude(out[1][0]))

    def step(self, row: Row) -> Job:
        function, (*inputs, labels), params = self.prepared(row)

        def loss_of(params: Any, inputs: Any, labels: Any) -> Any:
            return models.cross_entropy_jax(self.jax, function(*inputs, *params), labels)

        def one_step(params: Any, state: Any, *batch: Any) -> Any:
            loss, grads = self.jax.value_and_grad(loss_of)(params, *batch)
            return *models.adam_jax(self.jax, params, grads, state, STEP_RATE), loss

        return self.stepping(one_step, params, inputs, labels)

    def optimizer(self, row: Row) -> Job:
        update, _, params = self.prepared(row)

        def one_step(params: Any, state: Any, grads: Any) -> Any:
            params, state = update(params, grads, state)
            return params, state, params[0]

        return self.stepping(one_step, params, [p + 0 for p in params])

    def stepping(self, one_step: Any, params: list[Any], *operands: Any) -> Job:
        """A job that feeds parameters and states back into one_step."""
        compiled = self.jax.jit(one_step, donate_argnums=(0, 1))
        zeros = [self.jax.numpy.zeros_like(p) for p in params]
        now = [params, (self.jax.numpy.float32(0), zeros, [z + 0 for z in zeros])]

        def run() -> Any:
            now[0], now[1], out = compiled(*now, *operands)
            return out.block_until_ready()

        return Job(run, magnitude)
