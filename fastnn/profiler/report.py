"""Rows of a profile: per op and per module, and the table that they print as."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .roofs import Roofs, roofs

if TYPE_CHECKING:
    from . import Event, profile

NOWHERE = "(no module)"
BEYOND = 1.05       # of the roof: only a record that skipped work, or a slow moment of the probe
SORTS = ("time", "calls", "mean", "name", "flops", "bytes", "of_roof")


@dataclass
class Row:
    """What some records took together. Seconds, flops and bytes."""

    name: str
    calls: int = 0
    time: float = 0.0
    backward: float = 0.0           # of that time, in backward
    flops: float = 0.0
    nbytes: float = 0.0
    counted: float = 0.0            # time of the records whose flops are counted
    least: dict[str, float] = field(default_factory=dict)   # limit -> time at the roof

    def add(self, event: Event, roof: Roofs) -> None:
        """Take one more record in."""
        self.calls += 1
        self.time += event.time
        if event.phase == "backward":
            self.backward += event.time
        if event.flops is not None:
            self.flops += event.flops
            self.counted += event.time
        self.nbytes += event.nbytes
        least, limit = roof.limit(event.flops, event.nbytes, event.in_place)
        self.least[limit] = self.least.get(limit, 0.0) + least

    @property
    def mean(self) -> float:
        """Seconds per record."""
        return self.time / self.calls

    @property
    def flop_rate(self) -> float | None:
        """flops per second, where they are counted."""
        return self.flops / self.counted if self.counted else None

    @property
    def byte_rate(self) -> float:
        """Bytes per second."""
        return self.nbytes / self.time if self.time else 0.0

    @property
    def of_roof(self) -> float:
        """The time that this machine needs at its limits, as a part of the time taken."""
        return sum(self.least.values()) / self.time if self.time else 0.0

    @property
    def limit(self) -> str:
        """What most of that least time goes to: FMA, a cache, or DRAM."""
        return max(self.least, key=lambda limit: self.least[limit])


class Rows(list[Row]):
    """Rows, and the totals that belong to them; str() is the table."""

    def __init__(self, rows: Iterable[Row], kind: str, wall: float, busy: float, summed: float,
                 roof: Roofs) -> None:
        super().__init__(rows)
        self.kind = kind
        self.wall, self.busy, self.summed, self.roof = wall, busy, summed, roof

    def table(self, sort_by: str | None = None, row_limit: int | None = None) -> str:
        """The rows as text, largest first; None keeps their order. sort_by: see profile.table."""
        if sort_by is not None and sort_by not in SORTS:
            raise ValueError(f"table: sort_by: got {sort_by!r}; need one of {', '.join(SORTS)}")
        rows = list(self)
        if sort_by == "name":
            rows.sort(key=lambda r: r.name)
        elif sort_by is not None:
            rows.sort(key=lambda r: -getattr(r, {"bytes": "nbytes"}.get(sort_by, sort_by)))
        modules = self.kind == "module"
        head = [self.kind, "records" if modules else "calls", "time", "share"]
        head += ["forward", "backward"] if modules else ["mean"]
        head += ["GFLOP/s", "GB/s", "of roof", ""]
        cells = [self._cells(r) for r in rows[:row_limit]]
        dropped = len(rows) - len(cells)
        cells += [["", *[""] * (len(head) - 1)]] if not rows else []
        total = [
            ["in kernels", "", _time(self.busy), _share(self.busy, self.wall)],
            ["outside", "", _time(self.wall - self.busy), _share(self.wall - self.busy, self.wall)],
            ["wall", "", _time(self.wall), ""],
        ]
        total = [t + [""] * (len(head) - len(t)) for t in total]
        widths = [max(len(line[i]) for line in [head, *cells, *total]) for i in range(len(head))]
        rule = "-" * (sum(widths) + 2 * len(widths) - 2)
        lines = [_line(head, widths), rule, *(_line(c, widths) for c in cells)]
        if dropped:
            lines.append(f"... and {dropped} more")
        lines += [rule, *(_line(t, widths) for t in total), str(self.roof)]
        if self.summed > 1.001 * self.busy:
            lines.append(f"kernels of several Python threads: {_time(self.summed)} together")
        return "\n".join(lines)

    def _cells(self, r: Row) -> list[str]:
        cells = [r.name, str(r.calls), _time(r.time), _share(r.time, self.wall)]
        if self.kind == "module":
            both = r.name != "optimizer"
            cells += [_time(r.time - r.backward) if both else "",
                      _time(r.backward) if both else ""]
        else:
            cells.append(_time(r.mean))
        rate = r.flop_rate
        return [*cells, "" if rate is None else f"{rate / 1e9:.1f}", f"{r.byte_rate / 1e9:.1f}",
                f"{r.of_roof:.0%}" if r.of_roof <= BEYOND else ">100%", r.limit]

    def __str__(self) -> str:
        return self.table("time" if self.kind == "op" else None)

    __repr__ = __str__


def _line(cells: list[str], widths: list[int]) -> str:
    parts = [f"{c:<{w}}" if i in (0, len(cells) - 1) else f"{c:>{w}}"
             for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
    return "  ".join(parts).rstrip()


def _time(seconds: float) -> str:
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}" if seconds < 1000 * scale else f"{seconds:.0f} s"
    return f"{seconds * 1e9:.0f} ns"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else ""


def by_op(p: profile) -> Rows:
    """A row for each op, forward and backward apart."""
    rows: dict[str, Row] = {}
    roof = roofs()
    for e in p.events:
        name = e.op if e.phase == "forward" else f"{e.op} backward"
        rows.setdefault(name, Row(name)).add(e, roof)
    return _with_totals(p, rows.values(), "op", roof)


def by_module(p: profile) -> Rows:
    """A row for each module and those around it, in the order in which they first ran."""
    rows: dict[str, Row] = {}
    roof = roofs()
    for e in p.events:
        for path in ways(e.module) or [NOWHERE]:
            rows.setdefault(path, Row(path)).add(e, roof)
    return _with_totals(p, rows.values(), "module", roof)


def ways(module: str) -> list[str]:
    """A module's path and those around it, outermost first: Net, Net.layer1, Net.layer1.fc."""
    steps = module.split(".") if module else []
    return [".".join(steps[: i + 1]) for i in range(len(steps))]


def _with_totals(p: profile, rows: Iterable[Row], kind: str, roof: Roofs) -> Rows:
    return Rows(rows, kind, p.wall, busy_seconds(p.events), sum(e.time for e in p.events), roof)


def busy_seconds(events: Iterable[Event]) -> float:
    """The time in which at least one record ran."""
    busy = end = 0.0
    for e in sorted(events, key=lambda e: e.begin):
        busy += max(0.0, e.begin + e.time - max(e.begin, end))
        end = max(end, e.begin + e.time)
    return busy
