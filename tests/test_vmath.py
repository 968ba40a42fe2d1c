"""vec.h and vmath.h, compiled alone for each ISA of this machine (tests/exhaustive/README.md)."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
CSRC, PROGRAMS = ROOT / "csrc", ROOT / "tests" / "exhaustive"
sys.path.insert(0, str(PROGRAMS))

import run as exhaustive  # noqa: E402

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None,
    reason="needs gcc to compile tests/exhaustive; install gcc to run these tests",
)


def sample(program: list[str], isa: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and each function's line."""
    done = subprocess.run([*program, isa, "sample"], capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {line["function"]: line for line in lines}


@pytest.mark.parametrize("isa", exhaustive.isas())
def test_vector_operations(isa: str, tmp_path: Path) -> None:
    program = tmp_path / "vec_check"
    flags = [*exhaustive.COMMON.split(), *exhaustive.ISAS.get(isa, "").split(), f"-I{CSRC}"]
    command = ["gcc", *flags, str(PROGRAMS / "vec_check.c"), "-o", str(program), "-lm"]
    subprocess.run(command, check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_functions_within_bounds(tmp_path: Path) -> None:
    """Also: ISAs with FMA give the same bits."""
    program = exhaustive.build(tmp_path, exhaustive.isas())
    digests = {}
    for isa in exhaustive.isas():
        failed, lines = sample(program, isa)
        assert not failed, [line for line in lines.values() if line["bad"]]
        assert set(exhaustive.functions()) < set(lines)
        digests[isa] = [line["digest"] for line in lines.values()]
    if "avx512" in digests:
        assert digests["avx512"] == digests["avx2"]


@pytest.mark.parametrize(
    ("header", "right", "wrong", "function"),
    [
        ("vmath.h", "0.500000179f", "0.500020179f", "exp"),  # a coefficient off by 2e-5
        ("vmath.h", "= vf_power_(vf_at_least(x, -8", "= vf_power_(vf_at_least(x, -7", "sigmoid"),
        ("vmath_tables.h", "0.462094188f", "0.462094789f", "tanh"),  # in one interval, by 6e-7
    ],
)
def test_checker_catches_a_planted_fault(
    header: str, right: str, wrong: str, function: str, tmp_path: Path
) -> None:
    include = tmp_path / "csrc"
    shutil.copytree(CSRC, include, ignore=shutil.ignore_patterns("*.c", "op_*"))
    text = (include / header).read_text()
    assert right in text
    (include / header).write_text(text.replace(right, wrong, 1))
    program = exhaustive.build(tmp_path / "build", exhaustive.isas()[:1], include)
    failed, lines = sample(program, exhaustive.isas()[0])
    assert failed and lines[function]["bad"], lines[function]
