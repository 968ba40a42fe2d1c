"""The libraries that are measured. Each name is a worker process of its own.

An adapter is made with the number of threads and has `about` (versions, and the settings that make
it fast in words) and `build(row) -> Job | None` (None: the row does not apply). A further setting
of a library, such as another memory format, is a further line in ADAPTERS.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

OURS, EAGER, EXACT, ROOF = "fastnn", "fastnn-eager", "fastnn-exact", "roof"
NOT_PEERS = (OURS, EAGER, EXACT, ROOF)

# name: (module of this package, class, what the class is told)
ADAPTERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    OURS: ("torchlike", "Fastnn", {}),
    EAGER: ("torchlike", "FastnnEager", {}),
    EXACT: ("torchlike", "FastnnExact", {}),
    "torch": ("torchlike", "Torch", {}),
    "torch-channels-last": ("torchlike", "TorchChannelsLast", {}),
    "torch-compile": ("torchlike", "TorchCompile", {}),
    "jax": ("xla", "Jax", {}),
    "onnxruntime": ("graphs", "OnnxRuntime", {}),
    "openvino": ("graphs", "OpenVino", {}),
    ROOF: ("roof", "Roof", {}),
}
PEERS = [name for name in ADAPTERS if name not in NOT_PEERS]


@dataclass
class Job:
    """A row made ready in one library."""

    run: Callable[[], Any]                  # one call, finished when it returns
    value: Callable[[Any], float] | None    # mean magnitude of what run returned
    context: AbstractContextManager[Any] = field(default_factory=nullcontext)   # around all calls
    scale: float = 1.0                      # the row's work in calls of run
    note: str = ""                          # for the roof: which limit this is


def magnitude(x: Any) -> float:
    """Mean of |x| in double precision: what libraries that compute the same agree about."""
    return float(np.abs(np.asarray(x, np.float64)).mean())


def load(name: str, threads: int) -> Any:
    """The adapter of this name; ModuleNotFoundError if its library is not installed."""
    module, kind, options = ADAPTERS[name]
    return getattr(import_module(f".{module}", __package__), kind)(threads, **options)
