"""A profile as a picture: each op beside the limits of this machine.

Left, what computes: flops per second over flops per byte, below the roofs of arithmetic and of each
memory (Williams et al., Roofline, 2009). Right, everything else, which has no flops to count: bytes
per second over the bytes touched, below the measured speed of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import atan2, cos, degrees, pi, sin
from os import PathLike
from typing import TYPE_CHECKING, Any

from .._startup import cpu_name
from .report import Row, Rows
from .roofs import LARGEST, Roofs

if TYPE_CHECKING:
    from . import profile

FORWARD, BACKWARD, LIMIT = "#4c72b0", "#dd8452", "#555555"
LABELLED = 0.004                # share of the time from which an op has its name beside it
LABELS = 14                     # of one half, at most


@dataclass
class Dot:
    """One op: where, and how much of all time it took."""

    x: float
    y: float
    share: float
    name: str
    backward: bool

    @property
    def area(self) -> float:
        """In square points."""
        return 25 + 900 * self.share


def draw(p: profile, path: str | PathLike[str]) -> None:
    """Write the picture of a profile to a PNG."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'roofline: pictures need matplotlib: pip install "fastnn-engine[plot]"') from None
    rows = p.by_op()
    figure = Figure(figsize=(12, 5.2), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    some, others = _draw_arithmetic(left, rows), _draw_memory(right, rows)
    figure.suptitle(f"{cpu_name()} · {rows.roof.threads} threads · {rows.roof.isa}", fontsize=12)
    canvas.draw()                           # from here on, positions in pixels are final
    _name_slopes(left, rows.roof)
    for axis, dots in ((left, some), (right, others)):
        _name_dots(axis, dots, canvas.get_renderer())
    figure.savefig(path)


def _draw_arithmetic(axis: Any, rows: Rows) -> list[Dot]:
    dots = _dots(rows, lambda r: r.flop_rate is not None,
                 lambda r: (r.flops / r.nbytes, r.flops / r.counted / 1e9))
    peak = rows.roof.flops / 1e9
    low = min([0.1] + [d.x / 3 for d in dots])
    high = max([300.0] + [d.x * 5 for d in dots])
    bottom = min([peak / 100] + [d.y / 3 for d in dots])
    axis.plot([low, high], [peak, peak], color=LIMIT, lw=1.5)
    axis.annotate(f"FMA {peak:.0f} GFLOP/s", (high, peak), (-4, 4), ha="right", fontsize=8,
                  textcoords="offset points", color=LIMIT)
    for _, rate in _memories(rows.roof):
        axis.plot([low, peak / rate], [low * rate, peak], color=LIMIT, lw=1)
    for color, label in ((FORWARD, "forward"), (BACKWARD, "backward")):
        axis.scatter([], [], 40, color=color, label=f"{label}; area: share of kernel time")
    _finish(axis, dots, (low, high), (bottom, 3 * peak), "lower right")
    axis.set(title="ops that compute", xlabel="flops per byte", ylabel="GFLOP/s")
    return dots


def _name_slopes(axis: Any, roof: Roofs) -> None:
    """The names of the memories along their lines; lines close together share a label."""
    labels: list[list[tuple[str, float]]] = []
    for name, rate in _memories(roof):
        if labels and labels[-1][-1][1] < 1.6 * rate:
            labels[-1].append((name, rate))
        else:
            labels.append([(name, rate)])
    (low, _), (bottom, _) = axis.get_xlim(), axis.get_ylim()
    for group in labels:
        rate = group[0][1]
        x = 1.2 * max(low, bottom / rate)
        (x0, y0), (x1, y1) = axis.transData.transform([(x, x * rate), (2 * x, 2 * x * rate)])
        text = ", ".join(f"{name} {rate:.0f}" for name, rate in group)
        axis.annotate(f"{text} GB/s", (x, x * rate), (-3, 3), textcoords="offset points",
                      rotation=degrees(atan2(y1 - y0, x1 - x0)), rotation_mode="anchor",
                      color=LIMIT, fontsize=8)


def _draw_memory(axis: Any, rows: Rows) -> list[Dot]:
    roof = rows.roof
    dots = _dots(rows, lambda r: r.flop_rate is None,
                 lambda r: (r.nbytes / r.calls, r.byte_rate / 1e9))
    low = min([roof.sizes[0] / 2] + [d.x / 2 for d in dots])
    high = max([LARGEST * 2.0] + [d.x * 2 for d in dots])
    top = 3 * max(roof.update) / 1e9
    bottom = min([top / 300] + [d.y / 4 for d in dots])     # room for the legend
    for rates, style, label in ((roof.update, "--", "memory, written where it is read"),
                                (roof.stream, "-", "memory, read or written elsewhere")):
        axis.plot([low, *roof.sizes, high], [r / 1e9 for r in (rates[0], *rates, rates[-1])],
                  color=LIMIT, lw=1.5, ls=style, label=label)
    for name, size in roof.caches:
        axis.axvline(size, color=LIMIT, lw=0.6, ls=":")
        axis.annotate(name, (size, top), (-3, -10), ha="right", fontsize=8, color=LIMIT,
                      textcoords="offset points")
    _finish(axis, dots, (low, high), (bottom, top), "lower left")
    axis.set(title="ops that move: no flops to count", xlabel="bytes touched per call",
             ylabel="GB/s")
    return dots


def _dots(rows: Rows, keep: Callable[[Row], bool],
          place: Callable[[Row], tuple[float, float]]) -> list[Dot]:
    """Largest first."""
    dots = [Dot(*place(r), r.time / rows.summed, r.name, r.name.endswith(" backward"))
            for r in rows if r.time > 0 and r.nbytes > 0 and keep(r)]
    return sorted((d for d in dots if d.y > 0), key=lambda d: -d.share)


def _memories(roof: Roofs) -> list[tuple[str, float]]:
    """Name and GB/s of each memory, halfway full."""
    return [(name, roof.bandwidth(size / 2) / 1e9)
            for name, size in (*roof.caches, ("DRAM", 2 * LARGEST))]


def _finish(axis: Any, dots: list[Dot], x: tuple[float, float], y: tuple[float, float],
            legend: str) -> None:
    for color, backward in ((FORWARD, False), (BACKWARD, True)):
        some = [d for d in dots if d.backward == backward]
        axis.scatter([d.x for d in some], [d.y for d in some], [d.area for d in some], color=color,
                     alpha=0.75, lw=0, zorder=3)
    axis.set(xscale="log", yscale="log", xlim=x, ylim=y)
    axis.grid(alpha=0.2)
    axis.legend(frameon=False, fontsize=8, loc=legend)


def _name_dots(axis: Any, dots: list[Dot], renderer: Any) -> None:
    """A name beside each dot that took a good part of the time, clear of dots and other text."""
    from matplotlib.transforms import Bbox

    scale = axis.figure.dpi / 72
    frame = axis.get_window_extent(renderer)
    taken = [t.get_window_extent(renderer) for t in axis.texts]
    taken.append(axis.get_legend().get_window_extent(renderer))
    for d in dots:
        x, y = axis.transData.transform((d.x, d.y))
        r = 0.5 * d.area**0.5 * scale
        taken.append(Bbox.from_extents(x - r, y - r, x + r, y + r))
    for d in [d for d in dots if d.share >= LABELLED][:LABELS]:
        x, y = axis.transData.transform((d.x, d.y))
        text = axis.annotate(f"{d.name} {d.share:.0%}", (d.x, d.y), (0, 0), fontsize=8,
                             textcoords="offset pixels", ha="center", va="center", zorder=4,
                             bbox={"color": "white", "alpha": 0.7, "pad": 0.5, "lw": 0})
        size = text.get_window_extent(renderer)
        for dx, dy in _offsets(size.width, size.height, 0.5 * d.area**0.5 * scale):
            box = Bbox.from_bounds(x + dx - size.width / 2 - 2, y + dy - size.height / 2 - 1,
                                   size.width + 4, size.height + 2)
            if _inside(box, frame) and not any(box.overlaps(other) for other in taken):
                text.set_position((dx, dy))
                taken.append(box)
                near = (min(max(0, box.x0 - x), box.x1 - x), min(max(0, box.y0 - y), box.y1 - y))
                axis.annotate("", (d.x, d.y), near, textcoords="offset pixels", zorder=2,
                              arrowprops={"arrowstyle": "-", "color": LIMIT, "lw": 0.6,
                                          "shrinkA": 0, "shrinkB": 0})
                break
        else:
            text.remove()


def _offsets(width: float, height: float, radius: float) -> Iterator[tuple[float, float]]:
    """Where the middle of a label may be, from the dot, in pixels: nearest first."""
    for gap in (3, 12, 24, 40, 60, 85, 115):
        for k in (0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 13, 5, 11):
            angle = k * pi / 8
            x, y = radius + gap + width / 2, radius + gap + height / 2
            yield x * cos(angle), y * sin(angle)


def _inside(box: Any, frame: Any) -> bool:
    return (box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0
            and box.y1 <= frame.y1)
