"""Optimizers, schedules and clipping against torch: same names, same values.

Steps: both sides compute p - u in float32 from equal p and a u whose relative error is a few units
of 2**-24, and round p once a step. After n steps the two differ by at most n (|p| + 10 |u|) 2**-24,
and as the errors are independent by about the root of n in place of n: for n = 50 and |u| <= |p|/10
that is 0.9e-6 |p|. |p| is the largest on the way: an element that ends near zero has lost its
relative accuracy, on both sides. Hence errors are taken against the largest element.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastnn
from fastnn.nn import utils

torch = pytest.importorskip("torch", reason="needs torch: pip install fastnn-engine[peers]")

SHAPES = [(13, 7), (5,), (1,), (64, 33)]
CONFIGS = [
    ("SGD", {}),
    ("SGD", {"lr": 0.01, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.01, "momentum": 0.9}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {"lr": 1e-3, "momentum": 0.9}),
    ("RMSprop", {"lr": 1e-3, "centered": True}),
    ("RMSprop", {"lr": 1e-3, "centered": True, "momentum": 0.5, "eps": 1e-3}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adagrad", {"maximize": True, "eps": 1e-3}),
    ("Adam", {}),
    ("Adam", {"weight_decay": 0.1, "maximize": True}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "betas": (0.5, 0.9), "eps": 1e-4}),
    ("Adam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("Adam", {"betas": (0.0, 0.999)}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.5, "amsgrad": True}),
]
every = pytest.mark.parametrize(
    "name, options", CONFIGS, ids=[f"{n}-{'-'.join(o)}" for n, o in CONFIGS]
)


def weights(rng):
    return [rng.standard_normal(s).astype(np.float32) for s in SHAPES]


def pair(name, options, arrays):
    """Our parameters and optimizer, and torch's."""
    ours = [fastnn.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
    return (ours, getattr(fastnn.optim, name)(ours, **options),
            theirs, getattr(torch.optim, name)(theirs, **options))


def step(ours, mine, theirs, yours, rng, k):
    """One step with equal gradients; every third leaves one parameter without."""
    for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
        g = rng.standard_normal(p.shape).astype(np.float32)
        skip = k % 3 == 2 and i == 1
        p.grad = None if skip else fastnn.tensor(g)
        q.grad = None if skip else torch.tensor(g)
    mine.step()
    yours.step()


def assert_close(ours, theirs, rtol=1e-6):
    theirs = [t.detach().numpy() for t in theirs]
    scale = max(np.abs(b).max() for b in theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b, rtol=0, atol=rtol * scale)


@every
def test_fifty_steps(name, options):
    rng = np.random.default_rng(0)
    ours, mine, theirs, yours = pair(name, options, weights(rng))
    for k in range(50):
        step(ours, mine, theirs, yours, rng, k)
    assert_close(ours, theirs)
    saved, expected = mine.state_dict(), yours.state_dict()
    assert saved["param_groups"] == expected["param_groups"]
    assert [*saved["state"]] == [*expected["state"]]
    for i in expected["state"]:
        assert {*saved["state"][i]} == {*expected["state"][i]}
    for key in expected["state"].get(0, ()):
        assert_close(*([s[key] for s in d["state"].values()] for d in (saved, expected)))


@every
def test_a_state_dict_of_torch_loads(name, options):
    rng = np.random.default_rng(1)
    ours, mine, theirs, yours = pair(name, options, weights(rng))
    for k in range(5):
        step(ours, mine, theirs, yours, rng, k)
    ours, mine, _, _ = pair(name, {}, [q.detach().numpy() for q in theirs])
    mine.load_state_dict(yours.state_dict())
    for k in range(5, 10):
        step(ours, mine, theirs, yours, rng, k)
    assert_close(ours, theirs)


@pytest.mark.parametrize("kind", [1, 2, float("inf")])
@pytest.mark.parametrize("limit", [0.5, 1e3])
def test_clip_grad_norm(kind, limit):
    rng = np.random.default_rng(2)
    ours, _, theirs, _ = pair("SGD", {}, weights(rng))
    for p, q in zip(ours, theirs, strict=True):
        g = rng.standard_normal(p.shape).astype(np.float32)
        p.grad, q.grad = fastnn.tensor(g), torch.tensor(g)
    total = utils.clip_grad_norm_(ours, limit, kind)
    expected = torch.nn.utils.clip_grad_norm_(theirs, limit, kind)
    assert_close([total], [expected])
    assert_close([p.grad for p in ours], [q.grad for q in theirs])


def clipping(module, p, bad):
    try:
        return float(module.utils.clip_grad_norm_([p], 1.0, bad[1])), p.grad.tolist()
    except RuntimeError:
        return None


@pytest.mark.parametrize("bad", [(np.inf, 2), (np.nan, 2), (np.inf, np.inf), (np.nan, np.inf)])
def test_clip_grad_norm_nonfinite(bad):
    values = np.array([1.0, bad[0], -2.0], np.float32)
    p, q = fastnn.tensor(np.zeros(3)), torch.zeros(3)
    p.grad, q.grad = fastnn.tensor(values), torch.tensor(values)
    np.testing.assert_equal(clipping(fastnn.nn, p, bad), clipping(torch.nn, q, bad))


# ---- schedules ----

SCHEDULES = {
    "StepLR": lambda s, o: s.StepLR(o, 7, 0.7),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [30, 80, 80, 150], 0.3),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.97),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 40, 1e-3),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, [1.0, 0.5], 201),
    "OneCycleLR-linear-three-phase": lambda s, o: s.OneCycleLR(
        o, 0.4, epochs=3, steps_per_epoch=67, anneal_strategy="linear", three_phase=True),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.1, 0.9, 60),
    "LambdaLR": lambda s, o: s.LambdaLR(o, [lambda e: 0.95**e, lambda e: 1 / (1 + e)]),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.3, 20),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 120, 1.7),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 10, 2, 1e-3),
    "SequentialLR": lambda s, o: s.SequentialLR(o, [
        s.LinearLR(o, 0.1, 1.0, 20), s.CosineAnnealingLR(o, 80), s.ExponentialLR(o, 0.9)],
        [20, 100]),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, 0.1, 10), s.ExponentialLR(o, 0.98), s.StepLR(o, 50, 0.5)]),
}


def scheduled(module, tensor, make, kind):
    """An optimizer with two groups and its schedule."""
    params = [tensor([1.0], requires_grad=True) for _ in range(2)]
    options = {"momentum": 0.9} if kind == "SGD" else {}
    optimizer = getattr(module.optim, kind)(
        [{"params": [params[0]]}, {"params": [params[1]], "lr": 0.2}], lr=0.1, **options)
    optimizer.step()
    return optimizer, make(module.optim.lr_scheduler, optimizer)


def settings(optimizer):
    return [v for g in optimizer.param_groups
            for v in (g["lr"], g.get("momentum", 0), *g.get("betas", ()))]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_two_hundred_epochs(name, kind):
    """Ours goes on from its state_dict half way. Products of 200 factors agree to 200 * 2**-53,
    times the amplification near the cosine's low point, where 1 + cos cancels."""
    ours, mine = scheduled(fastnn, fastnn.tensor, SCHEDULES[name], kind)
    theirs, yours = scheduled(torch, torch.tensor, SCHEDULES[name], kind)
    assert settings(ours) == pytest.approx(settings(theirs), rel=1e-12)
    for epoch in range(200):
        if epoch == 100:
            again, schedule = scheduled(fastnn, fastnn.tensor, SCHEDULES[name], kind)
            again.load_state_dict(ours.state_dict())
            schedule.load_state_dict(mine.state_dict())
            ours, mine = again, schedule
        mine.step()
        yours.step()
        assert settings(ours) == pytest.approx(settings(theirs), rel=1e-10, abs=1e-14), epoch
        assert mine.get_last_lr() == pytest.approx(yours.get_last_lr(), rel=1e-10, abs=1e-14)
        assert getattr(mine, "last_epoch", None) == getattr(yours, "last_epoch", None)


@pytest.mark.parametrize("options", [
    {}, {"mode": "max", "patience": 3, "cooldown": 5}, {"threshold_mode": "abs", "threshold": 0.05},
    {"factor": 0.5, "patience": 1, "min_lr": [1e-3, 1e-2], "eps": 1e-3},
    {"mode": "max", "threshold_mode": "abs", "threshold": 0.3, "patience": 4, "factor": 0.7},
], ids=str)
def test_plateau(options):
    def make(s, o):
        return s.ReduceLROnPlateau(o, **options)

    ours, mine = scheduled(fastnn, fastnn.tensor, make, "SGD")
    theirs, yours = scheduled(torch, torch.tensor, make, "SGD")
    rng = np.random.default_rng(3)
    for epoch in range(200):
        metric = float(np.exp(-epoch / 50) + 0.2 * rng.standard_normal())
        if epoch == 100:
            again, schedule = scheduled(fastnn, fastnn.tensor, make, "SGD")
            again.load_state_dict(ours.state_dict())
            schedule.load_state_dict(mine.state_dict())
            ours, mine = again, schedule
        mine.step(metric)
        yours.step(metric)
        assert settings(ours) == pytest.approx(settings(theirs), rel=1e-12)
