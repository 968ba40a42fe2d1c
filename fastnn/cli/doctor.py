"""The machine and the installation as fastnn sees them."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from .. import __version__, _core
from .._startup import backend, cpu_name, cpu_quota

LIBRARIES = ("numpy", "safetensors", "tqdm", "rich", "typer", "matplotlib", "pillow",
             "scikit-learn", "torch")


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def report() -> list[tuple[str, str]]:
    """(what, value) rows."""
    quota = cpu_quota()
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        ("fastnn", __version__),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
        ("cpu", f"{cpu_name()}, {os.cpu_count()} CPUs, {cpus} of them ours"),
        ("instruction set", f"{_core.isa()} (this machine runs {', '.join(_core.isa_names())})"),
        ("threads", str(_core.get_num_threads())),
        ("cgroup quota", "none" if quota is None else f"{quota:g} CPUs"),
        ("backend", backend()),
        *((name, _version(name)) for name in LIBRARIES),
    ]
