"""The command line: demo, train, predict, doctor, and what they say when something is wrong."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

pytest.importorskip("typer", reason="the command line needs typer and rich")
pytest.importorskip("PIL", reason="predict needs Pillow")
from marks import in_c  # noqa: E402
from PIL import Image  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import fastnn  # noqa: E402
from fastnn.cli.app import app  # noqa: E402
from fastnn.cli.predict import read_image  # noqa: E402
from fastnn.cli.tasks import TASKS, frame  # noqa: E402
from fastnn.data import datasets  # noqa: E402


def invoke(*args):
    return CliRunner().invoke(app, [str(a) for a in args])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a digits model after four epochs, and what the run printed."""
    out = tmp_path_factory.mktemp("demo")
    result = invoke("demo", "--epochs", 4, "--out", out)
    assert result.exit_code == 0, result.output
    return out, result.output


def test_demo_reports_and_writes_its_files(trained):
    out, text = trained
    assert float(re.search(r"test accuracy\s+([\d.]+)%", text)[1]) > 85
    assert "confusion" in text and "wall time" in text
    assert (out / "digits-mlp.png").read_bytes().startswith(b"\x89PNG")
    weights = fastnn.load(out / "digits-mlp.safetensors")
    assert weights["1.weight"].shape == (128, 64)


def digit_image(path, index=0, invert=False):
    """A test digit enlarged to a PNG; returns its label."""
    (_, _), (x, y) = datasets.load_digits()
    pixels = (x[index, 0] * 255).astype(np.uint8)
    picture = Image.fromarray(255 - pixels if invert else pixels)
    picture.resize((80, 80), Image.Resampling.BICUBIC).save(path)
    return str(y[index])


@pytest.mark.parametrize("invert", [False, True], ids=["light-on-dark", "dark-on-light"])
def test_predict(trained, tmp_path, invert):
    right = 0
    for index in range(10):
        label = digit_image(tmp_path / "digit.png", index, invert)
        result = invoke("predict", trained[0] / "digits-mlp.safetensors", tmp_path / "digit.png")
        assert result.exit_code == 0, result.output
        right += result.output.split()[0] == label
    assert right >= 8


def test_the_demo_draws_a_digit_to_try(trained):
    out, text = trained
    command = re.search(r"fastnn (predict \S+ \S+)", text.replace("\n", " "))[1]
    result = invoke(*command.split())
    assert result.exit_code == 0, result.output
    assert result.output.count("%") == 3


def test_pictures_are_framed_as_mnist_is(tmp_path):
    picture = np.full((200, 300), 250, np.uint8)
    picture[20:120, 200:240] = 10                           # off centre, 100 high, 40 wide
    Image.fromarray(picture).save(tmp_path / "bar.png")
    framed = read_image(tmp_path / "bar.png", (1, 28, 28), 20)[0, 0]
    rows, columns = np.flatnonzero(framed.max(1)), np.flatnonzero(framed.max(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (4, 23, 10, 17)
    assert framed.max() == 1 and framed.min() == 0


def test_an_empty_picture_is_refused(tmp_path):
    Image.new("L", (50, 50), 255).save(tmp_path / "empty.png")
    with pytest.raises(ValueError, match="empty picture"):
        read_image(tmp_path / "empty.png", (1, 28, 28), 20)


def test_predict_refuses_bad_files(trained, tmp_path):
    model, image = trained[0] / "digits-mlp.safetensors", tmp_path / "digit.png"
    digit_image(image)
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "cut.safetensors").write_bytes(model.read_bytes()[:200])
    fastnn.save({"w": fastnn.zeros(2)}, tmp_path / "other.safetensors",
                metadata={"fastnn": json.dumps({"model": "no", "image": [1, 8, 8]})})
    for bad_model, bad_image, text in (
        (tmp_path / "none.safetensors", image, "none.safetensors"),
        (tmp_path / "cut.safetensors", image, "cut.safetensors"),
        (tmp_path / "other.safetensors", image, "fastnn train"),
        (model, tmp_path / "none.png", "none.png"),
        (model, tmp_path / "text.png", "image"),
    ):
        result = invoke("predict", bad_model, bad_image)
        assert result.exit_code == 1
        assert "Traceback" not in result.output
        assert text in result.output.replace("\n", "")


def test_train_names_what_there_is():
    result = invoke("train", "imagenet")
    assert result.exit_code == 1 and "mnist" in result.output
    result = invoke("train", "digits", "--model", "gpt")
    assert result.exit_code == 1 and "mlp, cnn" in result.output
    result = invoke("train", "mnist", "--model", "gpt")
    assert result.exit_code == 1 and ", ".join(TASKS["mnist"].recipes) in result.output


@pytest.fixture
def mnist_in_small(monkeypatch):
    """MNIST's place taken by the bundled digits, 24 pixels high on 28, 192 + 64 of them."""
    def enlarged(x, y, n):
        x = np.pad(x[:n].repeat(3, axis=2).repeat(3, axis=3), ((0, 0), (0, 0), (2, 2), (2, 2)))
        return x, y[:n]

    training, test = datasets.load_digits()
    small = enlarged(*training, 192), enlarged(*test, 64)
    monkeypatch.setattr(datasets, "load_mnist", lambda download: small)


@in_c
@pytest.mark.parametrize("model", TASKS["mnist"].recipes)
def test_each_model_trains_and_predicts(mnist_in_small, tmp_path, model):
    result = invoke("train", "mnist", "--model", model, "--augment", "--epochs", 1,
                    "--batch-size", 50, "--out", tmp_path)                  # the last one has 42
    assert result.exit_code == 0, result.output
    assert f"{model} on mnist" in result.output and "test accuracy" in result.output
    saved = tmp_path / f"mnist-{model}.safetensors"
    assert all(np.isfinite(w.numpy()).all() for w in fastnn.load(saved).values())
    digit_image(tmp_path / "digit.png")
    result = invoke("predict", saved, tmp_path / "digit.png")
    assert result.exit_code == 0, result.output
    assert result.output.count("%") == 3


@in_c
def test_a_small_cnn_learns_augmented_digits(tmp_path):
    result = invoke("train", "digits", "--model", "cnn", "--augment", "--epochs", 6,
                    "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert float(re.search(r"test accuracy\s+([\d.]+)%", result.output)[1]) > 90
    right = 0
    for index in range(10):
        label = digit_image(tmp_path / "digit.png", index)
        result = invoke("predict", tmp_path / "digits-cnn.safetensors", tmp_path / "digit.png")
        right += result.output.split()[0] == label
    assert right >= 8


def test_frame_puts_images_in_the_middle():
    framed = frame(np.ones((2, 1, 28, 27), np.float32), 32)
    assert framed.shape == (2, 1, 32, 32)
    rows, columns = np.flatnonzero(framed[0, 0].max(1)), np.flatnonzero(framed[0, 0].max(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (2, 29, 2, 28)


def test_ctrl_c_keeps_what_was_learned(monkeypatch, tmp_path):
    """The second epoch is broken off; the model is written, with the curve of the first."""
    calls = []

    def evaluate(model, test):
        if calls:
            raise KeyboardInterrupt
        calls.append(model)
        return 1.0, 0.5

    monkeypatch.setattr("fastnn.cli.train.evaluate", evaluate)
    result = invoke("train", "digits", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "stopped after 1 epochs" in result.output
    assert (tmp_path / "digits-mlp.safetensors").is_file()
    assert (tmp_path / "digits-mlp.png").is_file()


def test_mnist_without_its_files_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = invoke("train", "mnist", "--out", tmp_path)
    assert result.exit_code == 1 and "FASTNN_DATA" in result.output


def test_download_is_asked_for_only_by_its_flag(monkeypatch, tmp_path):
    asked = []

    def load_mnist(download):
        asked.append(download)
        raise OSError("no network [today]")

    monkeypatch.setattr(datasets, "load_mnist", load_mnist)
    for flags in ([], ["--download"]):
        result = invoke("train", "mnist", "--out", tmp_path, *flags)
        assert result.exit_code == 1 and "no network [today]" in result.output
    assert asked == [False, True]


def test_the_same_seed_gives_the_same_model(tmp_path):
    for name in ("a", "b"):
        assert invoke("demo", "--epochs", 1, "--seed", 3, "--out", tmp_path / name).exit_code == 0
    a, b = (fastnn.load(tmp_path / n / "digits-mlp.safetensors") for n in "ab")
    assert all(a[k].numpy().tobytes() == b[k].numpy().tobytes() for k in a)


def test_doctor():
    result = invoke("doctor")
    assert result.exit_code == 0
    for word in ("cpu", "instruction set", "threads", "quota", "numpy", fastnn.__version__):
        assert word in result.output
