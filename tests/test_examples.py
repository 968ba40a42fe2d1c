"""The scripts in examples/ run as a reader would run them, and show what they claim to show."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from fastnn.data import datasets

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py"))


def run(name: str, folder: Path, *args: str) -> str:
    """What `python examples/<name>.py` prints when started in folder."""
    here = str(Path(fastnn.__file__).parents[1])        # also where fastnn is not installed
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": here}
    result = subprocess.run([sys.executable, EXAMPLES / f"{name}.py", *args], cwd=folder,
                            env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def number(pattern: str, text: str) -> float:
    """The number in the group of the pattern, with a following % taken as hundredths."""
    match = re.search(pattern + r"\s*(-?[\d.]+(?:e-?\d+)?)(%?)", text)
    assert match, f"{pattern!r} is not in:\n{text}"
    return float(match[1]) / (100 if match[2] else 1)


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_each_script_is_listed():
    listed = re.findall(r"\[(\w+)\.py\]", (EXAMPLES / "README.md").read_text())
    assert sorted(listed) == SCRIPTS


def test_perceptron_separates_exactly(tmp_path):
    pytest.importorskip("sklearn", reason="the flowers come with scikit-learn")
    pytest.importorskip("matplotlib", reason="the example draws a picture")
    assert "0 of 150 flowers on the wrong side" in run("perceptron", tmp_path)
    assert is_png(tmp_path / "perceptron.png")


def test_binary_classifier_is_as_good_as_scikit_learn(tmp_path):
    pytest.importorskip("sklearn", reason="the comparison is with scikit-learn")
    pytest.importorskip("matplotlib", reason="the example draws a picture")
    text = run("binary_classifier", tmp_path)
    ours, mlp, logistic = (number(f"{name}.*test accuracy", text)
                           for name in ("fastnn", "MLPClassifier", "LogisticRegression"))
    assert ours > 0.96
    assert ours == pytest.approx(mlp, abs=0.01)
    assert ours == pytest.approx(logistic, abs=0.01)
    assert is_png(tmp_path / "binary_classifier.png")


def test_regression_is_as_good_as_scikit_learn(tmp_path):
    pytest.importorskip("sklearn", reason="the comparison is with scikit-learn")
    pytest.importorskip("matplotlib", reason="the example draws a picture")
    text = run("regression", tmp_path)
    ours, mlp = (number(f"{name}.*test R²", text) for name in ("fastnn", "MLPRegressor"))
    assert ours > 0.45
    assert ours == pytest.approx(mlp, abs=0.01)
    assert is_png(tmp_path / "regression.png")


def test_backprop_by_hand_agrees(tmp_path):
    differences = re.findall(r"largest difference ([\d.e-]+)", run("backprop_by_hand", tmp_path))
    assert len(differences) == 4
    assert max(map(float, differences)) < 1e-6


def test_fine_tuning_needs_few_pictures(tmp_path):
    text = run("fine_tuning", tmp_path)
    tuned, fresh = number("fine-tuned:", text), number("from scratch:", text)
    assert tuned > 0.95
    assert tuned > fresh + 0.1


def test_schedules(tmp_path):
    pytest.importorskip("matplotlib", reason="the example draws a picture")
    text = run("schedules", tmp_path)
    assert number(r"StepLR\(30\).*ends", text) == pytest.approx(0.1 * 0.3 ** 3, abs=1e-4)
    assert number("OneCycleLR.*peak", text) == pytest.approx(0.1, abs=1e-3)
    assert is_png(tmp_path / "schedules.png")


def test_profile_training(tmp_path):
    pytest.importorskip("matplotlib", reason="the example draws a picture")
    text = run("profile_training", tmp_path)
    assert "linear backward" in text and "Net.hidden.0" in text
    assert number("eager:", text) > 0 and number("compiled:", text) > 0
    assert is_png(tmp_path / "roofline.png")
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_mnist_one_epoch(tmp_path):
    try:
        datasets.load_mnist()
    except FileNotFoundError:
        pytest.skip("MNIST is not there: set FASTNN_DATA to the folder that holds mnist/")
    text = run("mnist_mlp", tmp_path, "1")
    assert number("epoch  1  test accuracy", text) >= 0.95
    assert (tmp_path / "mnist-mlp.safetensors").is_file()


def test_mnist_example_has_the_settings_of_the_command_line():
    pytest.importorskip("typer", reason="the command line needs typer")
    from fastnn.cli.tasks import TASKS

    spec = importlib.util.spec_from_file_location("mnist_mlp", EXAMPLES / "mnist_mlp.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    task = TASKS["mnist"].recipes["mlp"]
    assert (example.EPOCHS, example.BATCH, example.LR) == (task.epochs, task.batch_size, task.lr)
    assert task.config == {"sizes": [784, 512, 256, 10], "dropout": example.DROPOUT}


def test_mnist_cnn_is_that_of_the_command_line(monkeypatch, tmp_path):
    """One epoch of 6,400 images: it learns, draws, and has the bits of `fastnn train`."""
    pytest.importorskip("matplotlib", reason="the example draws pictures")
    pytest.importorskip("typer", reason="the command line needs typer")
    from typer.testing import CliRunner

    from fastnn.cli.app import app

    try:
        (x, y), (x_test, y_test) = datasets.load_mnist()
    except FileNotFoundError:
        pytest.skip("MNIST is not there: set FASTNN_DATA to the folder that holds mnist/")
    assert number("test accuracy", run("mnist_cnn", tmp_path, "1", "6400")) >= 0.93
    assert all(is_png(tmp_path / f"{n}.png") for n in ("filters", "feature_maps", "confusion"))

    part = (x[:6400], y[:6400]), (x_test[:100], y_test[:100])
    monkeypatch.setattr(datasets, "load_mnist", lambda download: part)
    result = CliRunner().invoke(app, ["train", "mnist", "--model", "cnn", "--epochs", "1",
                                      "--out", str(tmp_path / "cli")])
    assert result.exit_code == 0, result.output
    ours, theirs = (fastnn.load(folder / "mnist-cnn.safetensors")
                    for folder in (tmp_path, tmp_path / "cli"))
    assert all(ours[k].numpy().tobytes() == theirs[k].numpy().tobytes() for k in theirs)
