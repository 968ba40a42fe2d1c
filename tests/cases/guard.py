"""Every case with each operand against an unreadable page: one byte too far ends the process.

    PYTHONPATH=tests python -m cases.guard ISA end|start [plant]

prints the id of each case before it runs, so that the last line names the culprit. `end`: the page
lies behind the operand; `start`: before it. Operands are aligned to their elements only. Bits must
be those of ordinary memory. `plant` reads one element too far: the process must die.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np

from fastnn import _core

from . import Case, all_cases, harness

PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Guard:
    """Hands out blocks between unreadable pages; all of them are free again after `clear`."""

    def __init__(self, at_end: bool) -> None:
        self.at_end = at_end
        self.free: dict[int, list[int]] = {}
        self.used: list[tuple[int, int]] = []

    def __call__(self, a: np.ndarray) -> np.ndarray:
        size = max(1, -(-a.nbytes // PAGE)) * PAGE
        blocks = self.free.setdefault(size, [])
        block = blocks.pop() if blocks else self.map(size)
        self.used.append((size, block))
        address = block + size - a.nbytes if self.at_end else block
        memory = (ctypes.c_char * a.nbytes).from_address(address)
        out = np.ndarray(a.shape, a.dtype, memory)
        out[...] = a
        return out

    def clear(self) -> None:
        for size, block in self.used:
            self.free[size].append(block)
        self.used.clear()

    @staticmethod
    def map(size: int) -> int:
        start = LIBC.mmap(None, size + 2 * PAGE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        readable = mmap.PROT_READ | mmap.PROT_WRITE
        assert start not in (None, 2**64 - 1)
        assert LIBC.mprotect(start + PAGE, size, readable) == 0
        return start + PAGE


def run(case: Case, guard: Guard) -> None:
    rng = np.random.default_rng(8)
    for launch in harness.launches(case):
        gouts = launch.output_gradients(rng)
        inputs = launch.differentiable() if case.grad and launch.info["diff"] else []
        want = [j in inputs for j in range(len(launch.ins))]
        nothing = [None] * len(want)
        results = []
        for place, threads in ((np.copy, 1), (guard, 1), (guard, 3)):
            harness.place = place
            outs, _ = launch.kernel(threads)
            found = [np.copy(y) for y in outs]
            if any(want):
                grads = launch.kernel_grad(found, gouts, want, nothing, threads)
                found += [np.copy(g) for g in grads if g is not None]
            guard.clear()
            results.append([a.tobytes() for a in found])
        assert results[0] == results[1] == results[2], f"{case.id}: other bits beside a guard page"


def main(isa: str, placement: str, plant: str = "") -> None:
    _core.select_isa(isa)
    guard = Guard(placement == "end")
    if plant:
        a = guard(np.ones(5, np.float32))
        beyond = a.ctypes.data + a.nbytes if guard.at_end else a.ctypes.data - a.itemsize
        print("planted", ctypes.string_at(beyond, a.itemsize), flush=True)
        return
    for case in all_cases():
        print(case.id, flush=True)
        run(case, guard)
    print("all within their operands", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
