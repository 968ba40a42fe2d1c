"""Commands: demo, train, predict, bench, doctor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from . import doctor as doctor_report
from .bench import benchmark
from .predict import predict_image, write_sample
from .tasks import TASKS
from .train import Settings, run

app = typer.Typer(help="fastnn: neural networks on the CPU.", no_args_is_help=True,
                  pretty_exceptions_enable=False, add_completion=False)
console = Console(highlight=False, soft_wrap=True)

_MODELS = TASKS["mnist"].recipes
_SUITED = {"show_default": "suits the data"}
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the data.", **_SUITED)]
Batch = Annotated[int | None, typer.Option(min=1, help="Samples per step.", **_SUITED)]
Rate = Annotated[float | None, typer.Option(min=0, help="Peak learning rate of AdamW.", **_SUITED)]
Seed = Annotated[int, typer.Option(help="Equal seeds give equal bits, at any thread count.")]
Out = Annotated[Path, typer.Option(help="Folder for the model and the learning curve.")]


def _fail(error: Exception | str) -> NoReturn:
    """One clear line instead of a traceback."""
    console.print(f"[red]fastnn:[/red] {escape(str(error))}")
    sys.exit(1)


@app.command()
def demo(epochs: Epochs = None, batch_size: Batch = None, lr: Rate = None, seed: Seed = 0,
         out: Out = Path(".")) -> None:
    """Train an MLP on the bundled 8x8 digits: a few seconds, no network."""
    train("digits", "mlp", False, epochs, batch_size, lr, seed, out, False)
    sample = out / "digit.png"
    try:
        write_sample(sample, TASKS["digits"].load(False)[1][0][0])
    except (OSError, ModuleNotFoundError) as e:
        _fail(e)
    command = f"fastnn predict {out / 'digits-mlp.safetensors'} {sample}"
    console.print(f"try it         [bold]{escape(command)}[/bold]")


@app.command()
def train(
    dataset: Annotated[str, typer.Argument(help=f"One of: {', '.join(TASKS)}.")],
    model: Annotated[str, typer.Option(help=f"One of: {', '.join(_MODELS)}.")] = "mlp",
    augment: Annotated[bool, typer.Option("--augment", help="Turn, move, scale images.")] = False,
    epochs: Epochs = None, batch_size: Batch = None, lr: Rate = None, seed: Seed = 0,
    out: Out = Path("."),
    download: Annotated[bool, typer.Option("--download", help="Fetch missing data.")] = False,
) -> None:
    """Train a classifier and save it with its learning curve."""
    if dataset not in TASKS:
        _fail(f"dataset: got {dataset!r}; need one of {', '.join(TASKS)}")
    task = TASKS[dataset]
    if model not in task.recipes:
        _fail(f"--model: got {model!r}; need one of {', '.join(task.recipes)}")
    recipe = task.recipes[model]
    if epochs is None:
        epochs = recipe.augmented if augment else recipe.epochs
    settings = Settings(model, epochs, batch_size or recipe.batch_size,
                        recipe.lr if lr is None else lr, seed, out, download, augment)
    try:
        run(task, settings, console)
    except (OSError, ValueError, MemoryError) as e:
        _fail(e)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A .safetensors file written by train or demo.")],
    image: Annotated[Path, typer.Argument(help="A picture of one digit, dark or light ground.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 3,
) -> None:
    """Classify an image file with a saved model."""
    try:
        ranking = predict_image(model, image)
    except (OSError, ValueError, ModuleNotFoundError) as e:
        _fail(e)
    for label, p in ranking[:top]:
        console.print(f"{escape(label):>4}  {p:7.2%}  [cyan]{'█' * round(40 * p)}[/cyan]")


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
def bench(arguments: Annotated[list[str] | None, typer.Argument(metavar="...")] = None) -> None:
    """Measure fastnn beside other libraries on this machine; fastnn bench --help says more."""
    benchmark()(arguments or [])


@app.command()
def doctor() -> None:
    """Show the machine as fastnn sees it: CPU, instruction set, threads, quota, versions."""
    rows = doctor_report.report()
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(f"[bold]{name:<{width}}[/bold]  {escape(value)}")
