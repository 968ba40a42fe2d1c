"""The endurance run of tests/soak/soak.py, short: its long form is a documented command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn

SOAK = Path(__file__).parent / "soak" / "soak.py"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.skipif(os.environ.get("FASTNN_BACKEND") == "numpy",
                    reason="NumPy's temporaries are not ours")
def test_nothing_grows() -> None:
    """Live bytes, threads, files exactly flat; memory within 1 MiB; no page faults."""
    env = os.environ | {"PYTHONPATH": str(Path(fastnn.__file__).parents[1])}
    done = subprocess.run([sys.executable, SOAK, "3000"], env=env, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
