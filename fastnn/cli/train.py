"""The training run behind `fastnn demo` and `fastnn train`: progress, report, files."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from .. import _core, from_numpy, inference_mode, manual_seed, models, nn, optim, save
from ..data import DataLoader, TensorDataset
from ..nn import functional as F
from .curve import draw_curve
from .tasks import Task

History = dict[str, list[float]]


def run(task: Task, model_name: str, epochs: int | None, batch_size: int, lr: float, seed: int,
        out: Path, console: Console) -> None:
    """Train, report, and write `<task>-<model>.safetensors` and `.png` into out."""
    started = time.perf_counter()
    manual_seed(seed)
    (x, y), (x_test, y_test) = task.load()
    config = task.config[model_name]
    model = models.create(model_name, **config)
    epochs = epochs or task.epochs
    out.mkdir(parents=True, exist_ok=True)
    count = sum(p.numel() for p in model.parameters())
    console.print(f"{model_name} on {task.name}: {count:,} parameters, {len(x):,} training and "
                  f"{len(x_test):,} test images; {_core.isa()}, {_core.get_num_threads()} threads")
    loader = DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True)
    history: History = {"loss": [], "accuracy": [], "test_loss": [], "test_accuracy": []}
    try:
        fit(model, loader, (x_test, y_test), epochs, lr, history)
    except KeyboardInterrupt:
        console.print(f"[yellow]stopped after {len(history['loss'])} epochs; "
                      "keeping what was learned[/yellow]")
    logits = predict_logits(model, x_test)
    labels = logits.argmax(1)
    console.print(confusion_table(labels, y_test, task.classes))
    stem = out / f"{task.name}-{model_name}"
    about = {"model": model_name, "config": config, "image": task.image, "classes": task.classes}
    save(model.state_dict(), f"{stem}.safetensors", metadata={"fastnn": json.dumps(about)})
    console.print(f"test accuracy  [bold green]{(labels == y_test).mean():.2%}[/bold green] "
                  f"({int((labels != y_test).sum())} of {len(y_test):,} wrong)")
    console.print(f"wall time      {time.perf_counter() - started:.1f} s")
    console.print(f"model          {stem}.safetensors")
    if history["loss"]:
        console.print(f"learning curve {draw_curve(history, f'{stem}.png', f'{model_name} on {task.name}')}")


def fit(model: nn.Module, loader: DataLoader, test: tuple[np.ndarray, np.ndarray], epochs: int,
        lr: float, history: History) -> None:
    """AdamW under a one-cycle schedule; a progress bar, and one line per epoch."""
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-2)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * len(loader))
    width = len(str(epochs))
    with tqdm(total=epochs * len(loader), unit="step", leave=False) as bar:
        for epoch in range(1, epochs + 1):
            loss, accuracy = train_epoch(model, loader, optimizer, schedule, bar)
            logits = from_numpy(predict_logits(model, test[0]))
            test_loss = F.cross_entropy(logits, from_numpy(test[1])).item()
            test_accuracy = float((logits.numpy().argmax(1) == test[1]).mean())
            for key, value in zip(history, (loss, accuracy, test_loss, test_accuracy), strict=True):
                history[key].append(value)
            bar.write(f"epoch {epoch:{width}}/{epochs}  loss {loss:.4f}  accuracy {accuracy:.2%}  "
                      f"test loss {test_loss:.4f}  test accuracy {test_accuracy:.2%}")


def train_epoch(model: nn.Module, loader: DataLoader, optimizer: optim.Optimizer,
                schedule: optim.lr_scheduler.LRScheduler, bar: tqdm) -> tuple[float, float]:
    """One pass over the data: mean loss and accuracy."""
    model.train()
    total, right, seen = 0.0, 0, 0
    for x, y in loader:
        optimizer.zero_grad()
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item() * len(y)
        right += int((logits.argmax(1) == y).sum())
        seen += len(y)
        bar.update()
    return total / seen, right / seen


def predict_logits(model: nn.Module, x: np.ndarray, batch_size: int = 1024) -> np.ndarray:
    """Logits (N, classes) of images, in evaluation mode."""
    model.eval()
    with inference_mode():
        parts = [model(from_numpy(x[i:i + batch_size])).numpy() for i in range(0, len(x), batch_size)]
    return np.concatenate(parts)


def confusion_table(predicted: np.ndarray, actual: np.ndarray, classes: list[str]) -> Table:
    """Rows: true class; columns: predicted class."""
    n = len(classes)
    counts = np.bincount(actual * n + predicted, minlength=n * n).reshape(n, n)
    table = Table(title="confusion: rows are true, columns predicted", title_justify="left")
    table.add_column("", justify="right", style="bold")
    for name in classes:
        table.add_column(name, justify="right")
    table.add_column("recall", justify="right")
    for i, name in enumerate(classes):
        cells = [f"[green]{c}[/green]" if i == j else f"[red]{c}[/red]" if c else "·"
                 for j, c in enumerate(counts[i])]
        table.add_row(name, *cells, f"{counts[i, i] / max(counts[i].sum(), 1):.1%}")
    return table
