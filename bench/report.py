"""Ratios, and the table that shows them, from the JSON of a run."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from .peers import EAGER, EXACT, NOT_PEERS, OURS, ROOF


def merged(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Runs of different rows as one. ValueError unless the same version ran in the same way."""
    first = results[0]
    for other in results[1:]:
        for key in ("commit", "threads", "repeats", "machine", "libraries", "missing"):
            a, b = ({k: v for k, v in r[key].items() if k != "load"} if key == "machine" else r[key]
                    for r in (first, other))
            if a != b:
                raise ValueError(f"report: {key}: got {a} and {b}; need the same in all files")
    return first | {"rows": [row for r in results for row in r["rows"]],
                    "interrupted": any(r.get("interrupted") for r in results)}


@dataclass(frozen=True)
class Line:
    """What one row came to. Times are seconds per call, medians; None: not measured."""

    id: str
    what: str
    group: str
    goal: float | None
    times: dict[str, float]             # by library, fastnn and the roof too
    spread: dict[str, float]            # interquartile range ÷ median
    errors: dict[str, str]
    flops: float
    bytes: float
    limit: str                          # fma, read, triad or update

    @property
    def ours(self) -> float | None:
        return self.times.get(OURS)

    @property
    def best(self) -> str | None:
        """The fastest peer."""
        peers = {n: t for n, t in self.times.items() if n not in NOT_PEERS}
        return min(peers, key=lambda n: peers[n], default=None)

    @property
    def ratio(self) -> float | None:
        """Best peer ÷ ours."""
        if self.ours is None or self.best is None:
            return None
        return self.times[self.best] / self.ours

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal or a ratio."""
        return None if self.goal is None or self.ratio is None else self.ratio >= self.goal

    @property
    def reachable(self) -> float | None:
        """The ratio at the roof: no program can have a higher one."""
        if self.best is None or ROOF not in self.times:
            return None
        return self.times[self.best] / self.times[ROOF]

    @property
    def of_roof(self) -> float | None:
        if self.ours is None or ROOF not in self.times:
            return None
        return self.times[ROOF] / self.ours

    @property
    def rate(self) -> str:
        """GFLOP/s of a compute row, GB/s of one that memory limits."""
        if self.ours is None or not self.limit:
            return ""
        if self.limit == "fma":
            return f"{self.flops / self.ours * 1e-9:.0f} GFLOP/s"
        return f"{self.bytes / self.ours * 1e-9:.0f} GB/s"


def spread(samples: list[float]) -> float:
    """Interquartile range ÷ median."""
    if len(samples) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return (high - low) / middle


def lines(result: dict[str, Any]) -> list[Line]:
    """One Line per measured row."""
    found = []
    for row in result["rows"]:
        samples = {n: r["samples"] for n, r in row["results"].items() if r.get("samples")}
        found.append(Line(
            **{key: row[key] for key in ("id", "what", "group", "goal", "flops", "bytes")},
            times={n: statistics.median(s) for n, s in samples.items()},
            spread={n: spread(s) for n, s in samples.items()},
            errors={n: r["error"] for n, r in row["results"].items() if "error" in r},
            limit=row["results"].get(ROOF, {}).get("note", "")))
    return found


def duration(seconds: float | None) -> str:
    """Three digits and a unit."""
    if seconds is None:
        return "–"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 999.5 * size else \
                f"{seconds / size:.0f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def verdict(line: Line) -> str:
    """Whether the goal is met; where the roof forbids it, the ratio that the roof allows."""
    if line.met is not False:
        return "met" if line.met else ""
    if line.goal and line.reachable and line.reachable < line.goal:
        return f"MISSED, roof: {line.reachable:.2f}"
    return "MISSED"


def cells(line: Line, peers: list[str]) -> list[str]:
    """One row of the table."""
    def time_of(name: str) -> str:
        return "error" if name in line.errors else duration(line.times.get(name))

    def of_ours(name: str) -> str:
        return time_of(name) if name in line.times or name in line.errors else ""

    ratio, roof = line.ratio, line.of_roof
    return [line.id, time_of(OURS),
            f"{line.spread[OURS]:.0%}" if OURS in line.spread else "",
            of_ours(EAGER), of_ours(EXACT),
            *(time_of(p) for p in peers),
            "" if ratio is None else f"{ratio:.2f}",
            "" if line.goal is None else f"{line.goal:g}", verdict(line), line.rate,
            "" if roof is None else f"{roof:.0%} {line.limit}"]


def header(peers: list[str]) -> list[str]:
    return ["row", OURS, "IQR", "eager", "exact", *peers,
            "best÷ours", "goal", "", "rate", "of roof"]


def peers_in(result: dict[str, Any]) -> list[str]:
    return [n for n in result["libraries"] if n not in NOT_PEERS]


def score(result: dict[str, Any]) -> str:
    """How many goals are met, and what makes that count incomplete."""
    with_goal = [line for line in lines(result) if line.goal is not None]
    unjudged = sum(line.met is None for line in with_goal)
    return (f"{sum(line.met or False for line in with_goal)} of {len(with_goal)} goals met"
            + (f", {unjudged} of them not measured" if unjudged else "")
            + (f", {len(result['missing'])} libraries skipped" if result["missing"] else "")
            + (", INTERRUPTED" if result.get("interrupted") else ""))


def notes(result: dict[str, Any]) -> list[str]:
    """What the table does not say: machine, missing libraries, errors, goals, idle workers."""
    found = lines(result)
    machine = result["machine"]
    said = [f"{machine['cpu']}, {result['threads']} threads, fastnn "
            f"{result['commit'] or ''}, {result['repeats']} repeats, medians; {machine['system']}"]
    for name, about in result["libraries"].items():
        versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
        said.append(f"{name}: {'; '.join(filter(None, (versions, about.get('settings', ''))))}")
    said += [f"{n}: SKIPPED, {why}" for n, why in result["missing"].items()]
    said += [f"{line.id}: {n}: ERROR, {why}" for line in found for n, why in line.errors.items()]
    said += [f"{n}: used {share:.0%} of a CPU while others were measured"
             for n, share in result.get("idle", {}).items() if share > 0.02]
    compiling = {n: [r["results"][n]["first"] for r in result["rows"]
                     if "first" in r["results"].get(n, {})] for n in result["libraries"]}
    said.append("longest first call (building and compiling): " + ", ".join(
        f"{n} {duration(max(t))}" for n, t in compiling.items() if t and n != ROOF))
    said.append(score(result))
    with_torch = [(line, min(t for n, t in line.times.items() if n.startswith("torch")))
                  for line in found if line.goal and line.ours
                  and any(n.startswith("torch") for n in line.times)]
    said.append(f"against torch alone, eager or compiled: "
                f"{sum(t / line.ours >= line.goal for line, t in with_torch)} of "
                f"{len(with_torch)}")
    return said


def markdown(result: dict[str, Any]) -> str:
    """The table and its notes, for a page."""
    peers = peers_in(result)
    head, found = header(peers), lines(result)
    table = [head, ["---", *["---:"] * (len(head) - 1)], *(cells(line, peers) for line in found)]
    return "\n".join([*("| " + " | ".join(row) + " |" for row in table), "",
                      *(f"- {text}" for text in notes(result))])


def print_table(result: dict[str, Any]) -> None:
    """With rich where it is installed, in plain columns otherwise."""
    peers = peers_in(result)
    head, found = header(peers), lines(result)
    body = [cells(line, peers) for line in found]
    try:
        from rich.console import Console
        from rich.table import Table
    except ModuleNotFoundError:
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        for row in [head, *body]:
            print("  ".join(c.ljust(w) if i == 0 else c.rjust(w)
                            for i, (c, w) in enumerate(zip(row, widths, strict=True))))
        print(*notes(result), sep="\n")
        return
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for line, row in zip(found, body, strict=True):
        table.add_row(*row, style={None: "", True: "green", False: "red"}[line.met])
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, 40 + sum(map(len, head)) + 9 * len(head))
    console.print(table)
    for text in notes(result):
        console.print(text, markup=False)
