"""Learning on tables scikit-learn ships: the perceptron, one neuron, a small regression."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.nn import functional as F

datasets = pytest.importorskip("sklearn.datasets")


def split(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Standardised training and test halves, float32."""
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[: len(x) * 3 // 4], order[len(x) * 3 // 4:]
    x = (x - x[train].mean(0)) / x[train].std(0)
    return tuple(a.astype(np.float32) for a in (x[train], x[test], y[train], y[test]))


def train(model, loss, x, y, steps, decay):
    """Adam over the whole table at a falling rate; biases do not decay, as in scikit-learn."""
    groups = [{"params": [p for p in model.parameters() if p.ndim == 2], "weight_decay": decay},
              {"params": [p for p in model.parameters() if p.ndim == 1]}]
    opt = optim.Adam(groups, lr=0.02)
    schedule = optim.lr_scheduler.CosineAnnealingLR(opt, steps)
    x, y = fastnn.from_numpy(x), fastnn.from_numpy(y)
    for _ in range(steps):
        opt.zero_grad()
        loss(model(x).squeeze(1), y).backward()
        opt.step()
        schedule.step()


def test_perceptron_separates_setosa_exactly():
    x, species = datasets.load_iris(return_X_y=True)
    y = (species == 0).astype(np.float32)
    p = nn.Perceptron(4)
    updates = 0
    while p.learn(x, y, lr=0.01) and updates < 1000:
        updates += 1
    assert 0 < updates < 1000
    assert (p(x).detach().numpy()[:, 0] == y).all()


def test_one_neuron_classifies_tumours_as_well_as_scikit_learn():
    from sklearn.neural_network import MLPClassifier

    x, x_test, y, y_test = split(*datasets.load_breast_cancer(return_X_y=True))
    theirs = MLPClassifier((), alpha=1.0, max_iter=1000, random_state=0, solver="lbfgs")
    expected = theirs.fit(x, y).score(x_test, y_test)
    model = nn.Linear(30, 1)
    train(model, F.binary_cross_entropy_with_logits, x, y, 500, 1.0 / len(x))
    with fastnn.inference_mode():
        score = ((model(x_test).numpy()[:, 0] > 0) == (y_test > 0)).mean()
    assert abs(score - expected) <= 0.01 and score > 0.95, (score, expected)


def test_regression_reaches_the_score_of_scikit_learn():
    from sklearn.neural_network import MLPRegressor

    x, x_test, y, y_test = split(*datasets.load_diabetes(return_X_y=True))
    y, y_test = (y - y.mean()) / y.std(), (y_test - y.mean()) / y.std()
    theirs = MLPRegressor(hidden_layer_sizes=(16,), activation="tanh", solver="lbfgs", alpha=10.0,
                          max_iter=3000, random_state=0)
    expected = theirs.fit(x, y).score(x_test, y_test)
    model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1))
    train(model, F.mse_loss, x, y, 1000, 2 * 10.0 / len(x))    # theirs halves the squared error
    with fastnn.inference_mode():
        predicted = model(x_test).numpy()[:, 0]
    score = 1 - ((predicted - y_test) ** 2).sum() / ((y_test - y_test.mean()) ** 2).sum()
    assert abs(score - expected) <= 0.01 and score > 0.35, (score, expected)
