"""What training a network of `fastnn.models` takes: the plan of its compiled step, and the process.

    python -m bench.memory resnet50 --batch 16 --size 224

Prints the memory plan in MiB, the loss and the seconds of each step (the first one records), and
the largest resident size the process ever had. Images and labels are random: the loss of the one
batch falls all the same.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from typing import Any

import fastnn
from fastnn.nn import functional as F

MIB = 1 << 20
PLAN = {"arena": "temporaries of a replayed step, in one arena",
        "temporaries": "the same side by side, without sharing places",
        "eager_peak": "the most a step took at once, run by Python",
        "constants": "constants", "results": "results"}


def resident_peak() -> int:
    """Bytes of memory this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10         # Linux counts KiB


def main(arguments: Sequence[str] | None = None) -> dict[str, int]:
    p = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.split("\n")[0])
    p.add_argument("model", choices=[n for n in fastnn.models.REGISTRY if n not in ("mlp", "cnn")])
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--size", type=int, default=224, help="pixels of a side")
    p.add_argument("--steps", type=int, default=3)
    options = p.parse_args(arguments)

    fastnn.manual_seed(0)
    net = fastnn.models.create(options.model)
    sgd = fastnn.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    x = fastnn.randn(options.batch, 3, options.size, options.size)
    y = fastnn.randint(0, 1000, (options.batch,))

    @fastnn.compile
    def step(x: Any, y: Any) -> Any:
        sgd.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        sgd.step()
        return loss

    weights = sum(t.numel() for t in net.parameters())
    print(f"{options.model}: {weights:,} parameters ({4 * weights / MIB:.0f} MiB; gradients and "
          f"momenta as much again each), batch {options.batch} of 3×{options.size}×{options.size}")
    for k in range(1, options.steps + 1):
        started = time.perf_counter()
        loss = step(x, y).item()
        print(f"step {k}  loss {loss:.4f}  {time.perf_counter() - started:6.2f} s", flush=True)
    plan = step.programs[0].program.memory()
    for name, words in PLAN.items():
        print(f"{plan[name] / MIB:9.1f} MiB  {words}")
    peak = resident_peak()
    print(f"{peak / MIB:9.1f} MiB  largest resident size of the process")
    return plan | {"resident_peak": peak}


if __name__ == "__main__":
    main()
