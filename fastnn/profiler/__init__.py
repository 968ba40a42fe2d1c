"""``fastnn.profile``: what each op and module costs, and how near it comes to the machine's roof.

A profile notes when every record began and ended: eager, in backward, in optimizer steps, in
replays of compiled functions, in every Python thread, and with the NumPy backend. Time between
records is Python, dispatch and the start of thread teams; it has a row of its own.
"""

from __future__ import annotations

from os import PathLike
from typing import Any, NamedTuple

from .. import _core
from .report import Rows, by_module, by_op

__all__ = ["Event", "profile"]


class Event(NamedTuple):
    """One record. Times are in seconds, ``begin`` counts from the start of the profile.

    flops are those of the record's arithmetic, None where time is not arithmetic (exp, comparisons,
    copies); nbytes is what it reads and writes at least. Both are estimates for backward.
    ``shapes`` are those of the inputs, if they were asked for.
    """

    op: str
    phase: str                      # "forward", "backward"
    module: str                     # "Net.layer1.fc"; "optimizer"; "" outside modules
    thread: int                     # number in profile.threads
    begin: float
    time: float
    flops: float | None
    nbytes: float
    replayed: bool
    in_place: bool                  # it writes where it reads
    shapes: tuple[tuple[int, ...], ...] | None
    live_bytes: int | None          # of all tensors afterwards, if looked at


class Span(NamedTuple):
    """A call of a module, or "backward", "optimizer", "replay". Seconds."""

    name: str
    is_module: bool
    thread: int
    begin: float
    time: float


class _Names:
    """Paths whose roots are numbered among those of this profile, not among all that are alive."""

    def __init__(self, paths: list[str]) -> None:
        self.roots: dict[str, str] = {}
        seen: dict[str, int] = {}
        for path in paths:
            root = path.partition(".")[0]
            if root not in self.roots:
                kind = root.partition("(")[0]
                seen[kind] = seen.get(kind, 0) + 1
                self.roots[root] = kind if seen[kind] == 1 else f"{kind}({seen[kind]})"

    def __call__(self, path: str) -> str:
        root, dot, rest = path.partition(".")
        return self.roots.get(root, root) + dot + rest


# Ops whose flops in ops.def are multiply-adds that the result needs. The flops of others are a
# measure of time, and would say nothing beside this machine's peak.
ARITHMETIC = frozenset(op for op in _core.OPS if _core.op_info(op)["computes"])


class profile:
    """Measure what runs inside a ``with`` block, in all threads.

    record_shapes: keep the shapes of inputs of eager records. One profile at a time.

    Errors: RuntimeError inside another profile, and for results asked for before the end.

    Example:
        >>> import fastnn
        >>> x = fastnn.ones(64, 64)
        >>> with fastnn.profile() as prof:
        ...     y = (x @ x).relu()
        >>> [e.op for e in prof.events]
        ['matmul', 'relu']
        >>> prof.events[0].flops == 2 * 64 ** 3
        True
    """

    def __init__(self, *, record_shapes: bool = False) -> None:
        self.record_shapes = record_shapes
        self._core: Any = None
        self._results: tuple[list[Event], list[Span]] | None = None
        self._running = False

    def __enter__(self) -> profile:
        self._core = _core.start_profile(self.record_shapes)
        self._results, self._running = None, True
        return self

    def __exit__(self, *exception: Any) -> None:
        _core.stop_profile()
        self._running = False
        self.num_threads, self.isa = _core.get_num_threads(), _core.isa()

    def _read(self) -> tuple[list[Event], list[Span]]:
        if self._core is None or self._running:
            raise RuntimeError("profile: got a question before the end; need the with block over")
        if self._results is None:
            records, calls = self._core.records(), self._core.calls()
            name = _Names([r[4] for r in records] + [c[0] for c in calls if c[1]])
            events = [
                Event(op, "backward" if backward else "forward", name(module), thread,
                      *self._seconds(begin, end), flops if op in ARITHMETIC else None, nbytes,
                      replayed, in_place, shapes, live if live >= 0 else None)
                for (op, backward, replayed, in_place, module, thread, begin, end, flops, nbytes,
                     shapes, live) in records
            ]
            spans = [Span(name(call), is_module, thread, *self._seconds(begin, end))
                     for call, is_module, thread, begin, end in calls]
            self._results = events, spans
        return self._results

    def _seconds(self, begin: float, end: float) -> tuple[float, float]:
        """When it began, and how long it took, in whole nanoseconds."""
        first, last = round(begin - self._core.begin), round(end - self._core.begin)
        return first * 1e-9, (last - first) * 1e-9

    @property
    def events(self) -> list[Event]:
        """Every record, in the order of their ends."""
        return self._read()[0]

    @property
    def spans(self) -> list[Span]:
        """Calls of modules, backward passes, optimizer steps and replays; ordered by their ends."""
        return self._read()[1]

    @property
    def threads(self) -> list[tuple[int, str]]:
        """(identifier of the system, name) of each Python thread that ran something."""
        self._read()
        return list(self._core.threads)

    @property
    def wall(self) -> float:
        """Seconds from the begin of the block to its end."""
        self._read()
        return (self._core.end - self._core.begin) * 1e-9

    def by_op(self) -> Rows:
        """A row for each op, forward and backward apart; printing it prints the table."""
        return by_op(self)

    key_averages = by_op            # torch's name

    def by_module(self) -> Rows:
        """A row for each module, with what ran in the modules below it."""
        return by_module(self)

    def table(self, sort_by: str = "time", row_limit: int | None = None) -> str:
        """by_op() as text; sort_by: time, calls, mean, name, flops, bytes or of_roof."""
        return self.by_op().table(sort_by, row_limit)

    def export_chrome_trace(self, path: str | PathLike[str]) -> None:
        """Write a JSON file that https://ui.perfetto.dev and chrome://tracing open."""
        from .trace import write

        write(self, path)

    def roofline(self, path: str | PathLike[str]) -> None:
        """Draw every op beside the limits of this machine, into a PNG.

        Errors: ModuleNotFoundError without matplotlib, which says how to install it.
        """
        from .roofline import draw

        draw(self, path)

    def __repr__(self) -> str:
        if self._core is None or self._running:
            return "profile(not over)"
        return f"profile({len(self.events)} records, {self.wall:.6f} s)"
