"""The learning curve as a picture."""

from __future__ import annotations


def draw_curve(history: dict[str, list[float]], path: str, title: str) -> str:
    """Write loss and accuracy per epoch to a PNG; returns its path, or why there is none."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator, PercentFormatter
    except ModuleNotFoundError:
        return 'none: pip install "fastnn-engine[plot]"'
    epochs = range(1, len(history["loss"]) + 1)
    figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    loss, accuracy = figure.subplots(1, 2)
    marker = "o" if len(epochs) == 1 else None
    for axis, key in ((loss, "loss"), (accuracy, "accuracy")):
        for curve, label, color in ((key, "training, during the epoch", "#4c72b0"),
                                    (f"test_{key}", "test, after the epoch", "#dd8452")):
            axis.plot(epochs, history[curve], label=label, color=color, marker=marker)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    loss.set_ylabel("cross-entropy (nats)")
    loss.set_ylim(bottom=0)
    accuracy.set_ylabel("accuracy")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1))
    figure.suptitle(f"{title}: test accuracy {history['test_accuracy'][-1]:.2%}", fontsize=11)
    figure.savefig(path)
    return path
