"""Scripts written for torch, run unchanged with torch and with fastnn in its place.

Each script is one text in two parts: `build` makes a model and whatever trains it, `train` appends
one number per step to `losses`. Both engines get the same data and the same starting weights; the
losses must agree to 1e-5 relative.
"""

from __future__ import annotations

import textwrap
from typing import NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="comparisons need torch: pip install torch==2.13.0")

HEADER = """
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
"""


class Script(NamedTuple):
    data: str               # NumPy only: run once, its arrays are given to both
    build: str
    train: str


CLASSIFIER = Script(
    """
    X = rng.standard_normal((256, 20)).astype("float32")
    Y = (X @ rng.standard_normal((20, 5))).argmax(1)
    """,
    """
    class MLP(nn.Module):
        def __init__(self, sizes, p=0.0):
            super(MLP, self).__init__()
            layers = []
            for a, b in zip(sizes[:-2], sizes[1:-1]):
                layers += [nn.Linear(a, b), nn.ReLU(inplace=True), nn.Dropout(p)]
            self.features = nn.Sequential(*layers)
            self.head = nn.Linear(sizes[-2], sizes[-1])
            for m in self.modules():
                if isinstance(m, nn.Linear):
                    nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
                    nn.init.zeros_(m.bias)

        def forward(self, x):
            x = x.view(x.size(0), -1)
            return self.head(self.features(x))

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = MLP([20, 64, 32, 5]).to(device)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    """,
    """
    x, y = torch.from_numpy(X).to(device), torch.tensor(Y).to(device)
    model.train()
    for step in range(20):
        i = (step * 64) % len(x)
        optimizer.zero_grad(set_to_none=True)
        out = model(x[i:i + 64])
        loss = criterion(out, y[i:i + 64])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        out = model(x)
        pred = out.argmax(dim=1)
        accuracy = (pred == y).float().mean().item()
        losses.append(F.cross_entropy(out, y).item())
        losses.append(F.softmax(out, dim=-1).max(dim=1).values.mean().item())
    assert 0.0 <= accuracy <= 1.0 and int((pred == y).sum()) == round(accuracy * len(y))
    """,
)

REGRESSION = Script(
    """
    X = rng.uniform(-1, 1, (200, 6)).astype("float32")
    Y = (np.sin(3 * X[:, :1]) + X[:, 1:2] * X[:, 2:3]).astype("float32")
    """,
    """
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 32), nn.GELU(),
                          nn.Linear(32, 1))
    decay = [p for n, p in model.named_parameters() if n.endswith("weight")]
    rest = [p for n, p in model.named_parameters() if not n.endswith("weight")]
    optimizer = torch.optim.SGD([{"params": decay, "weight_decay": 1e-3}, {"params": rest}],
                                lr=0.1, momentum=0.9, nesterov=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    """,
    """
    loader = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=50)
    for epoch in range(5):
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(xb), yb)
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
    losses.append(scheduler.get_last_lr()[0] + 1.0)
    losses.append(optimizer.param_groups[0]["lr"] + 1.0)
    """,
)

SHARED = Script(
    """
    X = rng.standard_normal((64, 12)).astype("float32")
    """,
    """
    class TiedAutoencoder(nn.Module):
        '''Decoder weights are the encoder's, transposed; one layer is applied three times.'''

        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(12, 5)
            self.loop = nn.Linear(5, 5)
            self.decoder_bias = nn.Parameter(torch.zeros(12))
            self.log_scale = nn.Parameter(torch.tensor(0.0))
            self.register_buffer("mean", torch.zeros(12))

        def forward(self, x):
            z = torch.sigmoid(self.encoder(x - self.mean))
            for _ in range(3):
                z = z + torch.tanh(self.loop(z))
            return (z @ self.encoder.weight) * self.log_scale.exp() + self.decoder_bias

    model = TiedAutoencoder()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.9)
    assert len(list(model.parameters())) == 6
    """,
    """
    x = torch.tensor(X)
    model.mean.copy_(x.mean(dim=0))
    for step in range(20):
        optimizer.zero_grad()
        out = model(x)
        reconstruction = ((out - x) ** 2).sum(dim=1).mean()
        penalty = sum(p.abs().sum() for p in model.parameters())
        loss = reconstruction + 1e-3 * penalty
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    losses.append(torch.norm(model.encoder.weight.grad).item())
    """,
)

BAG_OF_WORDS = Script(
    """
    TEXTS = rng.integers(0, 50, (40, 9))
    TEXTS[:, 6:] = 0
    TEXTS[::3, 4:] = 0
    Y = (TEXTS.sum(1) % 2).astype("float32")
    """,
    """
    class Bag(nn.Module):
        def __init__(self, vocab, dim):
            super().__init__()
            self.embed = nn.Embedding(vocab, dim, padding_idx=0)
            self.fc = nn.Linear(dim, 1)
            self.act = nn.LeakyReLU(0.1)

        def forward(self, tokens):
            mask = (tokens != 0).unsqueeze(-1).float()
            mean = (self.embed(tokens) * mask).sum(1) / mask.sum(1).clamp(min=1)
            return self.fc(self.act(mean)).squeeze(-1)

    model = Bag(50, 8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0]))
    """,
    """
    tokens, y = torch.tensor(TEXTS, dtype=torch.long), torch.tensor(Y)
    for step in range(20):
        optimizer.zero_grad()
        loss = criterion(model(tokens), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert (model.embed.weight.grad[0] == 0).all()
    """,
)

ACCUMULATION = Script(
    """
    X = rng.standard_normal((5, 4, 16, 10)).astype("float32")
    Y = X.sum(-1, keepdims=True)
    """,
    """
    model = nn.Sequential(nn.Linear(10, 16), nn.SiLU(), nn.Linear(16, 16), nn.ELU(),
                          nn.Linear(16, 1))
    for p in model[0].parameters():
        p.requires_grad = False
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    """,
    """
    for step in range(5):
        optimizer.zero_grad()
        total = 0.0
        for micro in range(4):
            x, y = torch.as_tensor(X[step, micro]), torch.as_tensor(Y[step, micro])
            loss = F.smooth_l1_loss(model(x), y, reduction="sum") / 64
            loss.backward()
            total += loss.item()
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm=0.5)
        optimizer.step()
        scheduler.step()
        losses.append(total)
        losses.append(float(norm))
    assert model[0].weight.grad is None
    saved = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.0)
    model.load_state_dict(saved)
    losses.append(model(torch.as_tensor(X[0, 0])).pow(2).mean().item())
    """,
)

SCRIPTS = {"classifier": CLASSIFIER, "regression": REGRESSION, "shared": SHARED,
           "bag-of-words": BAG_OF_WORDS, "accumulation": ACCUMULATION}


def play(script: Script, engine: str, data: dict, weights: dict | None) -> tuple[list, dict]:
    """Losses of a run, and the weights it started from."""
    space = {**data, "losses": [], "np": np}
    header = HEADER.replace("torch", engine)
    exec(header.replace(f"import {engine}\n", f"import {engine} as torch\n"), space)
    exec(textwrap.dedent(script.build), space)
    model = space["model"]
    if weights is not None:
        model.load_state_dict(weights)
    start = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    exec(textwrap.dedent(script.train), space)
    return space["losses"], start


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_gives_the_losses_of_torch(name):
    script = SCRIPTS[name]
    data: dict = {"rng": np.random.default_rng(1), "np": np}
    exec(textwrap.dedent(script.data), data)
    data = {k: v for k, v in data.items() if isinstance(v, np.ndarray)}
    torch.manual_seed(0)
    expected, start = play(script, "torch", data, None)
    got, copied = play(script, "fastnn", data, start)
    assert list(copied) == list(start)
    assert len(got) == len(expected) >= 11
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert expected[-3] != expected[0]


def test_layers_repr_and_default_ranges_are_those_of_torch():
    import fastnn

    for text in ("Linear(3, 4)", "Linear(3, 4, bias=False)", "ReLU()", "ReLU(inplace=True)",
                 "ReLU6()", "LeakyReLU(0.2)", "ELU()", "Sigmoid()", "Tanh()", "GELU()",
                 "GELU('tanh')", "SiLU()", "Softplus()", "Hardswish()", "Hardsigmoid()",
                 "Softmax(dim=1)", "LogSoftmax(dim=1)", "Flatten()", "Unflatten(1, (2, 3))",
                 "Identity()", "Dropout(0.1)",
                 "Embedding(5, 3)", "Embedding(5, 3, padding_idx=-1)",
                 "MSELoss()", "L1Loss()", "SmoothL1Loss()", "HuberLoss()", "CrossEntropyLoss()",
                 "NLLLoss()", "BCELoss()", "BCEWithLogitsLoss()", "KLDivLoss()",
                 "Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()))", "ModuleList()",
                 "ModuleList([nn.ReLU(), nn.ReLU(), nn.Linear(2, 3), nn.Linear(2, 3)])",
                 "ModuleDict({'a': nn.ReLU()})"):
        ours = eval(f"nn.{text}", {"nn": fastnn.nn})
        theirs = eval(f"nn.{text}", {"nn": torch.nn})
        assert repr(ours) == repr(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())


def test_state_dicts_travel_both_ways_as_files(tmp_path):
    from safetensors import torch as safetensors

    import fastnn

    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    ours = fastnn.nn.Sequential(fastnn.nn.Linear(3, 4), fastnn.nn.ReLU(), fastnn.nn.Linear(4, 2))
    safetensors.save_file(theirs.state_dict(), tmp_path / "a.safetensors")
    ours.load_state_dict(fastnn.load(tmp_path / "a.safetensors"))
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    fastnn.save(ours.state_dict(), tmp_path / "b.safetensors")
    theirs.load_state_dict(safetensors.load_file(tmp_path / "b.safetensors"))
