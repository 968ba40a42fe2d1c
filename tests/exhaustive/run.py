"""Every float32 argument of every function of csrc/vmath.h, on every instruction set.

    python tests/exhaustive/run.py                                   # all of it, resumable
    python tests/exhaustive/run.py --isa avx2 --function gelu        # a part
    python tests/exhaustive/run.py --report                          # the table of what is done

A function on an ISA is 64 shards of 2^26 arguments.  Results are kept in build/exhaustive, one line
of JSON per shard, under a name that changes with the sources: what is there is not run again, and
nothing outlives a change of a polynomial.  The best ISA goes first, against double libm; the others
are compared with it bit by bit, and against libm where they differ.  NEON, with --isa neon, is
cross compiled, runs under qemu-aarch64, and has to give the best ISA's digests.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHARDS = 64
COMMON = "-std=c11 -O3 -ffp-contract=off -fopenmp-simd -Wall -Wextra -Werror"
NATIVE = "-march=native"                       # for libm's vector functions, not for vmath.h
ISAS = {                                       # best first, as in vmath_ulp.c
    "avx512": "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512",
    "avx2": "-mavx2 -mfma -mf16c",
    "base": "",
}
NEEDS = {
    "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "avx2": {"avx2", "fma", "f16c"},
    "base": set(),
}


def functions() -> list[str]:
    return re.findall(r"^FUNCTION\((\w+),", (HERE / "functions.def").read_text(), re.M)


def isas() -> list[str]:
    """The instruction sets of this machine, best first."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ["neon"]
    words = set(Path("/proc/cpuinfo").read_text().split())
    return [isa for isa, needs in NEEDS.items() if needs <= words]


def build(folder: Path, names: list[str], include: Path = ROOT / "csrc") -> list[str]:
    """Compiles vmath_ulp for the ISAs named; the command that runs it."""
    cross = names == ["neon"] and isas() != ["neon"]
    gcc = "aarch64-linux-gnu-gcc" if cross else "gcc"
    native = "" if names == ["neon"] else NATIVE
    folder.mkdir(parents=True, exist_ok=True)
    objects = []

    def compile_one(source: str, name: str, flags: str) -> None:
        objects.append(str(folder / f"{name}.o"))
        command = [gcc, *COMMON.split(), *flags.split(), f"-I{include}", "-c", str(HERE / source)]
        subprocess.run([*command, "-o", objects[-1]], check=True)

    for isa in names:
        compile_one("vmath_blocks.c", isa, f"-DISA={isa} {ISAS.get(isa, '')}")
    compile_one("vmath_libm.c", "libm", native)
    compile_one("vmath_ulp.c", "main", f"{native} -DISAS={''.join(f'ISA({isa})' for isa in names)}")
    program = str(folder / "vmath_ulp")
    libraries = ["-static", "-lm"] if cross else ["-lmvec", "-lm"] if native else ["-lm"]
    subprocess.run([gcc, *objects, "-o", program, *libraries], check=True)
    return ["qemu-aarch64", program] if cross else [program]


def version() -> str:
    """A name for the sources, comments and spaces aside."""
    sources = [ROOT / "csrc" / name for name in ("vec.h", "vmath.h", "vmath_tables.h")]
    sources += [*sorted(HERE.glob("vmath_*.[ch]")), HERE / "functions.def"]
    text = re.sub(r"/\*.*?\*/", " ", "".join(p.read_text() for p in sources), flags=re.S)
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:12]


def finished(store: Path, isa: str, function: str) -> dict[int, dict[str, Any]]:
    path = store / f"{isa}-{function}.jsonl"
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return {line["shard"]: line for line in lines}


def sweep(command: list[str], store: Path, isa: str, function: str, workers: int) -> None:
    missing = [k for k in range(SHARDS) if k not in finished(store, isa, function)]

    def one(shard: int) -> str:
        done = subprocess.run([*command, isa, "shard", str(shard), function], text=True,
                              stdout=subprocess.PIPE)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{isa} {function} shard {shard}: exit code {done.returncode}")
        return done.stdout

    with ThreadPoolExecutor(workers) as pool, open(store / f"{isa}-{function}.jsonl", "a") as f:
        for line in pool.map(one, missing):
            f.write(line)
            f.flush()


def summary(store: Path, isa: str, function: str) -> dict[str, Any] | None:
    """What the shards say together; of an ISA compared with the best one, the larger of the two."""
    shards = finished(store, isa, function)
    if len(shards) < SHARDS:
        return None
    worst = max(shards.values(), key=lambda s: s["ulp"])
    total = {key: sum(s[key] for s in shards.values()) for key in ("count", "bad", "backward")}
    total |= {key: max(s[key] for s in shards.values())
              for key in ("ulp", "tail_ulp", "tail_absolute", "back")}
    total |= {"at": float.fromhex(worst["at"]), "differ": sum(s["differ"] for s in shards.values())}
    total["digests"] = [shards[k]["digest"] for k in range(SHARDS)]
    best = isas()[0]
    if isa != best and (proven := summary(store, best, function)):
        total["same"] = total["digests"] == proven["digests"]
        if isa == "neon":                      # measured by its digests alone
            return proven | total
        for key in ("ulp", "tail_ulp", "tail_absolute"):
            if proven[key] > total[key]:
                total[key] = proven[key]
                total["at"] = proven["at"] if key == "ulp" else total["at"]
        total["bad"] += proven["bad"] if total["same"] else 0
    return total


def report(store: Path, names: list[str]) -> int:
    failed = 0
    for function in functions():
        for isa in names:
            s = summary(store, isa, function)
            if s is None:
                print(f"{function:16s} {isa:7s} {len(finished(store, isa, function))} of {SHARDS}")
                continue
            failed |= s["bad"] > 0
            same = {True: "same bits", False: f"{s['differ']} bits differ"}.get(s.get("same"), "")
            print(f"{function:16s} {isa:7s} {s['ulp']:7.4f} ULP at {s['at']:.9g}, tail "
                  f"{s['tail_absolute']:.3g} ({s['tail_ulp']:.3g} ULP), {s['backward']} steps back "
                  f"({s['back']:.0f} ULP) {same}{'  EXCEEDED' if s['bad'] else ''}")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa", action="append", choices=[*ISAS, "neon"])
    parser.add_argument("--function", action="append", choices=functions())
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--report", action="store_true", help="only print what is there")
    args = parser.parse_args()
    store = ROOT / "build" / "exhaustive" / version()
    names = args.isa or isas()
    if not args.report:
        native = build(store, isas())
        for function in args.function or functions():
            for isa in dict.fromkeys([isas()[0], *names]):
                command = native
                if isa == "neon" and isas() != ["neon"]:
                    if not shutil.which("qemu-aarch64"):
                        sys.exit("neon: needs qemu-aarch64 and aarch64-linux-gnu-gcc")
                    command = build(store / "neon", ["neon"])
                sweep(command, store, isa, function, args.workers)
                print(f"{function} on {isa}: done", flush=True)
    return report(store, names)


if __name__ == "__main__":
    sys.exit(main())
