"""Every option of the functions and layers of images, given what it is not: an error of ours.

Not a table of rows but their product: each argument that is no tensor gets each wrong value. What
comes back is a result, or an error of ours that says what is needed, the same from C and NumPy.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bad import NUMPY_RUN, REFERENCE, Bad, F, check, observed

import fastnn
from fastnn import _core, errors, nn
from fastnn.errors import DTypeError
from fastnn.vision import transforms as T

OURS = tuple(getattr(errors, name) for name in errors.__all__)


def x(*shape: int) -> fastnn.Tensor:
    return fastnn.ones(*shape)


IMAGES, SERIES, V4, V6, V8 = x(2, 4, 6, 6), x(2, 4, 6), x(4), x(6), x(8)
CONV = {"input": IMAGES, "weight": x(8, 4, 3, 3), "bias": V8}
NORMED = {"input": SERIES, "running_mean": V4, "running_var": V4, "weight": V4, "bias": V4}
FUNCTIONS: list[tuple[str, dict[str, Any]]] = [
    ("conv2d", CONV), ("conv2d_act", CONV),
    ("conv2d_norm", {**CONV, "running_mean": V8, "running_var": V8, "gain": V8, "shift": V8}),
    ("conv1d", {"input": SERIES, "weight": x(8, 4, 3)}),
    ("conv_transpose2d", {"input": IMAGES, "weight": x(4, 8, 3, 3), "bias": V8}),
    ("conv_transpose1d", {"input": SERIES, "weight": x(4, 8, 3)}),
    *((f"{kind}_pool{d}d", {"input": t, "kernel_size": 2})
      for kind in ("max", "avg") for d, t in ((1, SERIES), (2, IMAGES))),
    *((f"adaptive_{kind}_pool{d}d", {"input": t, "output_size": 2})
      for kind in ("max", "avg") for d, t in ((1, SERIES), (2, IMAGES))),
    ("batch_norm", {**NORMED, "training": True}), ("batch_norm", {**NORMED, "training": False}),
    ("instance_norm", NORMED), ("instance_norm", {**NORMED, "use_input_stats": False}),
    ("group_norm", {"input": SERIES, "num_groups": 2}),
    ("layer_norm", {"input": SERIES, "normalized_shape": 6, "weight": V6}),
    ("rms_norm", {"input": SERIES, "normalized_shape": 6}),
    ("add_layer_norm", {"input": SERIES, "residual": SERIES, "normalized_shape": 6}),
    ("add_rms_norm", {"input": SERIES, "residual": SERIES, "normalized_shape": 6}),
    ("pad", {"input": IMAGES, "pad": (1, 1)}), ("interpolate", {"input": IMAGES, "size": 3}),
    ("interpolate", {"input": IMAGES, "scale_factor": 2.0, "mode": "bilinear"}),
    ("unfold", {"input": IMAGES, "kernel_size": 2}),
    ("fold", {"input": x(2, 16, 25), "output_size": (6, 6), "kernel_size": 2}),
    ("pixel_shuffle", {"input": IMAGES, "upscale_factor": 2}),
    ("pixel_unshuffle", {"input": IMAGES, "downscale_factor": 2}),
    ("dropout", {"input": IMAGES}), ("dropout1d", {"input": SERIES}),
    ("dropout2d", {"input": IMAGES}),
]
LAYERS: list[tuple[Any, tuple[Any, ...], fastnn.Tensor]] = [
    (nn.Conv1d, (4, 8, 3), SERIES), (nn.Conv2d, (4, 8, 3), IMAGES),
    (nn.ConvTranspose1d, (4, 8, 3), SERIES), (nn.ConvTranspose2d, (4, 8, 3), IMAGES),
    (nn.MaxPool1d, (2,), SERIES), (nn.MaxPool2d, (2,), IMAGES), (nn.AvgPool1d, (2,), SERIES),
    (nn.AvgPool2d, (2,), IMAGES), (nn.AdaptiveAvgPool1d, (2,), SERIES),
    (nn.AdaptiveAvgPool2d, (2,), IMAGES), (nn.AdaptiveMaxPool2d, (2,), IMAGES),
    (nn.BatchNorm1d, (4,), SERIES), (nn.BatchNorm2d, (4,), IMAGES), (nn.GroupNorm, (2, 4), SERIES),
    (nn.InstanceNorm1d, (4,), SERIES), (nn.InstanceNorm2d, (4,), IMAGES),
    (nn.LayerNorm, (6,), SERIES), (nn.RMSNorm, (6,), SERIES), (nn.Upsample, (None, 2), IMAGES),
    (nn.PixelShuffle, (2,), IMAGES), (nn.PixelUnshuffle, (2,), IMAGES),
    (nn.Unfold, (2,), IMAGES), (nn.Fold, ((6, 6), 2), x(2, 16, 25)), (nn.ZeroPad2d, (1,), IMAGES),
    (nn.ReflectionPad2d, (1,), IMAGES), (nn.ReplicationPad2d, (1,), IMAGES),
    (nn.Dropout1d, (0.5,), SERIES), (nn.Dropout2d, (0.5,), IMAGES),
]
WRONG: list[Any] = [
    None, "x", "same", b"y", 1.5, 1e300, float("nan"), float("inf"), -1, 0, 2**31, 2**63, 2**70,
    -2**63, 1j, (), (1,), (1, 2, 3), [1, "x"], ["a"], ([1, 2], 3), {}, {1}, object(), float, len,
    slice(1), True, np.float32(2), np.int64(2), np.array(2), np.array([1, 2]), np.array("x"),
    fastnn.ones(2), fastnn.ones(()), fastnn.zeros(3, 3).long(),
]
IGNORED = ("inplace", "device", "dtype")


def outcome(function: Callable[..., Any], given: dict[str, Any], what: str,
            *data: Any) -> tuple[type | None, str]:
    """The error's type and text, if it is one of ours; what comes back may be called with data."""
    try:
        made = function(**given)
        if data:
            made(*data)
    except MemoryError as e:
        return MemoryError, str(e)
    except Exception as e:
        named = isinstance(e, OURS) or type(e) is ValueError
        truth = "truth value" in str(e) or "as a bool" in str(e)    # NumPy's, and ours, for a flag
        assert named and ("need" in str(e) or truth), f"{what}: {e!r}"
        return type(e), str(e)
    return None, ""


def test_an_error_that_is_not_ours_is_found() -> None:
    for wrong in ("x", [1]):
        with pytest.raises(AssertionError, match="raw: (TypeError|ValueError)"):
            outcome(lambda eps: float(eps), {"eps": wrong}, "raw")


@pytest.fixture
def little_memory() -> Any:
    fastnn.limits.set_max_bytes(fastnn.live_bytes() + 2**26)
    yield
    fastnn.limits.set_max_bytes(0)


@pytest.mark.filterwarnings("ignore")               # NumPy's, about arrays of one element
@pytest.mark.parametrize("name, given", FUNCTIONS, ids=lambda v: v if isinstance(v, str) else "")
def test_functions(name: str, given: dict[str, Any], little_memory: Any) -> None:
    function = getattr(F, name)
    given = {k: t.clone() if isinstance(t, fastnn.Tensor) else t for k, t in given.items()}
    before = observed()
    for option in inspect.signature(function).parameters:
        for wrong in () if option in IGNORED else WRONG:
            what, found = f"{name}({option}={wrong!r:.40})", []
            moving = [given[k] for k in given if k.startswith("running")]
            running = [t.numpy().tobytes() for t in moving]
            for table in (None, REFERENCE):
                _core.use_reference(table)
                try:
                    found.append(outcome(function, {**given, option: wrong}, what))
                finally:
                    _core.use_reference(REFERENCE if NUMPY_RUN else None)
            assert found[0][0] is found[1][0], what
            if found[0][0] is not MemoryError:      # which counts the bytes there are
                assert found[0] == found[1], what
            if found[0][0]:
                assert running == [t.numpy().tobytes() for t in moving], f"{what}: moved statistics"
    if name not in ("dropout", "dropout1d", "dropout2d"):
        assert observed() == before                 # nor did the random state


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer, given, data", LAYERS, ids=lambda v: getattr(v, "__name__", ""))
def test_layers(layer: Any, given: tuple[Any, ...], data: fastnn.Tensor,
                little_memory: Any) -> None:
    """Refused when it is made, or when it is called."""
    options = inspect.signature(layer).parameters
    base = dict(zip(options, given, strict=False))
    for option in options:
        for wrong in () if option in IGNORED else WRONG:
            outcome(layer, {**base, option: wrong}, f"{layer.__name__}({option}={wrong!r:.40})",
                    data)


PICTURES = np.ones((2, 3, 6, 6), np.float32)
TRANSFORMS: dict[str, tuple[Any, ...]] = {
    "CenterCrop": (3,), "ColorJitter": (), "Compose": ([T.Grayscale()],), "GaussianNoise": (),
    "Grayscale": (), "Normalize": ([0.5], [0.5]), "Pad": (1,), "RandomAffine": (10,),
    "RandomApply": ([T.Grayscale()],), "RandomCrop": (3,), "RandomErasing": (1,),
    "RandomHorizontalFlip": (), "RandomResizedCrop": (3,), "RandomRotation": (10,),
    "RandomVerticalFlip": (), "Resize": (3,), "ToDtype": (fastnn.float32,),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*TRANSFORMS, "CutMix", "MixUp"])
def test_transforms(name: str, little_memory: Any) -> None:
    transform, options = getattr(T, name), inspect.signature(getattr(T, name)).parameters
    base = dict(zip(options, TRANSFORMS.get(name, ()), strict=False))
    data = (PICTURES,) if name in TRANSFORMS else (PICTURES, np.array([0, 1]))
    for option in options:
        for wrong in () if option in ("inplace", "generator") else WRONG:
            outcome(transform, {"num_classes": 3, **base, option: wrong} if len(data) == 2
                    else {**base, option: wrong}, f"{name}({option}={wrong!r:.40})", *data)


ROWS = [
    *(Bad(f"{name}-eps-{eps!r}", lambda name=name, given=given, eps=eps: getattr(F, name)(
        **given, eps=eps), DTypeError, f"^{name}: eps: got {eps!r}; need a number")
      for name, given in (
          ("batch_norm", {**NORMED, "training": True}), ("instance_norm", NORMED),
          ("group_norm", {"input": SERIES, "num_groups": 2}),
          ("layer_norm", {"input": SERIES, "normalized_shape": 6}),
          ("rms_norm", {"input": SERIES, "normalized_shape": 6}),
          ("conv2d_norm", {**CONV, "running_mean": V8, "running_var": V8, "gain": V8,
                           "shift": V8}))
      for eps in ("x", b"y")),
    Bad("batch-norm-momentum", lambda: F.batch_norm(**NORMED, training=True, momentum="x"),
        DTypeError, "^batch_norm: momentum: got 'x'; need a number"),
    Bad("instance-norm-momentum", lambda: F.instance_norm(**NORMED, momentum=None), DTypeError,
        "^instance_norm: momentum: got None; need a number"),
    Bad("layer-norm-shape", lambda: F.layer_norm(SERIES, "six"), DTypeError,
        "^layer_norm: normalized_shape: got 'six'; need integers"),
    Bad("interpolate-factor", lambda: F.interpolate(IMAGES, scale_factor="2"), DTypeError,
        "^interpolate: scale_factor: got '2'; need a number"),
    Bad("pad-number", lambda: F.pad(IMAGES, 1), Exception,
        r"^pad: pad: got \(1,\) for \(2, 4, 6, 6\); need two numbers"),
    Bad("pad-mode", lambda: F.pad(IMAGES, (1, 1), ["edge"]), ValueError,
        r"^pad: mode: got \['edge'\]; need one of 'constant', 'reflect'"),
    Bad("conv2d-act-word", lambda: F.conv2d_act(**CONV, activation=["relu"]), ValueError,
        "^conv2d_act: activation: got"),
]


@pytest.mark.parametrize("bad", ROWS, ids=lambda b: b.name)
def test_bad_input(bad: Bad) -> None:
    check(bad)
