"""A process that holds one library and times it on request.

Requests and answers are lines of JSON on standard input and output:

    (start)                         {"versions": {...}, "settings": "..."} or {"missing": "..."}
    {"do": "build", "row": id,      {"first": s, "value": v, "calls": n, "note": ""}: the first call
     "seconds": s}                  takes `first`, a sample of about s seconds takes n calls;
                                    or {"absent": true}
    {"do": "sample"}                {"seconds": of one call}
    {"do": "drop"}                  {}

Any may be answered by {"error": "..."} instead. The process ends with its input.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from itertools import repeat
from time import perf_counter
from typing import Any

from . import peers
from .rows import ROWS, Row

FIRST_WARM_SECONDS = 0.05   # after the first call, before counting how many calls make a sample
WARM_SECONDS = 0.006        # before a sample: others have had the caches, the threads slept


def timed(run: Any, calls: int) -> float:
    """Seconds that this many calls take."""
    start = perf_counter()
    for _ in repeat(None, calls):
        run()
    return perf_counter() - start


def calls_for(run: Any, seconds: float) -> int:
    """How many calls take about so long, once they have warmed up."""
    calls, spent = 1, 0.0
    while True:
        taken = timed(run, calls)
        spent += taken
        if taken >= seconds / 4 and spent >= FIRST_WARM_SECONDS:
            return max(1, round(calls * seconds / taken))
        if taken < seconds / 4:
            calls *= 2


class Worker:
    """Answers requests about one adapter."""

    def __init__(self, adapter: Any, rows: list[Row]) -> None:
        self.adapter, self.rows = adapter, {r.id: r for r in rows}
        self.job: peers.Job | None = None
        self.calls = 0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        arguments = dict(request)
        return getattr(self, f"do_{arguments.pop('do')}")(**arguments)

    def do_build(self, row: str, seconds: float) -> dict[str, Any]:
        self.do_drop()
        start = perf_counter()
        self.job = self.adapter.build(self.rows[row])
        if self.job is None:
            return {"absent": True}
        job = self.job
        with job.context:
            out = job.run()
            first = perf_counter() - start
            value = None if job.value is None else job.value(out)
            self.calls = calls_for(job.run, seconds)
        return {"first": first, "value": value, "calls": self.calls, "note": job.note}

    def do_sample(self) -> dict[str, Any]:
        assert self.job is not None
        with self.job.context:
            warm = 0.0
            while warm < WARM_SECONDS:
                warm += timed(self.job.run, 1 + self.calls // 8)
            return {"seconds": timed(self.job.run, self.calls) / self.calls * self.job.scale}

    def do_drop(self) -> dict[str, Any]:
        self.job = None
        gc.collect()
        return {}


def main(name: str, threads: int, tree: str | None = None) -> None:
    """Serve until the input ends. tree: where to import fastnn from."""
    if tree:
        sys.path.insert(0, tree)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)                   # whatever a library prints must not look like an answer

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")

    try:
        adapter = peers.load(name, threads)
    except ModuleNotFoundError as e:
        return say({"missing": f"no module {e.name}"})
    gc.disable()
    say(adapter.about)
    worker = Worker(adapter, ROWS)
    for line in sys.stdin:
        try:
            say(worker.answer(json.loads(line)))
        except Exception as e:
            worker.do_drop()
            say({"error": f"{type(e).__name__}: {e}".splitlines()[0][:300]})
