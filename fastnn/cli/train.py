"""The training run behind `fastnn demo` and `fastnn train`: progress, report, files."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

from .. import _core, compile, from_numpy, inference_mode, models, nn, optim, save
from .._core import Tensor
from ..data import DataLoader, TensorDataset
from ..nn import functional as F
from ..ops.random import manual_seed
from .curve import draw_curve
from .tasks import Task, augmentation, frame

History = dict[str, list[float]]
HEADER = "epoch     loss  accuracy   test loss  test accuracy"


@dataclass(frozen=True)
class Settings:
    """What one run is asked for."""

    model: str
    epochs: int
    batch_size: int
    lr: float
    seed: int
    out: Path
    download: bool = False
    augment: bool = False


def run(task: Task, settings: Settings, console: Console) -> None:
    """Train, report, and write `<task>-<model>.safetensors` and `.png` into the folder out."""
    started = time.perf_counter()
    manual_seed(settings.seed)
    (x, y), test = task.load(settings.download)
    recipe, image = task.recipes[settings.model], task.image
    if recipe.side is not None:
        image = (image[0], recipe.side, recipe.side)
        x, test = frame(x, recipe.side), (frame(test[0], recipe.side), test[1])
    model = models.create(settings.model, **recipe.config)
    settings.out.mkdir(parents=True, exist_ok=True)
    count = sum(p.numel() for p in model.parameters())
    threads = _core.get_num_threads()
    console.print(f"{settings.model} on {task.name}: {count:,} parameters, {len(x):,} training and "
                  f"{len(test[1]):,} test images; {_core.isa()}, {threads} "
                  f"thread{'s' * (threads > 1)}\n")
    loader: DataLoader[Any] = DataLoader(
        TensorDataset(x, y), batch_size=settings.batch_size, shuffle=True)
    history: History = {"loss": [], "accuracy": [], "test_loss": [], "test_accuracy": []}
    try:
        fit(model, loader, test, settings, history)
    except KeyboardInterrupt:
        console.print(f"[yellow]stopped after {len(history['loss'])} epochs; "
                      "keeping what was learned[/yellow]")
    labels = predict_logits(model, test[0]).argmax(1)
    console.print(confusion_table(labels, test[1], task.classes))
    wrong = int((labels != test[1]).sum())
    console.print(f"test accuracy  [bold green]{1 - wrong / len(labels):.2%}[/bold green] "
                  f"({wrong} of {len(labels):,} wrong)")
    path = settings.out / f"{task.name}-{settings.model}"
    about = {"model": settings.model, "config": recipe.config, "image": image, "box": task.box,
             "classes": task.classes}
    save(model.state_dict(), f"{path}.safetensors", metadata={"fastnn": json.dumps(about)})
    console.print(f"model          {escape(str(path))}.safetensors")
    if history["loss"]:
        drawn = draw_curve(history, f"{path}.png", f"{settings.model} on {task.name}")
        console.print(f"learning curve {escape(drawn)}")
    console.print(f"wall time      {time.perf_counter() - started:.1f} s")


def fit(model: nn.Module, loader: DataLoader[Any], test: tuple[np.ndarray, np.ndarray],
        settings: Settings, history: History) -> None:
    """AdamW under a one-cycle schedule; a progress bar on a terminal, and one line per epoch."""
    epochs, steps = settings.epochs, settings.epochs * len(loader)
    optimizer = optim.AdamW(model.parameters(), lr=settings.lr)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps)
    transform = augmentation() if settings.augment else None

    @compile
    def step(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        optimizer.zero_grad()
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        optimizer.step()
        return loss, (logits.argmax(1) == y).sum()

    with tqdm(total=steps, unit=" steps", leave=False, disable=None) as bar:
        tqdm.write(HEADER)
        for epoch in range(1, epochs + 1):
            model.train()
            total, right, seen = 0.0, 0, 0
            for x, y in loader:
                loss, hits = step(x if transform is None else transform(x), y)
                schedule.step()
                total += loss.item() * len(y)
                right += int(hits.item())
                seen += len(y)
                bar.update()
            row = (total / seen, right / seen, *evaluate(model, test))
            for curve, value in zip(history.values(), row, strict=True):
                curve.append(value)
            text = "{:7.4f}  {:8.2%} {:11.4f}  {:13.2%}".format(*row)
            tqdm.write(f"{f'{epoch}/{epochs}':>5}  {text}")


def evaluate(model: nn.Module, test: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """Mean loss and accuracy in evaluation mode."""
    logits = predict_logits(model, test[0])
    loss = F.cross_entropy(from_numpy(logits), from_numpy(test[1])).item()
    return loss, float((logits.argmax(1) == test[1]).mean())


def predict_logits(model: nn.Module, x: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """Logits (N, classes) of images, in evaluation mode."""
    model.eval()
    with inference_mode():
        parts = [model(from_numpy(x[i:i + batch_size])).numpy()
                 for i in range(0, len(x), batch_size)]
    return np.concatenate(parts)


def confusion_table(predicted: np.ndarray, actual: np.ndarray, classes: list[str]) -> Table:
    """Rows: true class; columns: predicted class."""
    n = len(classes)
    counts = np.bincount(actual * n + predicted, minlength=n * n).reshape(n, n)
    table = Table(title="\nconfusion: rows are true, columns predicted",
                  title_justify="left", title_style="")
    table.add_column("", justify="right", style="bold")
    for name in classes:
        table.add_column(name, justify="right")
    table.add_column("recall", justify="right")
    for i, name in enumerate(classes):
        cells = [f"[green]{c}[/green]" if i == j else f"[red]{c}[/red]" if c else "·"
                 for j, c in enumerate(counts[i])]
        table.add_row(name, *cells, f"{counts[i, i] / max(counts[i].sum(), 1):.1%}")
    return table
