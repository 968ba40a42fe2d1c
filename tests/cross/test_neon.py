"""The NEON kernels, cross-compiled and run under qemu-aarch64, against the float64 references.

Needs Debian's gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user.
"""

from __future__ import annotations

import platform
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import all_cases
from cases.harness import assert_close, garbage, launches

from fastnn import _core

ROOT = Path(__file__).parents[2]
COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
FLAGS = "-std=c11 -O2 -ffp-contract=off -fno-math-errno -fopenmp -Wall -Wextra -Werror"
SOURCES = ["run.c", "chain.c", "cpu.c", "alloc.c", "isa_neon.c", "links_neon.c"]

pytestmark = pytest.mark.skipif(
    not (shutil.which(COMPILER) and shutil.which(EMULATOR)),
    reason=f"no {COMPILER} or {EMULATOR}: apt-get install gcc-aarch64-linux-gnu "
           "libc6-dev-arm64-cross qemu-user",
)


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    """A function from jobs to the operands and gradients after each."""
    folder = tmp_path_factory.mktemp("neon")
    program = folder / "runner"
    sources = [str(ROOT / "csrc" / s) for s in SOURCES] + [str(Path(__file__).parent / "runner.c")]
    subprocess.run([COMPILER, *FLAGS.split(), f"-I{ROOT / 'csrc'}", *sources, "-o", str(program),
                    "-lm", "-lpthread"], check=True)

    def run(jobs: list[Job]) -> None:
        (folder / "in").write_bytes(struct.pack("<q", len(jobs)) + b"".join(j.pack() for j in jobs))
        native = platform.machine() == "aarch64"
        subprocess.run(([] if native else [EMULATOR, "-L", "/usr/aarch64-linux-gnu"])
                       + [str(program), str(folder / "in"), str(folder / "out")], check=True)
        data, at = (folder / "out").read_bytes(), 0
        for job in jobs:
            at = job.unpack(data, at)
        assert at == len(data)

    return run


class Job:
    """A record with its operands, in the format of runner.c."""

    def __init__(self, launch: Any, arrays: list[Any], grads: list[Any], backward: bool) -> None:
        self.launch, self.backward = launch, backward
        self.blocks = [b for pair in zip(arrays, grads, strict=True) for b in pair]

    def pack(self) -> bytes:
        n_in = len(self.launch.ins)
        head = [_core.OPS[self.launch.op], n_in, len(self.launch.outs), 0, self.backward, 2]
        sizes = *head, *self.launch.dim
        parts = [struct.pack(f"<{len(sizes)}q", *sizes), struct.pack("<4f", *self.launch.f)]
        for b in self.blocks:
            parts.append(struct.pack("<q", -1 if b is None else b.nbytes))
            parts.append(b"" if b is None else b.tobytes())
        return b"".join(parts)

    def unpack(self, data: bytes, at: int) -> int:
        for i, b in enumerate(self.blocks):
            if b is not None:
                self.blocks[i] = np.frombuffer(data, b.dtype, b.size, at).reshape(b.shape)
                at += b.nbytes
        return at

    @property
    def arrays(self) -> list[Any]:
        return self.blocks[::2]

    @property
    def grads(self) -> list[Any]:
        return self.blocks[1::2]


def test_forward_and_backward_on_neon(runner):
    checks: list[tuple[Any, Job, list[Any], int]] = []
    for case in all_cases():
        rng = np.random.default_rng(8)      # the numbers that tests/test_cases.py gives the others
        for launch in launches(case):
            n_in, slots = len(launch.ins), len(launch.ins) + len(launch.outs)
            wide = launch.wide()
            outs = list(launch.reference(wide))
            arrays = launch.ins + [garbage(y) for y in launch.outs]
            forward = Job(launch, arrays, [None] * slots, False)
            checks.append((case, forward, outs, n_in))
            inputs = launch.differentiable()
            if not (inputs and case.grad):
                continue
            gouts = launch.output_gradients(rng)
            want = [j in inputs for j in range(n_in)]
            expected = launch.reference_grad(
                wide, outs, [None if g is None else g.astype(np.float64) for g in gouts], want)
            with np.errstate(over="ignore"):      # cases of huge values round to infinity
                narrow = [y.astype(k.dtype) for y, k in zip(outs, launch.outs, strict=True)]
            known = launch.hide(launch.ins, 0, want) + launch.hide(narrow, n_in, want)
            grads = [garbage(a.astype(np.float32)) if w else None
                     for a, w in zip(launch.ins, want, strict=True)]
            checks.append((case, Job(launch, known, grads + gouts, True), expected, n_in))
    runner([job for _, job, _, _ in checks])
    for case, job, expected, n_in in checks:
        got = job.grads[:n_in] if job.backward else job.arrays[n_in:]
        for j, (g, e) in enumerate(zip(got, expected, strict=True)):
            if e is not None:
                kind = "gradient" if job.backward else "output"
                assert_close(case, g, e, f"{case.id}: {kind} {j}")
