"""What import decides once: threads, instruction set and backend, all overridable by variables."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from . import _core


def cpu_quota(system: Path = Path("/")) -> float | None:
    """CPUs granted by the cgroup (v2 cpu.max on the way up, or v1 cfs quota); None = no limit."""
    root, limits = system / "sys/fs/cgroup", []
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folder = root / path.lstrip("/")
            for place in (folder, *folder.parents):
                limits.append(_ratio(_words(place / "cpu.max")))
                if place == root:
                    break
        elif "cpu" in controllers.split(","):
            for place in (root / "cpu" / path.lstrip("/"), root / "cpu"):
                limits.append(_ratio(_words(place / "cpu.cfs_quota_us")
                                     + _words(place / "cpu.cfs_period_us")))
    return min((x for x in limits if x is not None), default=None)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _ratio(words: list[str]) -> float | None:
    """quota / period, unless there is no quota ("max" or -1)."""
    if len(words) != 2 or not (words[0].isdigit() and words[1].isdigit()) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def default_threads() -> int:
    """CPUs this process may use: its affinity mask, capped by the cgroup's quota."""
    if hasattr(os, "sched_getaffinity"):
        cpus = len(os.sched_getaffinity(0))
    else:
        cpus = os.cpu_count() or 1
    quota = cpu_quota()
    return max(1, min(cpus, int(quota) if quota else cpus))


def cpu_name() -> str:
    """What the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def backend() -> str:
    """"c", or "numpy" for the reference twin of every op."""
    name = os.environ.get("FASTNN_BACKEND", "c")
    if name not in ("c", "numpy"):
        raise ValueError(f"FASTNN_BACKEND: got {name!r}; need 'c' or 'numpy'")
    return name


def start() -> None:
    """Apply FASTNN_ISA, FASTNN_NUM_THREADS (or OMP_NUM_THREADS) and FASTNN_BACKEND."""
    if isa := os.environ.get("FASTNN_ISA"):
        _core.select_isa(isa)
    wanted = os.environ.get("FASTNN_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    _core.set_num_threads(int(wanted) if wanted.isdigit() else default_threads())
    if backend() == "numpy":
        from . import reference

        _core.use_reference(reference.table(list(_core.OPS)))
