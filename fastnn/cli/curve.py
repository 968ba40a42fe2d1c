"""The learning curve as a picture."""

from __future__ import annotations


def draw_curve(history: dict[str, list[float]], path: str, title: str) -> str:
    """Write loss and accuracy per epoch to a PNG; returns its path, or why there is none."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return 'none: pip install "fastnn-engine[plot]"'
    epochs = range(1, len(history["loss"]) + 1)
    figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    loss, accuracy = figure.subplots(1, 2)
    marker = "o" if len(epochs) == 1 else None
    for axis, key in ((loss, "loss"), (accuracy, "accuracy")):
        axis.plot(epochs, history[key], label="training", color="#4c72b0", marker=marker)
        axis.plot(epochs, history[f"test_{key}"], label="test", color="#dd8452", marker=marker)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    loss.set_ylabel("cross-entropy (nats)")
    loss.set_ylim(bottom=0)
    accuracy.set_ylabel("accuracy")
    accuracy.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
    best = max(history["test_accuracy"])
    figure.suptitle(f"{title}: best test accuracy {best:.2%}", fontsize=11)
    figure.savefig(path)
    return path
