"""Threads: when a team is used, many callers at once, other pools, masks and quotas."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from callers import together

import fastnn
from fastnn import _core, _startup, nn, optim
from fastnn.nn import functional as F

ROOT = Path(__file__).parents[1]
NATIVE = ROOT / "tests" / "native"
kernels = pytest.mark.skipif(os.environ.get("FASTNN_BACKEND") == "numpy",
                             reason="NumPy uses threads of its own, and its bits depend on them")


def compiled(source: str, target: Path, *flags: str) -> Path:
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip(f"needs gcc to compile tests/native/{source}; install gcc to run this test")
    command = [gcc, "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fopenmp",
               f"-I{ROOT / 'csrc'}", *flags, str(NATIVE / source), "-o", str(target), "-lm"]
    subprocess.run(command, check=True)
    return target


def classifier() -> nn.Module:
    """Small layers that run alone and one that wants a team."""
    return nn.Sequential(nn.Linear(64, 700), nn.GELU(), nn.Linear(700, 300), nn.ReLU(),
                         nn.Linear(300, 10))


# ---- when a team pays


@pytest.mark.parametrize("plant", [0, 1])
def test_rules_of_the_team(plant: int, tmp_path: Path) -> None:
    program = compiled("team_check.c", tmp_path / "check", f"-DPLANT={plant}")
    done = subprocess.run([program], capture_output=True, text=True)
    assert (done.returncode == 0) == (plant == 0), done.stdout


ALWAYS = """
import os, fastnn
from fastnn import _core
x = fastnn.randn(4)
fastnn.set_num_threads(5)
alone = len(os.listdir("/proc/self/task"))
x + x
assert len(os.listdir("/proc/self/task")) == alone
_core.always_team(True)
x + x
assert len(os.listdir("/proc/self/task")) == alone + 4
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
@kernels
def test_always_team_means_always() -> None:
    """The tests that compare thread counts depend on it."""
    subprocess.run([sys.executable, "-c", ALWAYS], check=True)


CREWS = """
import ctypes, os, resource, sys, threading, time
if sys.argv[1] == "stranger":
    ctypes.CDLL("libgomp.so.1", ctypes.RTLD_GLOBAL)       # whose names come before ours
import fastnn
from fastnn import _core
_core.always_team(True)
tasks = lambda: len(os.listdir("/proc/self/task"))
fastnn.set_num_threads(1)
x = fastnn.randn(300, 70)
right = (x @ x.T).softmax(1).numpy().tobytes()
alone = tasks()

def work():
    for n in (2, 5, 3, 3, 1, 2):
        fastnn.set_num_threads(n)
        assert (x @ x.T).softmax(1).numpy().tobytes() == right
    assert tasks() > alone

thread = threading.Thread(target=work)
thread.start()
thread.join()
deadline = time.monotonic() + 20
while tasks() > alone and time.monotonic() < deadline:
    time.sleep(0.01)
assert tasks() == alone, (tasks(), alone)                 # a crew ends with its caller
work()
time.sleep(0.05)
before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
time.sleep(0.5)
spent = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
assert spent < 0.02, spent                                # idle workers sleep
work()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
@pytest.mark.parametrize("beside", ["nobody", "stranger"])
@kernels
def test_workers_come_with_their_caller_sleep_and_go(beside: str) -> None:
    subprocess.run([sys.executable, "-c", CREWS, beside], check=True, timeout=120)


def test_import_leaves_the_environment_alone() -> None:
    code = "import os; before = dict(os.environ); import fastnn; assert before == dict(os.environ)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers of our own on Linux only")
def test_no_region_of_libgomp_is_started() -> None:
    """Its idle workers would spin for milliseconds, and nobody tells it not to."""
    assert b"GOMP_parallel" not in Path(_core.__file__).read_bytes()


# ---- many callers


@kernels
def test_sixteen_threads_share_one_model() -> None:
    model = classifier().eval()
    batches = [fastnn.randn(n, 64) for n in (1, 3, 64, 200)]

    def infer(i: int) -> list[bytes]:
        out = []
        for x in batches[i % 4:] + batches[:i % 4]:
            with fastnn.no_grad():
                out.append((x.shape[0], model(x).numpy().tobytes()))
        return sorted(out)

    serial = infer(0)
    for result in together(16, infer):
        assert result == serial


def train(seed: int, steps: int = 8) -> list[bytes]:
    generator = fastnn.Generator().manual_seed(seed)
    model = classifier()
    for p in model.parameters():
        with fastnn.no_grad():
            p.copy_(fastnn.randn(*p.shape, generator=generator) * 0.05)
    x = fastnn.randn(96, 64, generator=generator)
    y = fastnn.randint(0, 10, (96,), generator=generator)
    opt = optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(steps):
        opt.zero_grad()
        F.cross_entropy(model(x), y).backward()
        opt.step()
    return [p.detach().numpy().tobytes() for p in model.parameters()]


@kernels
def test_sixteen_threads_train_sixteen_models() -> None:
    serial = [train(i) for i in range(16)]
    assert together(16, train) == serial
    assert len({s[0] for s in serial}) == 16


@kernels
def test_the_thread_count_may_change_at_any_time() -> None:
    expected = train(3)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for n in (1, 2, 3, 7):
                fastnn.set_num_threads(n)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        assert all(r == expected for r in together(4, lambda i: train(3)))
    finally:
        stop.set()
        changer.join()


# ---- other pools


STRANGER = """
import ctypes, sys
import numpy as np, fastnn
from fastnn.nn import functional as F

lib = ctypes.CDLL(sys.argv[1])
fastnn.set_num_threads(3)
fastnn.manual_seed(1)
x = fastnn.randn(300, 300)
work = lambda: [t.numpy().tobytes() for t in (x @ x, F.softmax(x, 1), x.sum(0), F.gelu(x))]
expected = work()
results = []
callback = ctypes.CFUNCTYPE(None)(lambda: results.append(work() == expected))
for _ in range(20):
    lib.call_from_team(3, callback)
assert results == [True] * 60, results
assert work() == expected
"""


@kernels
def test_calls_from_somebody_elses_openmp_team(tmp_path: Path) -> None:
    """Kernels must not share their work with a team that did not come for it."""
    library = compiled("stranger.c", tmp_path / "stranger.so", "-shared", "-fPIC")
    subprocess.run([sys.executable, "-c", STRANGER, str(library)], check=True, timeout=60)


FP_MODES = """
import ctypes, sys
import numpy as np, fastnn
from fastnn.nn import functional as F

lib = ctypes.CDLL(sys.argv[1])
def modes():
    found = (ctypes.c_uint * 3)()
    assert lib.fp_modes(3, found) == 3
    return list(found)
before = modes()
fastnn.set_num_threads(3)
fastnn._core.always_team(True)
x = fastnn.randn(100, 100, requires_grad=True)
loss = F.gelu(x @ x).sum()
assert modes() == before
loss.backward()
assert modes() == before
assert (fastnn.tensor([1e-40]) * 1.0).item() == 0          # inside, denormals are flushed
assert np.float32(1e-40) * np.float32(1) != 0              # outside, they are not
"""


@kernels
def test_every_worker_keeps_its_floating_point_mode(tmp_path: Path) -> None:
    library = compiled("stranger.c", tmp_path / "stranger.so", "-shared", "-fPIC")
    subprocess.run([sys.executable, "-c", FP_MODES, str(library)], check=True, timeout=60)


@kernels
def test_joblib_and_threadpool_limits() -> None:
    joblib = pytest.importorskip("joblib", reason="comes with scikit-learn")
    limits = pytest.importorskip("threadpoolctl", reason="comes with scikit-learn")
    expected = [train(i, 3) for i in range(4)]
    assert joblib.Parallel(n_jobs=4, backend="threading")(
        joblib.delayed(train)(i, 3) for i in range(4)) == expected
    with limits.threadpool_limits(1):
        assert train(0, 3) == expected[0]
    assert joblib.Parallel(n_jobs=2, backend="loky")(
        joblib.delayed(train)(i, 3) for i in range(4)) == expected


# ---- masks and quotas


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks here")
def test_default_threads_follow_the_affinity_mask() -> None:
    code = ("import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import fastnn; "
            "print(fastnn.get_num_threads())")
    names = {"FASTNN_NUM_THREADS", "OMP_NUM_THREADS"}
    env = {k: v for k, v in os.environ.items() if k not in names}
    out = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)
    assert out.stdout.split() == [b"1"]


def fake_system(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "cpus"),
    [("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n"}, 1.5),
     ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3.0),
     ("0::/a\n", {"a/cpu.max": "400000 100000\n", "cpu.max": "200000 100000\n"}, 2.0),
     ("0::/\n", {"cpu.max": "max 100000\n"}, None),
     ("0::/\n", {"cpu.max": "100000 0\n"}, None),
     ("4:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "50000\n",
                             "cpu/x/cpu.cfs_period_us": "100000\n"}, 0.5),
     ("4:cpu:/x\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
     ("", {}, None)],
)
def test_cgroup_quota(cgroup: str, files: dict[str, str], cpus: float | None,
                      tmp_path: Path) -> None:
    assert _startup.cpu_quota(fake_system(tmp_path, cgroup, files)) == cpus


def test_no_cgroups_no_quota(tmp_path: Path) -> None:
    assert _startup.cpu_quota(tmp_path) is None


def test_a_quota_caps_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for quota, most in ((0.5, 1), (1.5, 1), (1000.0, os.cpu_count())):
        monkeypatch.setattr(_startup, "cpu_quota", lambda quota=quota: quota)
        assert 1 <= _startup.default_threads() <= most
