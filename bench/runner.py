"""Starts the workers and lets them take turns: A B C, B C A, C A B, ..."""

from __future__ import annotations

import json
import math
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import machine
from .rows import Row

SAME = 2e-3                 # relative difference of what two libraries compute
# Starts a worker without importing the package that this one may lie in, which could be fastnn.
BOOT = ("import sys, importlib; sys.path.insert(0, sys.argv[1]); "
        "worker = importlib.import_module(sys.argv[2] + '.worker'); del sys.path[0]; "
        "worker.main(sys.argv[3], int(sys.argv[4]), sys.argv[5] or None)")
HERE = Path(__file__).resolve().parent


class WorkerError(Exception):
    """The worker died, hung, or reports an error."""


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    threads: int = 2
    repeats: int = 15
    seconds: float = 0.02       # of one sample, about
    isa: str | None = None      # of fastnn and the roof
    timeout: float = 600        # for one answer: a compiler may need minutes


class Process:
    """A worker process; `ask` sends a request and waits for its answer."""

    def __init__(self, name: str, settings: Settings, tree: Path | None = None,
                 command: Sequence[str] | None = None) -> None:
        self.timeout = settings.timeout
        self.log = tempfile.TemporaryFile("w+", errors="replace")
        self.process = subprocess.Popen(
            command or [sys.executable, "-P", "-c", BOOT, str(HERE.parent), HERE.name, name,
                        str(settings.threads), str(tree or "")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1,
            env=machine.environment(settings.threads, settings.isa), start_new_session=True)
        machine.bind(self.process.pid, settings.threads)
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def answer(self) -> dict[str, Any]:
        """The next answer. WorkerError if there is none in time, or it is an error."""
        try:
            line = self.lines.get(timeout=self.timeout)
        except queue.Empty:
            self.process.kill()
            self.process.wait()
            raise WorkerError(f"no answer within {self.timeout:g} s") from None
        if not line:
            self.close()
            raise WorkerError(f"died with status {self.process.returncode}: {self.last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert self.process.stdin
        with suppress(OSError):         # it is dead: answer() says so
            self.process.stdin.write(json.dumps({"do": do} | arguments) + "\n")
        return self.answer()

    def last_words(self) -> str:
        self.log.seek(0)
        return " ".join(self.log.read()[-300:].split())

    def cpu_seconds(self) -> float:
        return machine.cpu_seconds(self.process.pid) or 0.0

    def settle(self) -> None:
        machine.settle(self.process.pid)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        """Let it end with its input, and make it end if it does not."""
        assert self.process.stdin
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Team:
    """One worker per library, started anew when it died; what they say of themselves."""

    def __init__(self, names: Sequence[str], start: Callable[[str], Any]) -> None:
        self.start = start
        self.workers = {name: start(name) for name in names}
        self.about: dict[str, dict[str, Any]] = {}
        self.missing: dict[str, str] = {}
        self.idle: dict[str, list[float]] = {}      # CPU seconds while another one worked, seconds
        for name in names:
            self._greet(name)

    def _greet(self, name: str) -> None:
        try:
            about = self.workers[name].answer()
        except WorkerError as e:
            about = {"missing": str(e)}
        if "missing" in about:
            self.workers.pop(name).close()
            self.missing[name] = about["missing"]
        else:
            self.about[name] = about
            self.idle.setdefault(name, [0.0, 0.0])

    def refresh(self) -> None:
        for name, worker in list(self.workers.items()):
            if not worker.alive:
                self.workers[name] = self.start(name)
                self._greet(name)

    def sample(self, name: str) -> float:
        """Seconds of one call, while the others should sleep: whether they do is noted."""
        others = {n: w for n, w in self.workers.items() if n != name and w.alive}
        before = {n: w.cpu_seconds() for n, w in others.items()}
        start = time.perf_counter()
        seconds = self.workers[name].ask("sample")["seconds"]
        wall = time.perf_counter() - start
        self.workers[name].settle()
        for n, w in others.items():
            self.idle[n][0] += w.cpu_seconds() - before[n]
            self.idle[n][1] += wall
        return seconds

    def idle_share(self) -> dict[str, float]:
        """Part of one CPU that each library uses while another one is measured."""
        return {n: round(cpu / wall, 4) if wall else 0.0 for n, (cpu, wall) in self.idle.items()}

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def build(team: Team, row: Row, seconds: float) -> dict[str, dict[str, Any]]:
    """Let every worker prepare the row: its result so far, by name."""
    team.refresh()
    results: dict[str, dict[str, Any]] = {}
    for name, worker in team.workers.items():
        try:
            answer = worker.ask("build", row=row.id, seconds=seconds)
            worker.settle()
            results[name] = answer if "absent" in answer else answer | {"samples": []}
        except WorkerError as e:
            results[name] = {"error": str(e)}
    return results


def disagreeing(row: Row, results: dict[str, dict[str, Any]], reference: str) -> None:
    """Turn the results of libraries that compute something else into errors."""
    expected = results.get(reference, {}).get("value")
    if not row.deterministic or expected is None:
        return
    for name, result in results.items():
        value = result.get("value")
        if value is not None and not math.isclose(value, expected, rel_tol=SAME):
            results[name] = {"error": f"computes {value:.6g}, {reference} {expected:.6g}"}


def measure(team: Team, row: Row, settings: Settings, reference: str,
            tick: Callable[[str], None] = lambda text: None) -> dict[str, dict[str, Any]]:
    """The row's result by library: samples in seconds per call, or why there are none.

    KeyboardInterrupt ends the sampling; its `args` are then the results so far.
    """
    tick("building")
    results: dict[str, dict[str, Any]] = {}
    try:
        results = build(team, row, settings.seconds)
        disagreeing(row, results, reference)
        names = [n for n, r in results.items() if "samples" in r]
        for i in range(settings.repeats):
            tick(f"{i + 1}/{settings.repeats}")
            names = [n for n in names[1:] + names[:1] if "samples" in results[n]]
            for name in names:
                try:
                    results[name]["samples"].append(team.sample(name))
                except WorkerError as e:
                    results[name] = {"error": str(e)}
        for name in names:
            if "samples" in results[name]:
                team.workers[name].ask("drop")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(results) from None
    return results
