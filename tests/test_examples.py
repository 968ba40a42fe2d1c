"""The scripts in examples/ run as a reader would run them, and show what they claim to show."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from marks import in_c

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


def module(name: str):
    """The script as a module, not run."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


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


@pytest.fixture(scope="module")
def mnist():
    try:
        return datasets.load_mnist()
    except FileNotFoundError:
        pytest.skip("MNIST is not there: set FASTNN_DATA to the folder that holds mnist/")


def test_mnist_one_epoch(mnist, tmp_path):
    text = run("mnist_mlp", tmp_path, "1")
    assert number("epoch  1  test accuracy", text) >= 0.95
    assert (tmp_path / "mnist-mlp.safetensors").is_file()


def test_mnist_example_has_the_settings_of_the_command_line():
    pytest.importorskip("typer", reason="the command line needs typer")
    from fastnn.cli.tasks import TASKS

    example = module("mnist_mlp")
    task = TASKS["mnist"].recipes["mlp"]
    assert (example.EPOCHS, example.BATCH, example.LR) == (task.epochs, task.batch_size, task.lr)
    assert task.config == {"sizes": [784, 512, 256, 10], "dropout": example.DROPOUT}


@in_c
def test_mnist_cnn_is_that_of_the_command_line(mnist, monkeypatch, tmp_path):
    """One epoch of 6,400 images: it learns, draws, and has the bits of `fastnn train`."""
    pytest.importorskip("matplotlib", reason="the example draws pictures")
    pytest.importorskip("typer", reason="the command line needs typer")
    from typer.testing import CliRunner

    from fastnn.cli.app import app

    (x, y), (x_test, y_test) = mnist
    assert number("test accuracy", run("mnist_cnn", tmp_path, "1", "6400")) >= 0.93
    for picture in ("filters", "feature_maps", "confusion", "mistakes"):
        assert is_png(tmp_path / f"{picture}.png")

    part = (x[:6400], y[:6400]), (x_test[:100], y_test[:100])
    monkeypatch.setattr(datasets, "load_mnist", lambda download: part)
    result = CliRunner().invoke(app, ["train", "mnist", "--model", "cnn", "--epochs", "1",
                                      "--out", str(tmp_path / "cli")])
    assert result.exit_code == 0, result.output
    ours, theirs = (fastnn.load(folder / "mnist-cnn.safetensors")
                    for folder in (tmp_path, tmp_path / "cli"))
    assert all(ours[k].numpy().tobytes() == theirs[k].numpy().tobytes() for k in theirs)


@in_c
def test_an_autoencoder_beats_principal_components(mnist, tmp_path):
    """In two epochs of eight; PCA's figure, which no seed changes, is that of scikit-learn's."""
    pytest.importorskip("matplotlib", reason="the example draws a picture")
    text = run("autoencoder", tmp_path, "--quick")
    ours, pca = number("numbers: autoencoder", text), number("PCA", text)
    assert ours < 0.8 * pca
    assert is_png(tmp_path / "autoencoder.png")

    sklearn = pytest.importorskip("sklearn.decomposition", reason="the other PCA is its")
    x, x_test = (part[0].reshape(len(part[0]), -1) for part in mnist)
    other = sklearn.PCA(32, svd_solver="covariance_eigh").fit(x)
    error = ((other.inverse_transform(other.transform(x_test)) - x_test) ** 2).mean()
    assert pca == pytest.approx(error, abs=1e-5)


@in_c
def test_segmentation_learns_to_tell_digits(mnist, tmp_path):
    """An eighth of its steps; a net that sees no digit has a mean IoU of 1/11 at most."""
    pytest.importorskip("matplotlib", reason="the example draws a picture")
    text = run("segmentation", tmp_path, "--quick")
    assert number("background", text) > 0.95
    assert number("mean IoU", text) > 0.13
    assert is_png(tmp_path / "segmentation.png")


def test_scenes_and_their_masks():
    pytest.importorskip("matplotlib", reason="the example draws a picture")
    example = module("segmentation")
    images = np.zeros((10, 1, 28, 28), np.float32)          # a digit d is a bar of its own height
    for d in range(10):
        images[d, 0, 4 : 6 + d, 10:13] = 0.5
    labels = np.arange(10)
    x, y = example.scenes(np.random.default_rng(0), images, labels, 50)
    again, _ = example.scenes(np.random.default_rng(0), images, labels, 50)
    assert x.shape == (50, 1, 64, 64) and y.shape == (50, 64, 64) and np.array_equal(x, again)
    assert np.array_equal(x[:, 0] > example.INK, y > 0)     # no ink without a name, none twice
    assert set(np.unique(x)) == {0, np.float32(0.5)}
    for d in range(10):
        assert (y == d + 1).sum() % (3 * (2 + d)) == 0 < (y == d + 1).sum()


def test_intersection_over_union():
    pytest.importorskip("matplotlib", reason="the example draws a picture")
    truth = np.repeat(np.arange(11), 4)
    found = truth.copy()
    found[0] = 1                # one of four pixels of 0 goes to 1
    assert module("segmentation").iou(truth, found) == pytest.approx([3 / 4, 4 / 5] + 9 * [1])
