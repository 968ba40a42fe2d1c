"""Whether one version of fastnn is slower than another: ``python -m bench compare OLD NEW``.

Two workers take turns, so that the machine's ups and downs drop out of the ratio of neighbouring
samples. A row is slower when the confidence interval of the median ratio lies beyond the limit, and
does so again in fresh processes, whose memory lies elsewhere.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

from .report import duration
from .rows import Row
from .runner import Settings, Team, WorkerError, measure

OLD, NEW = "old", "new"
LIMIT = 1.05            # new ÷ old beyond this is a regression
CONFIDENCE = 0.99
MOST = 90               # pairs of samples for a doubtful row
ATTEMPTS = 2            # pairs of processes that must agree that a row is slower


def interval(ratios: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Confidence interval of the median, from order statistics: no assumption on the noise."""
    ordered, n = sorted(ratios), len(ratios)
    cut, tail = 0, 0.0
    while (tail := tail + comb(n, cut) / 2**n) <= (1 - confidence) / 2:
        cut += 1
    return (ordered[cut - 1], ordered[n - cut]) if cut else (0.0, float("inf"))


def judge(ratios: Sequence[float], limit: float = LIMIT) -> str:
    """"slower", "ok", or "doubtful": the interval contains the limit."""
    low, high = interval(ratios)
    return "slower" if low > limit else "ok" if high <= limit else "doubtful"


@dataclass(frozen=True)
class Comparison:
    """What became of one row."""

    row: Row
    ratios: list[float]             # new ÷ old
    times: tuple[float, float]      # medians
    verdict: str                    # ok, slower, error or skipped: the old one has no such row
    why: str = ""

    @property
    def failed(self) -> bool:
        return self.verdict in ("slower", "error")


def compare_row(start: Callable[[str], Any], row: Row, settings: Settings, limit: float = LIMIT,
                tick: Callable[[str], None] = lambda text: None) -> Comparison:
    """Sample both until the row is decided; start(OLD), start(NEW) make worker processes."""
    for _ in range(ATTEMPTS):
        samples: dict[str, list[float]] = {OLD: [], NEW: []}
        verdict = "doubtful"
        ratios: list[float] = []
        with Team([OLD, NEW], start) as team:
            if team.missing:
                raise WorkerError("; ".join(f"{n}: {why}" for n, why in team.missing.items()))
            while verdict == "doubtful" and len(ratios) < MOST:
                results = measure(team, row, settings, OLD, tick)
                for name, result in results.items():
                    if "error" in result:
                        kind = "skipped" if name == OLD else "error"
                        return Comparison(row, [], (0, 0), kind, f"{name}: {result['error']}")
                    samples[name] += result["samples"]
                ratios = [b / a for a, b in zip(samples[OLD], samples[NEW], strict=True)]
                verdict = judge(ratios, limit)
        if verdict == "doubtful":
            verdict = "slower" if statistics.median(ratios) > limit else "ok"
        if verdict == "ok":
            break
    times = statistics.median(samples[OLD]), statistics.median(samples[NEW])
    return Comparison(row, ratios, times, verdict)


def describe(c: Comparison) -> str:
    """One line of the table."""
    if not c.ratios:
        return f"{c.row.id:24} {c.verdict.upper()}: {c.why}"
    low, high = interval(c.ratios)
    old, new = (duration(t) for t in c.times)
    return (f"{c.row.id:24} {old:>9} {new:>9}  {statistics.median(c.ratios):6.3f}  "
            f"[{low:.3f}, {high:.3f}]  {len(c.ratios):3}  "
            f"{'SLOWER' if c.verdict == 'slower' else c.verdict}")


def header(limit: float = LIMIT) -> str:
    return (f"{'row':24} {OLD:>9} {NEW:>9}  {'new÷old':>6} {CONFIDENCE:.0%} interval   pairs  "
            f"beyond {limit:g}?")


@contextmanager
def built(version: str, repository: Path) -> Iterator[Path]:
    """A tree with this version compiled: the folder of that name, or a commit in a worktree.

    Errors: ValueError for neither a compiled tree nor a commit that builds.
    """
    if (folder := Path(version)).is_dir():
        if not list((folder / "fastnn").glob("_core.*.so")):
            raise ValueError(f"{version}: got a folder without a compiled fastnn; run "
                             "python setup.py build_ext --inplace there")
        yield folder.resolve()
        return
    git = ["git", "-C", str(repository)]
    with tempfile.TemporaryDirectory(prefix="fastnn-compare-") as scratch:
        tree = Path(scratch) / "tree"
        try:
            run([*git, "worktree", "add", "--detach", str(tree), version])
            try:
                run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=tree)
                yield tree
            finally:
                run([*git, "worktree", "remove", "--force", str(tree)])
        except subprocess.CalledProcessError as e:
            last = (e.stderr.strip().splitlines() or ["no message"])[-1]
            raise ValueError(f"{version}: {' '.join(map(str, e.cmd))}: {last}") from None


def run(command: list[str], cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
