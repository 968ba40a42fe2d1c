"""Where the benchmark is: bench/ of a source tree, or fastnn._bench, the same files in a wheel."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def benchmark() -> Callable[[list[str]], None]:
    """The benchmark's own command line."""
    if (ROOT / "csrc").is_dir():
        sys.path.insert(0, str(ROOT))
        return import_module("bench.cli").main
    return import_module("fastnn._bench.cli").main
