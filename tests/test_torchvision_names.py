"""Parameters of fastnn.models: the names, order and shapes of torchvision's checkpoints.

What is expected here is written down from torchvision's published models, layer numbers and all,
not computed from ours; the sums are the counts that its documentation publishes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import fastnn
from fastnn import models

Entry = tuple[str, tuple[int, ...]]
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

PUBLISHED = {
    "alexnet": 61_100_840,
    "vgg11": 132_863_336, "vgg13": 133_047_848, "vgg16": 138_357_544, "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840, "vgg13_bn": 133_053_736, "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032,
    "resnet101": 44_549_160, "mobilenet_v2": 3_504_872,
}
# Places of the convolutions in `features`, and of the linear layers in `classifier`.
PLACES = {
    "alexnet": (0, 3, 6, 8, 10),
    "vgg11": (0, 3, 6, 8, 11, 13, 16, 18),
    "vgg13": (0, 2, 5, 7, 10, 12, 15, 17, 20, 22),
    "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    "vgg19": (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
    "vgg11_bn": (0, 4, 8, 11, 15, 18, 22, 25),
    "vgg13_bn": (0, 3, 7, 10, 14, 17, 21, 24, 28, 31),
    "vgg16_bn": (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40),
    "vgg19_bn": (0, 3, 7, 10, 14, 17, 20, 23, 27, 30, 33, 36, 40, 43, 46, 49),
}
CHANNELS = {
    "alexnet": (64, 192, 384, 256, 256),
    "vgg11": (64, 128, 256, 256, 512, 512, 512, 512),
    "vgg13": (64, 64, 128, 128, 256, 256, 512, 512, 512, 512),
    "vgg16": (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
    "vgg19": (64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512, 512, 512, 512),
}


def layer(name: str, *shape: int, bias: bool = True) -> Iterator[Entry]:
    """A convolution's or a linear layer's entries."""
    yield f"{name}.weight", shape
    if bias:
        yield f"{name}.bias", shape[:1]


def norm(name: str, channels: int) -> Iterator[Entry]:
    for kind in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{kind}", (channels,)
    yield f"{name}.num_batches_tracked", ()


def alexnet(name: str) -> Iterator[Entry]:
    before = 3
    for place, out, kernel in zip(PLACES[name], CHANNELS[name], (11, 5, 3, 3, 3), strict=True):
        yield from layer(f"features.{place}", out, before, kernel, kernel)
        before = out
    yield from layer("classifier.1", 4096, 256 * 6 * 6)
    yield from layer("classifier.4", 4096, 4096)
    yield from layer("classifier.6", 1000, 4096)


def vgg(name: str) -> Iterator[Entry]:
    before = 3
    for place, out in zip(PLACES[name], CHANNELS[name.removesuffix("_bn")], strict=True):
        yield from layer(f"features.{place}", out, before, 3, 3)
        if name.endswith("_bn"):
            yield from norm(f"features.{place + 1}", out)
        before = out
    yield from layer("classifier.0", 4096, 512 * 7 * 7)
    yield from layer("classifier.3", 4096, 4096)
    yield from layer("classifier.6", 1000, 4096)


def resnet(name: str) -> Iterator[Entry]:
    blocks = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3),
              "resnet101": (3, 4, 23, 3)}[name]
    wide = name in ("resnet50", "resnet101")
    yield from layer("conv1", 64, 3, 7, 7, bias=False)
    yield from norm("bn1", 64)
    before = 64
    for stage, (count, planes) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), 1):
        out = 4 * planes if wide else planes
        for i in range(count):
            kernels = ((1, planes, before), (3, planes, planes), (1, out, planes)) if wide else \
                ((3, planes, before), (3, planes, planes))
            for k, (side, o, c) in enumerate(kernels, 1):
                yield from layer(f"layer{stage}.{i}.conv{k}", o, c, side, side, bias=False)
                yield from norm(f"layer{stage}.{i}.bn{k}", o)
            if i == 0 and before != out:
                yield from layer(f"layer{stage}.0.downsample.0", out, before, 1, 1, bias=False)
                yield from norm(f"layer{stage}.0.downsample.1", out)
            before = out
    yield from layer("fc", 1000, before)


def mobilenet_v2(_: str) -> Iterator[Entry]:
    def step(name: str, out: int, inner: int, side: int) -> Iterator[Entry]:
        yield from layer(f"{name}.0", out, inner, side, side, bias=False)
        yield from norm(f"{name}.1", out)

    outputs = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)
    yield from step("features.0", 32, 3, 3)
    before = 32
    for i, out in enumerate(outputs, 1):
        name, wide, last = f"features.{i}.conv", before if i == 1 else 6 * before, 1 + (i > 1)
        if i > 1:
            yield from step(f"{name}.0", wide, before, 1)
        yield from step(f"{name}.{last - 1}", wide, 1, 3)
        yield from layer(f"{name}.{last}", out, wide, 1, 1, bias=False)
        yield from norm(f"{name}.{last + 1}", out)
        before = out
    yield from step("features.18", 1280, 320, 1)
    yield from layer("classifier.1", 1000, 1280)


FAMILIES = {"alexnet": alexnet, "vgg": vgg, "resnet": resnet, "mobilenet_v2": mobilenet_v2}


def expected(name: str) -> list[Entry]:
    (family,) = [f for prefix, f in FAMILIES.items() if name.startswith(prefix)]
    return list(family(name))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models whose weights are as memory was: a checkpoint follows, and VGGs are large."""
    for draw in ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_"):
        monkeypatch.setattr(f"fastnn.nn.init.{draw}", lambda t, *args, **options: t)


@pytest.mark.parametrize("name", PUBLISHED)
def test_entries_are_torchvisions(name: str, undrawn: None) -> None:
    model, entries = models.create(name), expected(name)
    assert [(k, tuple(v.shape)) for k, v in model.state_dict().items()] == entries
    learned = [shape for key, shape in entries if not key.endswith(STATISTICS)]
    assert sum(int(np.prod(s)) for s in learned) == PUBLISHED[name]
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_a_checkpoint_loads(name: str, undrawn: None) -> None:
    """Every value arrives in its place, counters of batches as int64 scalars."""
    model, rng = models.create(name), np.random.default_rng(0)
    state = {k: rng.random(s, np.float32) if s else np.array(7, np.int64)
             for k, s in expected(name)}
    model.load_state_dict(state)
    for key, value in model.state_dict().items():
        found = value.numpy()
        assert found.dtype == state[key].dtype
        np.testing.assert_array_equal(found, state[key], err_msg=key)


@pytest.mark.parametrize("name, counted", [("mobilenet_v2", True), ("mobilenet_v2", False),
                                           ("resnet18", True)])
def test_a_file_of_weights_loads(name: str, counted: bool, undrawn: None, tmp_path: Path) -> None:
    """As others write it: the library's own writer, torch's note, with and without counters."""
    rng = np.random.default_rng(0)
    state = {k: rng.random(s, np.float32) if s else np.array(7, np.int64)
             for k, s in expected(name) if counted or s}
    save_file(dict(reversed(state.items())), tmp_path / "a.safetensors", {"format": "pt"})
    model = models.create(name)
    assert not any(model.load_state_dict(fastnn.load(tmp_path / "a.safetensors")))
    found = model.state_dict()
    for key, value in state.items():
        np.testing.assert_array_equal(found[key].numpy(), value, err_msg=key)


def test_a_name_too_many_or_too_few_is_an_error(undrawn: None) -> None:
    model = models.create("mobilenet_v2")
    state = {k: np.zeros(s, np.float32 if s else np.int64) for k, s in expected("mobilenet_v2")}
    extra = state | {"features.19.weight": np.zeros(1, np.float32)}
    fewer = {k: v for k, v in state.items() if k != "classifier.1.bias"}
    for wrong, key in ((extra, "features.19.weight"), (fewer, "classifier.1.bias")):
        with pytest.raises((KeyError, ValueError, RuntimeError), match=key):
            model.load_state_dict(wrong)
