"""No kernel touches a byte outside its operands, on any ISA, in the build that users get."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from fastnn import _core

TESTS = Path(__file__).parent
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs mmap and mprotect"),
    pytest.mark.skipif(os.environ.get("FASTNN_BACKEND") == "numpy", reason="is about kernels"),
]


def guarded(*args: str) -> subprocess.CompletedProcess[str]:
    """The runner in a process of its own, which a fault may kill."""
    path = os.pathsep.join([str(TESTS), str(Path(fastnn.__file__).parents[1])])
    return subprocess.run([sys.executable, "-m", "cases.guard", *args], capture_output=True,
                          text=True, env=os.environ | {"PYTHONPATH": path}, timeout=300)


@pytest.mark.parametrize("placement", ["end", "start"])
@pytest.mark.parametrize("isa", _core.isa_names())
def test_every_case_beside_a_guard_page(isa: str, placement: str) -> None:
    done = guarded(isa, placement)
    last = done.stdout.splitlines()[-1:]
    assert done.returncode == 0, f"{last}: exit {done.returncode}\n{done.stderr[-2000:]}"
    assert last == ["all within their operands"]


@pytest.mark.parametrize("placement", ["end", "start"])
def test_a_planted_read_is_caught(placement: str) -> None:
    done = guarded(_core.isa_names()[0], placement, "plant")
    assert done.returncode < 0 and "planted" not in done.stdout
