"""Learning-rate schedules that follow a metric, and those made of others."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, SupportsFloat

from .._core import host_call
from .lr_base import LRScheduler, check_optimizer, one_each
from .optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """Times factor once a metric has not improved for more than patience calls of step(metric).

    mode: "min" or "max", which way is better. threshold: what counts as better, relative to the
    best so far ("rel") or absolute ("abs"). cooldown: calls after a reduction that do not count.
    min_lr: lower bound, for all groups or a list of one each. eps: smaller changes are not made.

    Errors: ValueError for a factor of 1 or more or an unknown mode.

    Example:
        >>> import fastnn
        >>> w = fastnn.tensor([1.0], requires_grad=True)
        >>> optimizer = fastnn.optim.SGD([w], lr=0.5)
        >>> from fastnn.optim.lr_scheduler import ReduceLROnPlateau
        >>> schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        >>> schedule.step(1.0); schedule.step(1.0); schedule.get_last_lr()
        [0.25]
    """

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
        threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
        min_lr: float | list[float] = 0, eps: float = 1e-8,
    ) -> None:
        check_optimizer("ReduceLROnPlateau", optimizer)
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor: got {factor}; need less than 1")
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode: got {mode!r}; need 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"ReduceLROnPlateau: threshold_mode: got {threshold_mode!r}; need 'rel' or 'abs'"
            )
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = one_each("ReduceLROnPlateau", "min_lr", min_lr, optimizer)
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else min_lr
        self.eps = eps
        self.last_epoch = 0
        self.best = inf if mode == "min" else -inf
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:  # type: ignore[override]
        """Note the metric of one more epoch, and reduce the rates if it has stalled."""
        metric = float(metrics)
        host_call("after", lambda: self._note(metric, epoch))

    def _note(self, metric: float, epoch: int | None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(metric):
            self.best = metric
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _is_better(self, metric: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "rel":
            return sign * metric > sign * (self.best * (1 + sign * self.threshold))
        return sign * metric > sign * (self.best + sign * self.threshold)

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs) and self.default_min_lr is not None:
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, least in zip(groups, self.min_lrs, strict=True):
            lr = max(float(group["lr"]) * self.factor, least)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr


class _Several(LRScheduler):
    """What schedules of schedules share."""

    _schedulers: list[LRScheduler]

    def _take(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        for s in schedulers:
            if isinstance(s, ReduceLROnPlateau):
                raise ValueError(f"{self._name}: schedulers: got ReduceLROnPlateau, whose step "
                                 "takes a metric; need others")
            if s.optimizer is not optimizer:
                raise ValueError(
                    f"{self._name}: schedulers: got one of another optimizer; need the same"
                )
        self.optimizer = optimizer
        self._schedulers = list(schedulers)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for s, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            s.load_state_dict(state)


class SequentialLR(_Several):
    """One schedule after the other: the next takes over at each of the milestones (epochs).

    Errors: ValueError unless there is one milestone less than schedulers, all of one optimizer.

    Example:
        >>> import fastnn
        >>> from fastnn.optim import lr_scheduler as lrs
        >>> w = fastnn.tensor([1.0], requires_grad=True)
        >>> optimizer = fastnn.optim.SGD([w], lr=0.5)
        >>> warm = lrs.ConstantLR(optimizer, factor=0.5, total_iters=2)
        >>> decay = lrs.ExponentialLR(optimizer, gamma=0.5)
        >>> schedule = lrs.SequentialLR(optimizer, [warm, decay], milestones=[1])
        >>> schedule.get_last_lr(), optimizer.step(), schedule.step(), schedule.get_last_lr()
        ([0.25], None, None, [0.5])
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        self._take(optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(f"SequentialLR: milestones: got {len(milestones)} for "
                             f"{len(schedulers)} schedulers; need one less")
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        # Each schedule has set its first rate when it was made; only the first one is to.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._undo(self)
        active = self._schedulers[bisect_right(self._milestones, 0)]
        active._start()
        self._last_lr = active.get_last_lr()

    def _undo(self, scheduler: LRScheduler) -> None:
        if isinstance(scheduler, _Several):
            for s in scheduler._schedulers:
                self._undo(s)
        else:
            scheduler.last_epoch -= 1

    def step(self, epoch: Any = None) -> None:
        """Go to the next epoch and set its rates."""
        host_call("after", self._advance)

    def _advance(self) -> None:
        self.last_epoch += 1
        k = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[k]
        if k > 0 and self._milestones[k - 1] == self.last_epoch:
            scheduler._go_to(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Several):
    """Several schedules at once, each multiplying the rate that the one before it has set."""

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if not schedulers:
            raise ValueError("ChainedScheduler: schedulers: got none; need at least one")
        self._take(optimizer or schedulers[0].optimizer, schedulers)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def step(self, epoch: Any = None) -> None:
        """Step every schedule."""
        host_call("after", self._advance)

    def _advance(self) -> None:
        for s in self._schedulers:
            s.step()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
