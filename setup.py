"""Builds fastnn._core: the Cython layer plus the C kernels, compiled once per instruction set."""

import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

AVX512 = "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512"
ISAS = {
    "x86_64": {"base": "", "avx2": "-mavx2 -mfma -mf16c", "avx512": AVX512},
    "aarch64": {"neon": ""},
}
ARCH = {"amd64": "x86_64", "arm64": "aarch64"}.get(
    platform.machine().lower(), platform.machine().lower()
)
FLAGS = ["-std=c11", "-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden",
         "-Wall", "-Wextra"]
OPENMP = [] if sys.platform == "darwin" else ["-fopenmp"]   # Apple's clang ships without OpenMP


class BuildExt(build_ext):
    """Compiles each C file with its own flags, two at a time, and only if it is out of date."""

    def build_extension(self, ext: Extension) -> None:
        headers = max(Path(h).stat().st_mtime for h in ext.depends)
        compiler, compile_one = self.compiler, self.compiler.compile

        def build(source: str) -> str:
            flags = os.environ.get("FASTNN_CFLAGS", "").split()
            stem = Path(source).stem
            # Cython's code uses what C11 -Wextra would call unused; it is not ours to change.
            own = FLAGS + ISA_FLAGS.get(stem, []) if stem != "_core" else ["-O2", "-w", "-g0"]
            target = Path(compiler.object_filenames([source], output_dir=self.build_temp)[0])
            if target.exists() and target.stat().st_mtime > max(headers, os.stat(source).st_mtime):
                return str(target)
            return compile_one(
                [source], output_dir=self.build_temp, include_dirs=ext.include_dirs,
                extra_postargs=own + OPENMP + flags,
            )[0]

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            objects = list(pool.map(build, ext.sources))
        compiler.link_shared_object(
            objects, self.get_ext_fullpath(ext.name), extra_postargs=ext.extra_link_args,
            target_lang="c", build_temp=self.build_temp,
        )


ISA_FLAGS = {f"{part}_{k}": v.split() for k, v in ISAS.get(ARCH, {"base": ""}).items()
             for part in ("isa", "links")}
HEADERS = sorted(str(p) for p in [*Path("csrc").glob("*.h"), *Path("csrc").glob("*.def")])
core = Extension(
    "fastnn._core",
    ["fastnn/_core.pyx", "csrc/run.c", "csrc/chain.c", "csrc/plan.c", "csrc/cpu.c", "csrc/alloc.c"]
    + [f"csrc/{isa}.c" for isa in ISA_FLAGS],
    include_dirs=["csrc"],
    depends=HEADERS,
    extra_link_args=OPENMP + os.environ.get("FASTNN_CFLAGS", "").split(),
)
# The benchmark stands beside the package; wheels carry it inside, for `fastnn bench`.
setup(packages=[*find_packages(include=["fastnn*"]), "fastnn._bench", "fastnn._bench.peers"],
      package_dir={"fastnn._bench": "bench"},
      ext_modules=cythonize([core], compiler_directives={"language_level": 3}),
      cmdclass={"build_ext": BuildExt})
