"""The same bits whatever the number of threads: 50 steps of training, compared byte by byte."""

from __future__ import annotations

import os

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.nn import functional as F

THREADS = (1, 2, 3, 7)


def digest(model: nn.Module, losses: list[float]) -> list[bytes]:
    return [np.array(losses).tobytes(), *(p.detach().numpy().tobytes() for p in model.parameters())]


def mlp(optimizer: str) -> list[bytes]:
    """A 64-200-100-10 MLP with dropout; 150 rows, so that no size divides by a block."""
    fastnn.manual_seed(3)
    model = nn.Sequential(nn.Linear(64, 200), nn.ReLU(), nn.Dropout(0.2), nn.Linear(200, 100),
                          nn.GELU(), nn.Linear(100, 10))
    opt = getattr(optim, optimizer)(model.parameters(), lr=1e-3)
    x, y = fastnn.randn(150, 64), fastnn.randint(0, 10, (150,))
    losses = []
    for _ in range(50):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        losses.append(loss.item())
    return digest(model, losses)


def wide() -> list[bytes]:
    """One heavy layer, reductions over long axes and an embedding with many repeats."""
    fastnn.manual_seed(4)
    table = nn.Embedding(37, 256)
    layer = nn.Linear(256, 300)
    model = nn.ModuleList([table, layer])
    opt = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    tokens = fastnn.randint(0, 37, (2000,))
    losses = []
    for _ in range(10):
        opt.zero_grad()
        h = layer(table(tokens))
        loss = (h - h.mean(0)).square().sum() / 2000 + h.var(1).mean()
        loss = loss + F.softmax(h, 1).max(1)[0].sum()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return digest(model, losses)


@pytest.mark.parametrize(
    "train", [lambda: mlp("SGD"), lambda: mlp("Adam"), lambda: mlp("Lion"), wide],
    ids=["sgd", "adam", "lion", "wide"],
)
def test_training_gives_the_same_bits_for_any_thread_count(train):
    runs = []
    for n in THREADS:
        fastnn.set_num_threads(n)
        runs.append(train())
    assert len(set(runs[0])) == len(runs[0]) and all(np.isfinite(np.frombuffer(runs[0][0])))
    for n, run in zip(THREADS, runs, strict=True):
        assert run == runs[0], f"{n} threads differ from 1"


@pytest.mark.skipif(os.environ.get("FASTNN_BACKEND") == "numpy",
                    reason="NumPy sums in its own order")
def test_a_row_alone_gives_the_bits_it_has_in_a_batch():
    fastnn.manual_seed(5)
    model = nn.Sequential(nn.Linear(64, 200), nn.Tanh(), nn.Linear(200, 10), nn.Softmax(1)).eval()
    x = fastnn.randn(300, 64)
    with fastnn.inference_mode():
        whole = model(x).numpy()
        for size in (1, 2, 3, 16, 77):
            for start in (0, 5, 200):
                part = model(x[start:start + size]).numpy()
                assert part.tobytes() == whole[start:start + size].tobytes(), (size, start)
