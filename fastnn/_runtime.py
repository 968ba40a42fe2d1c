"""Loads the compiled core with an OpenMP runtime that does not spin for long.

libgomp reads its settings once, when it is loaded. By default an idle thread spins for milliseconds
before it sleeps, and two runtimes in one process, or another busy program, then starve each other.
On Linux our workers are our own (csrc/crew.h); elsewhere they are the runtime's.
The variables are set only around the import, and only where the user has not set them.
"""

from __future__ import annotations

import os
from importlib import import_module

SPINS = "10000"   # 0.25 ms here: longer than Python's pauses in a training step; csrc/team.h knows


def load_core() -> None:
    """Import ``fastnn._core``; the environment is afterwards as it was."""
    ours = not ({"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys())
    if ours:
        os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        import_module("fastnn._core")
    finally:
        if ours:
            del os.environ["GOMP_SPINCOUNT"]
