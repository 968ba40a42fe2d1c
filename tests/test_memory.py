"""The allocator: alignment, places in a page, huge pages, reuse; endurance is in test_soak.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from fastnn import _core

THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.parametrize("n", [0, 1, 17, 1000, 4000, 5000, 20_000, 65_536, 400_000, 600_000])
def test_alignment(n: int) -> None:
    """64 bytes always; from 16 KiB on, all blocks have the same place in their 4 KiB page."""
    tensors = [_core.empty((n,)) for _ in range(6)]
    assert {t.data_ptr() % 64 for t in tensors} == {0}
    if n >= 4096:
        assert {t.data_ptr() % 4096 for t in tensors} == {64}


def test_a_freed_block_serves_the_next_request_of_its_class() -> None:
    for n in (10, 10_000, 1_000_000):
        t = _core.empty((n,))
        place = t.data_ptr()
        del t
        assert _core.empty((n,)).data_ptr() == place


HUGE = """
from pathlib import Path
import fastnn
def huge():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(s.split()[1]) for s in lines if s.startswith("AnonHugePages"))
before = huge()
t = fastnn.ones(16 << 20)
print(huge() - before)
"""


@pytest.mark.skipif(not THP.exists() or "[never]" in THP.read_text(),
                    reason="needs transparent huge pages")
def test_large_tensors_lie_on_huge_pages() -> None:
    out = subprocess.run([sys.executable, "-c", HUGE], check=True, capture_output=True, text=True)
    assert int(out.stdout) >= 32 << 10            # KiB; the kernel may be short of some


CAP = """
import fastnn
from fastnn import _core
for mib in (700, 900, 1100, 600):
    fastnn._core.empty((mib << 18,))
assert _core.cached_bytes() <= 2 << 30, _core.cached_bytes()
_core.trim()
assert _core.cached_bytes() == 0
"""


def test_the_cache_has_a_cap() -> None:
    """Address space only: nothing is written to the blocks."""
    subprocess.run([sys.executable, "-c", CAP], check=True)


def test_live_bytes_count_what_is_held() -> None:
    fastnn.ones(1000, 1000)                       # the kernels' scratch memory stays
    before = fastnn.live_bytes()
    t = fastnn.ones(1000, 1000)
    assert 4_000_000 <= fastnn.live_bytes() - before <= 5_500_000
    del t
    assert fastnn.live_bytes() == before
