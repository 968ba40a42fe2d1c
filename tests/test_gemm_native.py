"""gemm.h against the scalar chain on every ISA of this machine (tests/native/gemm_check.c)."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fastnn import _core

ROOT = Path(__file__).parents[1]
FLAGS = "-std=c11 -O3 -ffp-contract=off -fno-math-errno -Wall -Wextra -fopenmp"
ISA_FLAGS = {
    "avx2": "-mavx2 -mfma -mf16c",
    "avx512": "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c "
              "-mprefer-vector-width=512",
}


def compile_check(isa: str, target: Path, *extra: str) -> None:
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("needs gcc to compile tests/native/gemm_check.c; install gcc to run this test")
    command = [gcc, *f"{FLAGS} {ISA_FLAGS.get(isa, '')}".split(), f"-I{ROOT / 'csrc'}", *extra]
    source = ROOT / "tests" / "native" / "gemm_check.c"
    subprocess.run([*command, str(source), "-o", str(target), "-lm"], check=True)


def run_check(program: Path) -> subprocess.CompletedProcess[str]:
    """Teams of up to 7 threads on any number of cores: they must not spin at barriers."""
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    return subprocess.run([program], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("isa", _core.isa_names())
def test_bits_of_the_chain(isa: str, tmp_path: Path) -> None:
    compile_check(isa, tmp_path / "check", "-Werror")
    done = run_check(tmp_path / "check")
    assert done.returncode == 0, done.stdout


FAULTS = {
    "two partial sums": (1, "FAIL chain"),
    "a column too many": (2, "killed"),
    "a row too many": (3, "killed"),
    "less accurate": (4, "FAIL hard bound"),
    "drifting": (4, "FAIL soft bound"),
    "a term lost": (5, "FAIL whole numbers"),
    "depends on threads": (6, "FAIL chain .* threads=7"),
    "depends on the batch": (7, "FAIL row"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught(fault: str, tmp_path: Path) -> None:
    number, sign = FAULTS[fault]
    compile_check(_core.isa_names()[0], tmp_path / "check", f"-DPLANT={number}")
    done = run_check(tmp_path / "check")
    assert done.returncode != 0
    if sign == "killed":                # by a read or write outside
        assert done.returncode < 0, done.stdout
    else:
        assert re.search(sign, done.stdout), done.stdout


def inner_loops(function: str) -> list[str]:
    """The text between a label and the jump back to it, without any other label in between."""
    return [body for label, body in re.findall(r"(\.L\d+):\n((?:[^.\n].*\n|\t\..*\n)*)", function)
            if re.search(rf"\tj\w+\t{re.escape(label)}\n", body)]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86-64 assembly")
@pytest.mark.parametrize("isa", sorted(ISA_FLAGS))
def test_tile_loops_do_not_spill(isa: str, tmp_path: Path) -> None:
    compile_check(isa, tmp_path / "check.s", "-S")
    functions = re.split(r"\n(?=gemm_\w+:)", (tmp_path / "check.s").read_text())
    loops = {name.group(1): [x for x in inner_loops(f) if "vfmadd" in x]
             for f in functions if (name := re.match(r"(gemm_tile_\d\w+):", f))}
    assert loops and all(loops.values()), loops
    for name, bodies in loops.items():
        for body in bodies:
            assert not re.search(r"%[xyz]mm\d+.*\(%r[sb]p|\(%r[sb]p.*%[xyz]mm", body), name
            assert not re.search(r"\tvmov[dq]\t", body), name     # an integer kept in a vector
