"""Learning-rate schedules: each sets ``lr`` in the groups of an optimizer.

``last_epoch`` counts calls of step() from 0; the rate for it is set by the time step() returns. A
schedule multiplies the rate it finds, so that schedules chain and a rate changed by hand is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from math import cos, pi
from types import FunctionType
from typing import Any

from .lr_base import LRScheduler, check_optimizer, one_each
from .lr_several import ChainedScheduler, ReduceLROnPlateau, SequentialLR
from .optimizer import Optimizer

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
    "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "OneCycleLR",
    "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]


class _FactorLR(LRScheduler):
    """lr = floor + (initial_lr - floor) factor(epoch), reached from epoch to epoch by the ratio."""

    def _factor(self, epoch: int) -> float:
        raise NotImplementedError

    def _floor(self) -> float:
        return 0.0

    def get_lr(self) -> list[float]:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if self._is_initial and self.last_epoch != 0:
            return rates                        # continued: the rate is what it was
        now = self._factor(self.last_epoch)
        before = 1.0 if self.last_epoch == 0 else self._factor(self.last_epoch - 1)
        if now == before:
            return rates
        if before == 0:
            return self._lr_at(self.last_epoch)
        floor = self._floor()
        return [floor + (lr - floor) * (now / before) for lr in rates]

    def _lr_at(self, epoch: int) -> list[float]:
        floor = self._floor()
        return [floor + (lr - floor) * self._factor(epoch) for lr in self.base_lrs]


class LambdaLR(LRScheduler):
    """initial_lr times a function of the epoch, one for all groups or a list of one each.

    state_dict() leaves out plain functions and keeps the attributes of callable objects.

    Example:
        >>> import fastnn
        >>> w = fastnn.tensor([1.0], requires_grad=True)
        >>> optimizer = fastnn.optim.SGD([w], lr=0.5)
        >>> schedule = fastnn.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
        >>> optimizer.step(); schedule.step(); schedule.get_last_lr()
        [0.25]
    """

    def __init__(
        self, optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]], last_epoch: int = -1,
    ) -> None:
        check_optimizer("LambdaLR", optimizer)
        self.lr_lambdas = one_each("LambdaLR", "lr_lambda", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [
            lr * f(self.last_epoch) for lr, f in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        kept = [None if isinstance(f, FunctionType) else dict(getattr(f, "__dict__", {}))
                for f in self.lr_lambdas]
        return {**super().state_dict(), "lr_lambdas": kept}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "lr_lambdas"})
        for f, kept in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if kept is not None:
                f.__dict__.update(kept)


class StepLR(_FactorLR):
    """Times gamma every step_size epochs.

    Example:
        >>> import fastnn
        >>> w = fastnn.tensor([1.0], requires_grad=True)
        >>> optimizer = fastnn.optim.SGD([w], lr=0.5)
        >>> schedule = fastnn.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
        >>> optimizer.step(); schedule.step(); optimizer.param_groups[0]["lr"]
        0.25
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size: got {step_size}; need 1 or more")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.gamma ** (epoch // self.step_size)


class MultiStepLR(_FactorLR):
    """Times gamma at each of the milestones (epochs; one that is there twice counts twice)."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.gamma ** bisect_right(self.milestones, epoch)


class ConstantLR(_FactorLR):
    """Times factor for the first total_iters epochs."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor: got {factor}; need 0 to 1")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.factor if epoch < self.total_iters else 1.0


class LinearLR(_FactorLR):
    """Times a factor that goes from start_factor to end_factor within total_iters epochs."""

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0,
        total_iters: int = 5, last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor: got {start_factor}; need above 0, to 1")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor: got {end_factor}; need 0 to 1")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        if epoch >= self.total_iters:
            return self.end_factor
        way = self.end_factor - self.start_factor
        return self.start_factor + way * epoch / self.total_iters


class ExponentialLR(_FactorLR):
    """Times gamma every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.gamma**epoch


class PolynomialLR(_FactorLR):
    """Times (1 - epoch / total_iters) ** power, down to 0 at total_iters."""

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return (1.0 - min(epoch, self.total_iters) / self.total_iters) ** self.power


class CosineAnnealingLR(_FactorLR):
    """Half a cosine from initial_lr down to eta_min in T_max epochs, and up again after it.

    Source: Loshchilov and Hutter, SGDR, arXiv:1608.03983 (without the restarts).
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _floor(self) -> float:
        return self.eta_min

    def _factor(self, epoch: int) -> float:
        return (1 + cos(pi * epoch / self.T_max)) / 2


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from initial_lr down to eta_min, again and again.

    The first takes T_0 epochs, each next one T_mult times as long. step(epoch) takes fractions.

    Errors: ValueError unless T_0 and T_mult are positive integers.

    Source: Loshchilov and Hutter, SGDR, arXiv:1608.03983.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"CosineAnnealingWarmRestarts: {name}: got {value}; need a positive integer"
                )
        self.T_0 = self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._lr_at(self.last_epoch)

    def _go_to(self, epoch: Any) -> None:
        super()._go_to(epoch)
        self.last_epoch = int(self.last_epoch)

    def _lr_at(self, epoch: float) -> list[float]:
        if epoch < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: epoch: got {epoch}; need 0 or more")
        self.T_cur, self.T_i = epoch, self.T_0
        if self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        while self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult
        part = (1 + cos(pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (lr - self.eta_min) * part for lr in self.base_lrs]


class OneCycleLR(LRScheduler):
    """One rise to max_lr and one fall far below the start, step by step (call step() per batch).

    The rate starts from max_lr / div_factor, peaks after pct_start of total_steps (or epochs times
    steps_per_epoch) and ends at the start divided by final_div_factor; with three_phase it first
    falls back to the start. cycle_momentum moves momentum, or beta1, between max_momentum and
    base_momentum the other way. anneal_strategy: "cos" or "linear".

    Errors: ValueError for sizes or options out of range, an optimizer without momentum or betas
    under cycle_momentum, and steps beyond total_steps.

    Source: Smith and Topin, Super-convergence, arXiv:1708.07120.
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: float | list[float], total_steps: int | None = None,
        epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
        anneal_strategy: str = "cos", cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85, max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0, final_div_factor: float = 1e4, three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("OneCycleLR", optimizer)
        if total_steps is None and epochs is not None and steps_per_epoch is not None:
            total_steps = epochs * steps_per_epoch
        if not isinstance(total_steps, int) or total_steps < 1:
            raise ValueError(f"OneCycleLR: total_steps: got {total_steps}; need a positive integer "
                             "or epochs and steps_per_epoch")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start: got {pct_start}; need 0 to 1")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy: got {anneal_strategy!r}; need 'cos' or 'linear'"
            )
        if cycle_momentum and not {"momentum", "betas"} & optimizer.defaults.keys():
            raise ValueError("OneCycleLR: cycle_momentum: got an optimizer without momentum or "
                             "betas; need cycle_momentum=False")
        self.total_steps = total_steps
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        self.use_beta1 = "betas" in optimizer.defaults
        first = float(pct_start * total_steps) - 1
        last = total_steps - 1
        # (steps, rates, momenta) from and to, the latter two as names of group entries
        self.phases: list[tuple[float, float, str, str, str, str]] = [
            (0.0, first, "initial_lr", "max_lr", "max_momentum", "base_momentum")
        ]
        if three_phase:
            self.phases += [
                (first, 2 * first, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
                (2 * first, last, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
            ]
        else:
            self.phases += [(first, last, "max_lr", "min_lr", "base_momentum", "max_momentum")]
        peaks = one_each("OneCycleLR", "max_lr", max_lr, optimizer)
        high = one_each("OneCycleLR", "max_momentum", max_momentum, optimizer)
        low = one_each("OneCycleLR", "base_momentum", base_momentum, optimizer)
        if last_epoch == -1:
            for group, peak, top, base in zip(
                optimizer.param_groups, peaks, high, low, strict=True
            ):
                start = peak / div_factor
                group.update(initial_lr=start, max_lr=peak, min_lr=start / final_div_factor)
                if cycle_momentum:
                    group.update(max_momentum=top, base_momentum=base)
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, part: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * part + start
        return end + (start - end) / 2.0 * (cos(pi * part) + 1)

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"OneCycleLR: step: got {step}; need at most {self.total_steps}")
        phase = next((p for p in self.phases if step <= p[1]), self.phases[-1])
        start, end, lr_start, lr_end, m_start, m_end = phase
        part = (step - start) / (end - start)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[lr_start], group[lr_end], part))
            if self.cycle_momentum:
                momentum = self._between(group[m_start], group[m_end], part)
                if self.use_beta1:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return rates
