"""The result of a run as a picture: one bar per row, as long as fastnn is faster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .report import Line, duration, lines, peers_in, score

MET, MISSED, FREE, SLOWER = "#2a9d55", "#d1495b", "#7d9cc0", "#e0a458"
TITLES = {"training": "training steps", "inference": "inference", "kernels": "kernels"}


def color(line: Line) -> str:
    """By the goal where there is one, else by who is faster."""
    assert line.ratio is not None
    if line.met is None:
        return FREE if line.ratio >= 1 else SLOWER
    return MET if line.met else MISSED


def label(line: Line) -> str:
    """The ratio, and who takes how long."""
    assert line.best and line.ratio is not None
    return (f"{line.ratio:.2f}×   {duration(line.ours)} against {duration(line.times[line.best])} "
            f"of {line.best}")


def draw(result: dict[str, Any], path: Path) -> str:
    """Write the PNG; returns its path, or why there is none."""
    found = [line for line in lines(result) if line.ratio is not None]
    if not found:
        return "none: no row has a peer"
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch
    except ModuleNotFoundError:
        return 'none: pip install "fastnn-engine[plot]"'
    groups = [g for g in TITLES if any(line.group == g for line in found)]
    figure = Figure(figsize=(11, 1.9 + 0.27 * len(found) + 0.45 * len(groups)), dpi=110,
                    layout="constrained")
    FigureCanvasAgg(figure)
    counts = [sum(line.group == g for line in found) for g in groups]
    axes = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=counts)[:, 0]
    for group, axis in zip(groups, axes, strict=True):
        bars(axis, [line for line in found if line.group == group])
        axis.set_title(TITLES[group], loc="left", fontsize=10, weight="bold")
    ratios = [line.ratio for line in found] + [line.goal for line in found if line.goal]
    axes[-1].set_xlim(min(0.5, *ratios) * 0.9, max(2.0, *ratios) * 5)
    axes[-1].set_xlabel("← peer faster      fastnn faster →\n"
                         "time of the fastest peer ÷ time of fastnn")
    peers = ", ".join(peers_in(result))
    figure.suptitle(f"fastnn against the fastest of {peers}: {score(result)}\n"
                    f"{result['machine']['cpu']}, {result['threads']} threads, "
                    f"{result['started'][:10]}, fastnn {result['commit'] or ''}", fontsize=10)
    keys: list[Any] = [Patch(color=MET, label="goal met"), Patch(color=MISSED, label="goal missed")]
    if any(line.goal is None for line in found):
        keys += [Patch(color=FREE, label="no goal, faster"),
                 Patch(color=SLOWER, label="no goal, slower")]
    keys.append(Line2D([], [], color="black", marker="|", linestyle="", markersize=11,
                       markeredgewidth=2, label="goal"))
    figure.legend(handles=keys, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    figure.savefig(path)
    return str(path)


def bars(axis: Any, found: list[Line]) -> None:
    """One group, first row on top; every bar starts where fastnn and the peer are equal."""
    places = range(len(found))
    axis.barh(places, [line.ratio - 1 for line in found], left=1, height=0.72,
              color=[color(line) for line in found])
    axis.set_yticks(places, [line.id for line in found], fontsize=9)
    axis.invert_yaxis()
    axis.set_xscale("log")
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16, 32]
    axis.set_xticks(ticks, [f"{t:g}×" for t in ticks])
    axis.minorticks_off()
    axis.axvline(1, color="black", linewidth=1)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", alpha=0.25)
    axis.set_axisbelow(True)
    for i, line in enumerate(found):
        if line.goal is not None:
            axis.plot([line.goal] * 2, [i - 0.42, i + 0.42], color="black", linewidth=2)
        axis.annotate(label(line), (max(line.ratio, line.goal or 1, 1), i), xytext=(6, 0),
                      textcoords="offset points", va="center", fontsize=8)
