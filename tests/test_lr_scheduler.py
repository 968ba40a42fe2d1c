"""Schedules against their closed forms, chained, resumed and misused."""

from __future__ import annotations

import json
import math

import pytest

import fastnn
from fastnn import optim
from fastnn.optim import lr_scheduler as lrs

BASE = 0.5


def optimizer(groups=1, **options):
    params = [fastnn.tensor([1.0], requires_grad=True) for _ in range(groups)]
    made = optim.SGD([{"params": [p], "lr": BASE / (i + 1)} for i, p in enumerate(params)],
                     **options)
    made.step()
    return made


def rates(schedule, steps=60):
    """The first group's rate of each epoch."""
    found = [schedule.get_last_lr()[0]]
    for _ in range(steps):
        schedule.step()
        found.append(schedule.get_last_lr()[0])
    assert schedule.optimizer.param_groups[0]["lr"] == found[-1]
    return found


def cosine(e, period, low):
    return low + (BASE - low) * (1 + math.cos(math.pi * e / period)) / 2


def restarts(e):
    period = 5
    while e >= period:
        e, period = e - period, 2 * period
    return cosine(e, period, 0.01)


CLOSED = {
    "step": (lambda o: lrs.StepLR(o, 7, 0.5), lambda e: BASE * 0.5 ** (e // 7)),
    "multi-step": (lambda o: lrs.MultiStepLR(o, [9, 3, 9, 20]),
                   lambda e: BASE * 0.1 ** sum(e >= m for m in (3, 9, 9, 20))),
    "exponential": (lambda o: lrs.ExponentialLR(o, 0.9), lambda e: BASE * 0.9**e),
    "constant": (lambda o: lrs.ConstantLR(o, 0.25, 6), lambda e: BASE * (0.25 if e < 6 else 1)),
    "constant-zero": (lambda o: lrs.ConstantLR(o, 0.0, 6), lambda e: BASE * (e >= 6)),
    "linear": (lambda o: lrs.LinearLR(o, 0.25, 0.75, 8),
               lambda e: BASE * (0.25 + 0.5 * min(e, 8) / 8)),
    "linear-to-zero": (lambda o: lrs.LinearLR(o, 1.0, 0.0, 8), lambda e: BASE * max(0, 1 - e / 8)),
    "polynomial": (lambda o: lrs.PolynomialLR(o, 20, 2.0),
                   lambda e: BASE * (1 - min(e, 20) / 20) ** 2),
    "cosine": (lambda o: lrs.CosineAnnealingLR(o, 10, 0.01), lambda e: cosine(e, 10, 0.01)),
    "restarts": (lambda o: lrs.CosineAnnealingWarmRestarts(o, 5, 2, 0.01), restarts),
    "lambda": (lambda o: lrs.LambdaLR(o, lambda e: 1 / (1 + e)), lambda e: BASE / (1 + e)),
    "sequential": (
        lambda o: lrs.SequentialLR(o, [lrs.LinearLR(o, 0.5, 1.0, 4), lrs.ExponentialLR(o, 0.9),
                                       lrs.CosineAnnealingLR(o, 30)], [4, 20]),
        lambda e: BASE * (0.5 + e / 8) if e < 4 else BASE * 0.9 ** (e - 4) if e < 20
        else cosine(e - 20, 30, 0)),
    "chained": (lambda o: lrs.ChainedScheduler([lrs.StepLR(o, 5, 0.5), lrs.ExponentialLR(o, 0.9)]),
                lambda e: BASE * 0.5 ** (e // 5) * 0.9**e),
}
every = pytest.mark.parametrize("make, closed", CLOSED.values(), ids=CLOSED)


@every
def test_closed_form(make, closed):
    got = rates(make(optimizer()))
    assert got == pytest.approx([closed(e) for e in range(61)], rel=1e-11, abs=1e-15)


@every
def test_resume(make, closed):
    """Continued from state_dict: the same rates to the last bit, through JSON where it can be."""
    straight = rates(make(optimizer()), 60)
    first = optimizer()
    schedule = make(first)
    rates(schedule, 17)
    saved = json.loads(json.dumps(schedule.state_dict()))
    second = optimizer()
    again = make(second)
    second.load_state_dict(first.state_dict())
    again.load_state_dict(saved)
    assert rates(again, 43) == straight[17:]


def test_groups():
    made = optimizer(2)
    schedule = lrs.LambdaLR(made, [lambda e: 0.5**e, lambda e: 1.0])
    schedule.step()
    assert [g["lr"] for g in made.param_groups] == [BASE / 2, BASE / 2]
    assert [g["initial_lr"] for g in made.param_groups] == [BASE, BASE / 2]
    schedule.step()
    assert schedule.get_last_lr() == [BASE / 4, BASE / 2]


def test_a_rate_set_by_hand_is_kept():
    made = optimizer()
    schedule = lrs.StepLR(made, 2, 0.5)
    made.param_groups[0]["lr"] = 8.0
    schedule.step()
    assert made.param_groups[0]["lr"] == 8.0
    schedule.step()
    assert made.param_groups[0]["lr"] == 4.0


def test_last_epoch_continues():
    made = optimizer()
    rates(lrs.ExponentialLR(made, 0.9), 10)
    again = lrs.ExponentialLR(made, 0.9, last_epoch=9)
    assert again.last_epoch == 10
    assert rates(again, 2) == pytest.approx([BASE * 0.9**e for e in (10, 11, 12)])
    with pytest.raises(KeyError, match="initial_lr"):
        lrs.StepLR(optimizer(), 3, last_epoch=4)


def test_jump_to_an_epoch():
    schedule = lrs.CosineAnnealingWarmRestarts(optimizer(), 5, 2, 0.01)
    schedule.step(7.5)
    assert schedule.get_last_lr()[0] == pytest.approx(cosine(2.5, 10, 0.01))
    assert (schedule.last_epoch, schedule.T_cur, schedule.T_i) == (7, 2.5, 10)
    schedule = lrs.StepLR(optimizer(), 2, 0.5)
    schedule.step(6)
    assert schedule.get_last_lr() == [BASE / 8]


@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_one_cycle(strategy):
    made = optimizer(momentum=0.9)
    schedule = lrs.OneCycleLR(made, max_lr=1.0, total_steps=21, pct_start=0.5,
                              anneal_strategy=strategy)
    momenta = [made.param_groups[0]["momentum"]]
    found = [schedule.get_last_lr()[0]]
    for _ in range(20):
        schedule.step()
        found.append(schedule.get_last_lr()[0])
        momenta.append(made.param_groups[0]["momentum"])
    assert found[0] == pytest.approx(1 / 25) and found[-1] == pytest.approx(1 / 25e4)
    peak = found.index(max(found))
    assert peak == 9 or peak == 10
    assert found[:peak] == sorted(found[:peak])
    assert found[peak:] == sorted(found[peak:], reverse=True)
    assert momenta[0] == pytest.approx(0.95) and momenta[-1] == pytest.approx(0.95)
    assert min(momenta) == momenta[peak] < 0.86
    before = made.param_groups[0]["lr"], schedule.last_epoch
    schedule.step()
    with pytest.raises(ValueError, match="at most 21"):
        schedule.step()
    assert schedule.last_epoch == before[1] + 1


def test_plateau():
    made = optimizer()
    schedule = lrs.ReduceLROnPlateau(made, factor=0.5, patience=2, cooldown=1, min_lr=0.2)
    found = []
    for metric in (1.0, 0.9, 0.9, 0.9, 0.89999, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9):
        schedule.step(metric)
        found.append(made.param_groups[0]["lr"])
    assert found == [0.5] * 4 + [0.25] * 4 + [0.2] * 4
    schedule.step(float("nan"))                         # never better
    assert schedule.best == 0.9
    best = lrs.ReduceLROnPlateau(optimizer(), "max", patience=0, threshold=1, threshold_mode="abs")
    for metric, lr in ((1.0, BASE), (2.5, BASE), (3.0, BASE / 10)):
        best.step(metric)
        assert best.get_last_lr() == [pytest.approx(lr)]


def test_schedule_before_the_first_step_warns():
    params = [fastnn.tensor([1.0], requires_grad=True)]
    made = optim.SGD(params)
    schedule = lrs.StepLR(made, 3)
    with pytest.warns(UserWarning, match="before optimizer.step"):
        schedule.step()


def test_lambda_objects_are_saved():
    class Warm:
        def __init__(self, n):
            self.n = n

        def __call__(self, epoch):
            return min(1.0, (epoch + 1) / self.n)

    schedule = lrs.LambdaLR(optimizer(), Warm(4))
    again = lrs.LambdaLR(optimizer(), Warm(8))
    again.load_state_dict(schedule.state_dict())
    assert rates(again, 3) == [BASE / 4, BASE / 2, 3 * BASE / 4, BASE]


def test_a_schedule_of_ones_own():
    class Half(lrs.LRScheduler):
        def get_lr(self):
            return [lr / 2**self.last_epoch for lr in self.base_lrs]

    assert rates(Half(optimizer()), 2) == [BASE, BASE / 2, BASE / 4]


@pytest.mark.parametrize("make", [
    lambda o: lrs.StepLR(o, 0),
    lambda o: lrs.ConstantLR(o, 2.0),
    lambda o: lrs.LinearLR(o, 0.0),
    lambda o: lrs.LinearLR(o, 0.5, 2.0),
    lambda o: lrs.LambdaLR(o, [lambda e: 1.0] * 2),
    lambda o: lrs.CosineAnnealingWarmRestarts(o, 0),
    lambda o: lrs.CosineAnnealingWarmRestarts(o, 5, 1.5),
    lambda o: lrs.OneCycleLR(o, 1.0),
    lambda o: lrs.OneCycleLR(o, 1.0, 10, pct_start=2.0),
    lambda o: lrs.OneCycleLR(o, 1.0, 10, anneal_strategy="sine"),
    lambda o: lrs.OneCycleLR(o, [1.0, 2.0], 10),
    lambda o: lrs.ReduceLROnPlateau(o, factor=1.0),
    lambda o: lrs.ReduceLROnPlateau(o, mode="best"),
    lambda o: lrs.ReduceLROnPlateau(o, threshold_mode="both"),
    lambda o: lrs.SequentialLR(o, [lrs.StepLR(o, 3)], [4]),
    lambda o: lrs.SequentialLR(o, [lrs.StepLR(optimizer(), 3)], []),
    lambda o: lrs.ChainedScheduler([]),
    lambda o: lrs.ChainedScheduler([lrs.ReduceLROnPlateau(o)]),
    lambda o: lrs.OneCycleLR(
        optim.Adagrad([fastnn.tensor([1.0], requires_grad=True)]), 1.0, 10),
])
def test_refused(make):
    with pytest.raises(ValueError):
        make(optimizer())


def test_only_optimizers_are_scheduled():
    for make in (lrs.StepLR, lrs.LambdaLR, lrs.OneCycleLR, lrs.ReduceLROnPlateau):
        with pytest.raises(TypeError, match="Optimizer"):
            make([1.0], 1)
