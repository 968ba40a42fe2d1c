"""The machine as a library: how long a row's flops or bytes take in loops that do nothing else.

The roof takes its turn among the libraries, so that it is measured in the same minute as they are,
on the same instruction set as fastnn, with the same number of threads.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from ..rows import Row
from . import Job

FMA_ITERATIONS = 200_000                # about a millisecond
STREAM_BYTES = 64 << 20                 # traffic of one call, at least
TRAFFIC = {"read": 4, "triad": 4, "update": 7}      # bytes per element: csrc/roof.h


class Roof:
    def __init__(self, threads: int) -> None:
        import fastnn

        fastnn.set_num_threads(threads)
        self.t, self.probe = fastnn, fastnn._core.roof
        self.about = {"versions": {}, "settings": f"register FMA and streams, {fastnn._core.isa()}"}

    def build(self, row: Row) -> Job | None:
        """The slower of the row's arithmetic and its traffic, each at full speed."""
        jobs = []
        if row.flops:
            jobs.append(self.job("fma", row.flops, self.t.empty(0), FMA_ITERATIONS, 1))
        if row.bytes:
            n = int(row.bytes / TRAFFIC[row.stream])
            repeats = 1 + int(STREAM_BYTES / row.bytes)
            jobs.append(self.job(row.stream, row.bytes, self.t.zeros(n), n, repeats))
        return max(jobs, key=seconds, default=None)

    def job(self, kind: str, work: float, *arguments: Any) -> Job:
        def run() -> float:
            return self.probe(kind, *arguments)

        return Job(run, None, scale=work / run(), note=kind)


def seconds(job: Job) -> float:
    start = perf_counter()
    job.run()
    return (perf_counter() - start) * job.scale
