"""Optimizers whose step is one kernel over a whole group.

The parameters of a group lie side by side in an arena, so do their gradients and each state; the
step is then one loop over flat memory. What is not in its place is stepped on its own by the same
kernel, with the same bits:

- A parameter moves into the arena when the optimizer is made, or at a later step, but only while
  nobody else holds its memory. A view, a NumPy array or a graph made from it before thus keeps
  showing the parameter; views made afterwards lie in the arena too. Of several optimizers over
  one parameter the one made last has it in its arena; each steps it correctly.
- backward writes a fresh gradient into the arena, unless somebody kept the previous one
  (g = p.grad), which stays as it was. A gradient that is assigned stays where it is.
- Parameters without gradient are skipped and their step count stands still.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np

from .. import _core
from .._core import Arena, Tensor, empty
from ..errors import ShapeError, UnsupportedOpError
from ..ops import optim
from .optimizer import Optimizer, Params

_NOTHING = empty((0,))


class Block:
    """The memory of one group: its arena, and what the optimizer remembers next to it."""

    def __init__(self, params: list[Tensor], n_options: int) -> None:
        self.params = params
        self.arena = Arena(params)
        self.counts = empty((len(params),))
        self.counts.numpy().fill(0)
        self.options = empty((n_options,), "float64")
        self.memory: dict[str, Tensor] = {}
        self.names: tuple[str | None, ...] = ()
        self.states: tuple[Tensor, ...] = ()

    def reserve(self, names: tuple[str | None, ...], fill: float) -> None:
        """Provide a state for each name; None is a state not in use."""
        for name in names:
            if name is not None and name not in self.memory:
                memory = empty((self.arena.numel,))
                memory.numpy().fill(fill)
                self.memory[name] = memory
        self.names = names
        self.states = tuple(_NOTHING if n is None else self.memory[n] for n in names)

    def state_of(self, i: int) -> dict[str, Tensor]:
        """Views of the states of parameter i."""
        return {name: self.arena.part(memory, i) for name, memory in self.memory.items()}

    def count_of(self, i: int) -> Tensor:
        """The step count of parameter i, a scalar that shares memory."""
        return _core.call_view(0, self.counts, (), i)


class FusedOptimizer(Optimizer):
    """Base of the optimizers that come with fastnn; each names its kernel, options and states."""

    op: int
    counted = True              # "step" is part of the state

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        self._blocks: list[Block] = []
        self._steps_taken = 0
        if defaults.get("differentiable"):
            raise UnsupportedOpError(f"{self._name}: differentiable: got True; need False")
        super().__init__(params, defaults)

    # What a subclass says of itself.

    def _values(self, group: dict[str, Any]) -> tuple[float, ...]:
        """Option values in the order of the kernel."""
        raise NotImplementedError

    def _flags(self, group: dict[str, Any]) -> int:
        """The kernel's flags."""
        raise NotImplementedError

    def _states(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        """The names of the kernel's states, None for one that these options do not use."""
        raise NotImplementedError

    def _fill(self, group: dict[str, Any]) -> float:
        """What states start from."""
        return 0.0

    def _has_state(self, block: Block, i: int) -> bool:
        """Whether parameter i has been stepped; before that it has no state to show."""
        return bool(block.counts.numpy()[i] > 0)

    # What follows from it.

    def _check_options(self, group: dict[str, Any]) -> None:
        for name in ("lr", "eps", "weight_decay", "momentum", "alpha", "lr_decay",
                     "initial_accumulator_value"):
            if name in group and not float(group[name]) >= 0:
                raise ValueError(f"{self._name}: {name}: got {group[name]}; need 0 or more")
        for beta in group.get("betas", ()):
            if not 0 <= float(beta) < 1:
                raise ValueError(f"{self._name}: betas: got {group['betas']}; need 0 <= beta < 1")
        self._values(group)

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self._blocks = []
        super().__setstate__(saved)

    def _add_group(self, group: dict[str, Any]) -> None:
        block = Block(group["params"], len(self._values(group)))
        self._blocks.append(block)
        self.param_groups.append(group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters that have a gradient; closure computes the loss that is returned.

        Errors leave every parameter and state as it was.
        """
        loss = None
        if closure is not None:
            grad_mode = _core.set_grad_enabled(True)
            try:
                loss = closure()
            finally:
                _core.set_grad_enabled(grad_mode)
        jobs = self._jobs()
        if _core.is_recording():
            _core.note_host("refresh", lambda: self._refresh(jobs))
        optim.step(self.op, jobs)
        self._steps_taken += 1
        return loss

    def _jobs(self) -> list[optim.Job]:
        """What to step, with the options as they are now."""
        jobs: list[optim.Job] = []
        for group, block in zip(self.param_groups, self._blocks, strict=True):
            if group["params"] is not block.params or len(block.params) != block.counts.numel():
                raise ValueError(f"{self._name}: params: got another list than the group was made "
                                 "with; need add_param_group, or a new optimizer")
            names = self._states(group)
            if names != block.names:
                block.reserve(names, self._fill(group))
            jobs.append((block.arena, self._flags(group), block.counts, self._values(group),
                         block.options, block.states))
        return jobs

    def _refresh(self, recorded: list[optim.Job]) -> bool:
        """Write today's options where the kernels read them; False if more than values changed."""
        jobs = self._jobs()
        if len(jobs) != len(recorded):
            return False
        for new, old in zip(jobs, recorded, strict=True):
            if new[0] is not old[0] or new[1] != old[1] or new[5] is not old[5]:
                return False
        optim.set_options(jobs)
        self._steps_taken += 1
        return True

    @property
    def state(self) -> Any:
        """{parameter: {name: tensor}}, read-only; the tensors are views of the optimizer's memory.

        Write into a tensor to change it, or use load_state_dict; assign {} to forget everything.
        """
        state: dict[Tensor, Any] = {}
        for block in self._blocks:
            for i, p in enumerate(block.arena.params):
                if self._has_state(block, i):
                    step = {"step": block.count_of(i)} if self.counted else {}
                    values = {**step, **block.state_of(i)}
                    if values:
                        state[p] = MappingProxyType(values)
        return MappingProxyType(state)

    @state.setter
    def state(self, value: Any) -> None:
        if value:
            raise ValueError(f"{self._name}: state: got values; need an empty dictionary to start "
                             "afresh, or load_state_dict")
        self._load_state({}, self.param_groups)

    def _load_state(self, state: dict[Any, Any], groups: list[dict[str, Any]]) -> None:
        blocks = list(zip(groups, self._blocks, strict=True))
        plans = []
        for group, block in blocks:
            for i, p in enumerate(block.arena.params):
                plans.append((block, i, *self._read_state(state.get(p), p, i, group)))
        for group, block in blocks:
            block.reserve(self._states(group), self._fill(group))
        for group, block in blocks:
            block.counts.numpy().fill(0)
            for memory in block.memory.values():
                memory.numpy().fill(self._fill(group))
        for block, i, count, arrays in plans:
            block.counts.numpy()[i] = count
            for name, array in arrays.items():
                block.arena.part(block.memory[name], i).numpy()[...] = array

    def _read_state(
        self, values: Any, p: Tensor, i: int, group: dict[str, Any]
    ) -> tuple[float, dict[str, Any]]:
        """Step count and arrays of one parameter from a dictionary, copied and checked."""
        names = [n for n in self._states(group) if n is not None]
        if not values or (not self.counted and values.get(names[0]) is None):
            return 0.0, {}
        needed = ["step", *names] if self.counted else names
        missing = [n for n in needed if n not in values]
        if missing:
            raise ValueError(
                f"{self._name}: state_dict: state of parameter {i}: got {sorted(values)}; "
                f"need {missing} too"
            )
        arrays = {n: _array(values[n]) for n in names}
        for name, array in arrays.items():
            if array.shape != p.shape:
                raise ShapeError(
                    f"{self._name}: state_dict: {name} of parameter {i}: got shape {array.shape}; "
                    f"need {p.shape}"
                )
        return float(values["step"]) if self.counted else 1.0, arrays


def _array(value: Any) -> np.ndarray:
    """A float32 copy of a tensor, of this engine or another, or of an array."""
    if hasattr(value, "detach"):
        value = value.detach().numpy()
    return np.array(value, np.float32)
