"""A profile as a Chrome trace: JSON that Perfetto and chrome://tracing open.

Format: "Trace Event Format", Google, 2016. Complete events ("X") lie one inside the other: modules
around their records, backward and replay around theirs. Times are microseconds.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Iterator
from os import PathLike
from typing import TYPE_CHECKING, Any

from .report import ways

if TYPE_CHECKING:
    from . import Event, profile


def write(p: profile, path: str | PathLike[str]) -> None:
    """Write the trace of a profile."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"traceEvents": list(_events(p)), "displayTimeUnit": "ns"}, file)


def _events(p: profile) -> Iterator[dict[str, Any]]:
    pid = os.getpid()
    yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": "fastnn"}}
    for i, (native, name) in enumerate(p.threads):      # the system's numbers are used again
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": i + 1,
               "args": {"name": f"{name} ({native})"}}
    for s in sorted(p.spans, key=lambda s: (s.begin, -s.time)):
        kind = "module" if s.is_module else "engine"
        yield _complete(s.name, kind, s.begin, s.time, pid, s.thread + 1, {})
    for name, begin, time, thread in _modules_of_lists(p):
        yield _complete(name, "module", begin, time, pid, thread + 1, {})
    for e in p.events:
        name = e.op if e.phase == "forward" else f"{e.op} backward"
        yield _complete(name, e.phase, e.begin, e.time, pid, e.thread + 1, _arguments(e))
        if e.live_bytes is not None:
            yield {"ph": "C", "name": "tensor memory", "pid": pid, "ts": _us(e.begin + e.time),
                   "args": {"MB": e.live_bytes / 1e6}}


def _complete(name: str, kind: str, begin: float, time: float, pid: int, tid: int,
              arguments: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "X", "name": name, "cat": kind, "ts": _us(begin), "dur": _us(time), "pid": pid,
            "tid": tid, "args": arguments}


def _us(seconds: float) -> float:
    """Microseconds, exact to the nanosecond: or an end may come after that of what is around it."""
    return round(seconds * 1e9) / 1e3


def _arguments(e: Event) -> dict[str, Any]:
    """What Perfetto shows of a record that is clicked on."""
    about: dict[str, Any] = {"module": e.module, "bytes": e.nbytes, "replayed": e.replayed}
    if e.time:
        about["GB/s"] = e.nbytes / e.time / 1e9
    if e.flops is not None:
        about["flops"] = e.flops
        if e.time:
            about["GFLOP/s"] = e.flops / e.time / 1e9
    if e.shapes is not None:
        about["shapes"] = e.shapes
    return about


def _modules_of_lists(p: profile) -> Iterator[tuple[str, float, float, int]]:
    """(name, begin, time, thread) of modules in backward passes and replays.

    No module is called there: neighbouring records of a module stand for it.
    """
    for thread in range(len(p.threads)):
        starts = sorted(s.begin for s in p.spans if s.thread == thread and not s.is_module
                        and s.name in ("backward", "replay"))
        members: dict[int, list[Event]] = {}
        for e in p.events:
            if e.thread == thread and (e.replayed or e.phase == "backward"):
                members.setdefault(bisect_right(starts, e.begin) - 1, []).append(e)
        for inside in members.values():
            for name, begin, time in _module_spans(inside):
                yield name, begin, time, thread


def _module_spans(events: list[Event]) -> Iterator[tuple[str, float, float]]:
    """Each stretch of neighbouring records below the same module, outer modules first."""
    open_: list[tuple[str, float]] = []
    end = 0.0
    for e in [*events, None]:
        back = " backward" if e is not None and e.phase == "backward" else ""
        around = [w + back for w in ways(e.module)] if e is not None else []
        same = 0
        while same < min(len(open_), len(around)) and open_[same][0] == around[same]:
            same += 1
        yield from ((name, begin, end - begin) for name, begin in open_[same:])
        if e is not None:
            open_ = open_[:same] + [(name, e.begin) for name in around[same:]]
            end = e.begin + e.time
