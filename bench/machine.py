"""What the measurements depend on: threads, machine, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

# Every library of the comparison, and those they are built on, reads one of these.
THREAD_VARIABLES = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                    "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "FASTNN_NUM_THREADS",
                    "NPROC", "PJRT_NPROC"]          # the last two: XLA


def environment(threads: int, isa: str | None = None) -> dict[str, str]:
    """The environment of a worker."""
    wanted = dict.fromkeys(THREAD_VARIABLES, str(threads))
    return os.environ | wanted | ({"FASTNN_ISA": isa} if isa else {})


def bind(pid: int, threads: int) -> None:
    """Keep a process on the first `threads` CPUs that we may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, sorted(os.sched_getaffinity(0))[:threads])


def cpu_seconds(pid: int) -> float | None:
    """Processor time a process has used so far, all its threads; None where Linux does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settle(pid: int, limit: float = 0.5) -> None:
    """Wait until no thread of the process runs: OpenMP's spin for milliseconds after their work."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        time.sleep(0.001)
        try:
            threads = list(Path(f"/proc/{pid}/task").iterdir())
            states = [(t / "stat").read_text().rsplit(")", 1)[1].split()[0] for t in threads]
        except OSError:
            if not Path("/proc/self/task").is_dir():
                return time.sleep(0.02)             # not Linux
            continue                                # a thread has just ended
        if "R" not in states:
            return


def cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe() -> dict[str, Any]:
    """The machine in words a reader of the results needs."""
    return {"cpu": cpu_name(), "cpus": os.cpu_count(), "system": platform.platform(),
            "python": platform.python_version(), "load": os.getloadavg()[0]}


def commit(tree: Path) -> str | None:
    """The commit of a source tree, with a + when files differ from it; None outside of git."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(tree), *arguments], capture_output=True,
                              text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "-uno")
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
