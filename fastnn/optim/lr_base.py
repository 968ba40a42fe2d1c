"""What learning-rate schedules share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from .._core import host_call
from .optimizer import Optimizer


def check_optimizer(name: str, optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: optimizer: got {type(optimizer).__name__}; need an Optimizer")


def one_each(name: str, option: str, value: Any, optimizer: Optimizer) -> list[Any]:
    """A value for each group, from one for all or a list."""
    n = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * n
    if len(value) != n:
        raise ValueError(f"{name}: {option}: got {len(value)} values; need {n}, one per group")
    return list(value)


class LRScheduler:
    """Base of the schedules, and of those users write by defining ``get_lr``.

    last_epoch: -1 starts afresh and keeps each group's rate as its ``initial_lr``; another value
    continues after that epoch, with the groups' ``initial_lr`` and present ``lr``.

    Errors: TypeError for anything but an Optimizer; KeyError where a group has no initial_lr to
    continue with.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(self._name, optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{self._name}: last_epoch: got {last_epoch}, but group {i} has no initial_lr; "
                    "need the optimizer's state loaded first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._start()

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _start(self) -> None:
        """The step that sets the first rate."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_lr(self) -> list[float]:
        """The rate of each group for ``last_epoch``, from the rates of the epoch before."""
        raise NotImplementedError(f"{self._name}: got no get_lr(); need one in the subclass")

    def get_last_lr(self) -> list[float]:
        """The rates set last, one per group."""
        return self._last_lr

    def step(self, epoch: Any = None) -> None:
        """Go to the next epoch, or to the given one, and set its rates."""
        host_call("after", lambda: self._step(epoch))

    def _step(self, epoch: Any) -> None:
        if self._step_count == 1 and getattr(self.optimizer, "_steps_taken", 1) == 0:
            warnings.warn(
                "lr_scheduler.step() was called before optimizer.step(); the first rate is skipped",
                UserWarning, stacklevel=2,
            )
        self._go_to(epoch)
        self._step_count += 1

    def _go_to(self, epoch: Any) -> None:
        before = self.last_epoch
        self.last_epoch = before + 1 if epoch is None else epoch
        try:
            values = self.get_lr() if epoch is None else self._lr_at(epoch)
        except Exception:
            self.last_epoch = before
            raise
        self._set_lr(values)

    def _lr_at(self, epoch: int) -> list[float]:
        """The rates of an epoch reached by a jump; last_epoch is there already."""
        return self.get_lr()

    def _set_lr(self, values: list[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """All there is to continue with, but for the optimizer."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state_dict; load the optimizer's too."""
        self.__dict__.update(state_dict)
