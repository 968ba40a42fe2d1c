"""How long a replayed step of seconds goes on after Ctrl-C: ``python -m bench.ctrl_c``.

Prints the milliseconds from the signal to KeyboardInterrupt, for signals all over the step, and
whether the step had happened.
"""

from __future__ import annotations

import os
import signal
import threading
import time

import fastnn
from fastnn import nn, optim

SIGNALS = 10


def mlp() -> tuple[nn.Module, fastnn.Tensor]:
    """16 layers 1024×1024, batch 1024: 0.1 TFLOP a step."""
    layers = [layer for _ in range(16) for layer in (nn.Linear(1024, 1024), nn.ReLU())]
    return nn.Sequential(*layers), fastnn.randn(1024, 1024)


def images() -> tuple[nn.Module, fastnn.Tensor]:
    """Three convolutions of 5×5, 64 channels: single records are long."""
    layers = [layer for c in (3, 64, 64) for layer in (nn.Conv2d(c, 64, 5, padding=2), nn.ReLU())]
    return nn.Sequential(*layers), fastnn.randn(16, 3, 96, 96)


def measure(name: str, model: nn.Module, x: fastnn.Tensor) -> None:
    """Signals all over a step with Adam."""
    adam = optim.Adam(model.parameters())

    @fastnn.compile
    def step(x: fastnn.Tensor) -> None:
        adam.zero_grad()
        (model(x) ** 2).mean().backward()
        adam.step()

    for _ in range(3):
        begin = time.perf_counter()
        step(x)
        whole = time.perf_counter() - begin
    sent = [0.0]

    def send() -> None:
        sent[0] = time.perf_counter()
        os.kill(os.getpid(), signal.SIGINT)

    print(f"{name}: a step takes {1e3 * whole:.0f} ms")
    for i in range(SIGNALS):
        before = float(model[0].weight.detach().numpy().sum())
        timer = threading.Timer(whole * (i + 0.5) / SIGNALS, send)
        try:
            timer.start()
            step(x)
            timer.join()
        except KeyboardInterrupt:
            caught = time.perf_counter()
            after = float(model[0].weight.detach().numpy().sum())
            print(f"signal at {(i + 0.5) / SIGNALS:.0%}: {1e3 * (caught - sent[0]):.0f} ms, "
                  f"step {'done' if after != before else 'not done'}")


if __name__ == "__main__":
    measure("mlp", *mlp())
    measure("images", *images())
