"""vec.h and vmath.h, compiled alone for each ISA of this machine (tests/exhaustive/README.md)."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CSRC, PROGRAMS = ROOT / "csrc", ROOT / "tests" / "exhaustive"
STEP = "4099"
X86_FLAGS = {
    "base": "",
    "avx2": "-mavx2 -mfma -mf16c",
    "avx512": "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512",
}
X86_NEEDS = {
    "base": set(),
    "avx2": {"avx2", "fma", "f16c"},
    "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
}


def isas() -> list[str]:
    if platform.machine() not in ("x86_64", "AMD64"):
        return ["native"]
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        words = set()
    return [isa for isa, needs in X86_NEEDS.items() if needs <= words]


def build(source: str, isa: str, target: Path, include: Path = CSRC) -> Path:
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("needs gcc to compile tests/exhaustive; install gcc to run this test")
    flags = f"-std=c11 -O3 -ffp-contract=off -Wall -Wextra -Werror {X86_FLAGS.get(isa, '')}"
    command = [gcc, *flags.split(), "-fopenmp", f"-I{include}", str(PROGRAMS / source)]
    subprocess.run([*command, "-o", str(target), "-lm"], check=True)
    return target


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True)


@pytest.mark.parametrize("isa", isas())
def test_vector_operations(isa: str, tmp_path: Path) -> None:
    done = run(build("vec_check.c", isa, tmp_path / "vec_check"))
    assert done.returncode == 0, done.stdout


def test_functions_within_bounds(tmp_path: Path) -> None:
    """Also: ISAs with FMA give the same bits, so their reports are the same."""
    reports = {}
    for isa in isas():
        done = run(build("vmath_ulp.c", isa, tmp_path / isa), STEP)
        assert done.returncode == 0, f"{isa}\n{done.stdout}"
        reports[isa] = done.stdout.splitlines()
    if "avx512" in reports:
        assert reports["avx512"] == reports["avx2"]


def test_checker_catches_a_wrong_coefficient(tmp_path: Path) -> None:
    """One coefficient of exp off by 1e-6: the checker must say so."""
    shutil.copy(CSRC / "vec.h", tmp_path)
    text = (CSRC / "vmath.h").read_text()
    assert text.count("0.166666657f") == 1
    (tmp_path / "vmath.h").write_text(text.replace("0.166666657f", "0.166667657f"))
    program = build("vmath_ulp.c", isas()[-1], tmp_path / "vmath_ulp", include=tmp_path)
    done = run(program, STEP, "exp")
    assert done.returncode == 1 and "EXCEEDED" in done.stdout, done.stdout
