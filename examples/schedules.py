"""Learning-rate schedules side by side: what each one does to the rate over 100 steps."""

import matplotlib.pyplot as plt

from fastnn import nn, optim
from fastnn.optim import lr_scheduler as lr

STEPS, PEAK = 100, 0.1

SCHEDULES = {
    "StepLR(30)": lambda o: lr.StepLR(o, step_size=30, gamma=0.3),
    "MultiStepLR([20, 70])": lambda o: lr.MultiStepLR(o, milestones=[20, 70], gamma=0.3),
    "ExponentialLR(0.96)": lambda o: lr.ExponentialLR(o, gamma=0.96),
    "CosineAnnealingLR(100)": lambda o: lr.CosineAnnealingLR(o, T_max=STEPS),
    "LinearLR(0.1 to 1)": lambda o: lr.LinearLR(o, start_factor=0.1, total_iters=40),
    "OneCycleLR": lambda o: lr.OneCycleLR(o, max_lr=PEAK, total_steps=STEPS + 1),
    "warm-up, then cosine": lambda o: lr.SequentialLR(
        o, [lr.LinearLR(o, 0.01, total_iters=10), lr.CosineAnnealingLR(o, T_max=STEPS - 10)], [10]),
    "LambdaLR(1 / sqrt)": lambda o: lr.LambdaLR(o, lambda step: (1 + step) ** -0.5),
}


def rates(make) -> list[float]:
    """The rate at each step of a training run."""
    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=PEAK)
    schedule = make(optimizer)
    history = []
    for _ in range(STEPS):
        history.append(optimizer.param_groups[0]["lr"])
        optimizer.step()                        # after backward(), in a real training loop
        schedule.step()
    return history


def main() -> dict[str, list[float]]:
    histories = {name: rates(make) for name, make in SCHEDULES.items()}
    figure, axes = plt.subplots(2, 4, figsize=(12, 5), sharex=True, sharey=True,
                                layout="constrained")
    for axis, (name, history) in zip(axes.flat, histories.items(), strict=True):
        print(f"{name:24} starts {history[0]:.4f}  peak {max(history):.4f}  ends {history[-1]:.4f}")
        axis.plot(history)
        axis.set_title(name)
        axis.grid(alpha=0.3)
    figure.supxlabel("step")
    figure.supylabel("learning rate")
    figure.savefig("schedules.png", dpi=100)
    return histories


if __name__ == "__main__":
    main()
