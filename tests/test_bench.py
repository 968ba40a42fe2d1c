"""The benchmark: its table, the turns of its workers, ratios, verdicts. No test depends on time."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import _core

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from bench import cli, compare, machine, memory, peers, report  # noqa: E402
from bench.peers import OURS, ROOF, Job  # noqa: E402
from bench.rows import ROWS, Row, select  # noqa: E402
from bench.runner import Process, Settings, Team, WorkerError, measure  # noqa: E402
from bench.worker import Worker, calls_for  # noqa: E402

# ---------------------------------------------------------------- the table


def test_ids_are_unique_and_nothing_is_lost():
    ids = [r.id for r in ROWS]
    assert len(ids) == len(set(ids))
    goals = {r.id: r.goal for r in ROWS if r.goal is not None}
    assert goals == {
        "mlp-tiny": 3.0, "mlp-mnist": 2.0, "mlp-wide": 1.1, "mlp-b1": 2.0,
        "lenet": 2.0, "resnet18-cifar": 1.8, "resnet18-224-b1": 1.4, "vgg16-224-b1": 1.5,
        "matmul-32": 1.5, "matmul-64": 1.5, "matmul-128": 1.1, "matmul-256": 1.0,
        "matmul-512": 0.97, "matmul-1024": 0.97, "matmul-2048": 0.97,
        "linear-m1-n1024-k1024": 1.5, "linear-m8-n4096-k1024": 1.5, "linear-m64-n256-k784": 1.15,
        "linear-m128-n768-k3072": 1.15, "linear-m4096-n64-k576": 1.15,
        "softmax": 1.3, "gelu": 1.3, "tanh": 1.3, "relu": 1.3, "adamw-8m": 1.0, "add-4x4": 5,
        "layernorm": 1.3,
        "conv-64-56": 1.5, "conv-64-56-bwd": 1.5, "conv-256-14": 1.3, "conv-256-14-bwd": 1.3,
        "conv-stem": 1.5, "conv-stem-bwd": 1.5, "conv-pointwise": 1.1, "conv-pointwise-bwd": 1.5,
        "conv-depthwise": 1.1, "conv-depthwise-bwd": 1.8, "conv-mnist": 1.3, "conv-mnist-bwd": 2.0}


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.id)
def test_rows_are_well_formed(row):
    assert row.group in ("training", "inference", "kernels")
    assert row.mode in ("forward", "eager", "backward", "step", "optimizer")
    assert row.stream in ("read", "triad", "update")
    assert row.what and row.flops >= 0 and row.bytes >= 0
    assert (row.flops or row.bytes) or row.mode == "eager", "a row needs a roof"


def test_arrays_are_the_same_in_every_process():
    for r in select(["mlp-tiny", "embedding"]):
        (a, b), (c, d) = r.arrays(), r.arrays()
        assert all(np.array_equal(x, y) for x, y in zip(a + b, c + d, strict=True))


def small(row):
    shapes = [getattr(a, "shape", a) for a in (*row.inputs, *row.weights)]
    return row.flops < 1e9 and sum(np.prod(s, dtype=float) for s in shapes) < 1e7


@pytest.mark.parametrize("row", [r for r in ROWS if small(r)], ids=lambda r: r.id)
def test_fastnn_builds_and_runs_a_row(row):
    job = peers.load(OURS, fastnn.get_num_threads()).build(row)
    with job.context:
        assert np.isfinite(job.value(job.run()))


def test_flops_of_a_step_are_those_of_its_products():
    row = next(r for r in ROWS if r.id == "mlp-tiny")
    assert row.flops == 16 * (6 * (32 * 32 + 32 * 2) - 2 * 32 * 32)


def test_select():
    assert [r.id for r in select(["matmul-64", "gelu"])] == ["matmul-64", "gelu"]
    assert len(select(["matmul"])) == 7
    assert [r.id for r in select(["*-mnist"])] == ["mlp-mnist", "conv-mnist"]
    assert {r.group for r in select(["training"])} == {"training"}
    assert select([]) == ROWS
    with pytest.raises(ValueError, match="rows: got 'poetry'; need one of mlp-tiny"):
        select(["poetry"])


@pytest.mark.parametrize("kind, per_element", [("read", 4), ("triad", 4), ("update", 7)])
@pytest.mark.parametrize("isa", _core.isa_names())
def test_roof_counts_its_work(isa, kind, per_element):
    _core.select_isa(isa)
    fastnn.set_num_threads(2)
    n = 1 << 12
    assert _core.roof(kind, fastnn.zeros(n), n, 3) == per_element * n * 3
    assert _core.roof("fma", fastnn.zeros(1), 10, 1) % (2 * 16 * 10 * 2) == 0
    with pytest.raises(ValueError, match="roof: x: got 4 elements of float32; need 4096"):
        _core.roof(kind, fastnn.zeros(4), n, 1)


# ---------------------------------------------------------------- workers


class Library:
    """An adapter whose calls return at once."""

    def build(self, row):
        if row.id == "absent":
            return None
        if row.id == "broken":
            raise RuntimeError("no such kernel\nlong story")
        return Job(lambda: 1.0, lambda out: out, scale=2.0, note="fma")


def row(name, **options):
    return Row(id=name, what=name, torch=lambda t: t.relu, **options)


def test_worker_answers_requests():
    worker = Worker(Library(), [row("good"), row("absent"), row("broken")])
    answer = worker.answer({"do": "build", "row": "good", "seconds": 1e-6})
    assert answer["value"] == 1.0 and answer["calls"] >= 1 and answer["note"] == "fma"
    assert worker.answer({"do": "sample"})["seconds"] > 0
    assert worker.answer({"do": "drop"}) == {} and worker.job is None
    assert worker.answer({"do": "build", "row": "absent", "seconds": 1e-6}) == {"absent": True}
    with pytest.raises(RuntimeError, match="no such kernel"):
        worker.answer({"do": "build", "row": "broken", "seconds": 1e-6})


def test_calls_for_counts_until_the_sample_is_long_enough(monkeypatch):
    monkeypatch.setattr("bench.worker.timed", lambda run, calls: calls * 1e-3)
    assert calls_for(None, 0.02) == 20
    assert calls_for(None, 1e-9) == 1


SPEAKER = """
import json, sys
print(json.dumps({"versions": {"fake": "1"}, "settings": ""}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "build" and request["row"] == "crash":
        sys.exit("out of luck")
    if request["do"] == "build" and request["row"] == "hang":
        continue
    if request["do"] == "build" and request["row"] == "error":
        print(json.dumps({"error": "ValueError: no"}), flush=True)
        continue
    print(json.dumps({"first": 1.0, "value": 3.0, "calls": 5, "seconds": 0.5, "note": ""}),
          flush=True)
"""


def speaker(name, timeout=30.0):
    return Process(name, Settings(timeout=timeout), command=[sys.executable, "-c", SPEAKER])


def test_a_broken_worker_costs_its_row_only():
    with Team(["a", "b"], speaker) as team:
        assert team.about["a"]["versions"] == {"fake": "1"} and not team.missing
        results = measure(team, row("crash"), Settings(repeats=3), "a")
        assert results["a"]["error"] == "died with status 1: out of luck"
        results = measure(team, row("error"), Settings(repeats=3), "a")
        assert results["b"] == {"error": "ValueError: no"}
        results = measure(team, row("fine"), Settings(repeats=3), "a")
        assert results["a"]["samples"] == results["b"]["samples"] == [0.5] * 3
        assert set(team.idle_share()) == {"a", "b"}


def test_a_worker_that_does_not_answer_is_given_up():
    with Team(["a"], lambda name: speaker(name, timeout=30)) as team:
        team.workers["a"].timeout = 0.05
        results = measure(team, row("hang"), Settings(repeats=3), "a")
        assert results["a"]["error"] == "no answer within 0.05 s"
        assert not team.workers["a"].alive


def test_a_missing_library_is_named():
    def start(name):
        return Process(name, Settings(), command=[sys.executable, "-c", (
            'print(\'{"missing": "no module jax"}\')' if name == "jax" else SPEAKER)])

    with Team(["a", "jax"], start) as team:
        assert team.missing == {"jax": "no module jax"} and set(team.workers) == {"a"}


class Fake:
    """A worker in this process: its samples are drawn, not measured."""

    def __init__(self, name, seconds, value=1.0, order=None, seed=0):
        self.name, self.seconds, self.value, self.order = name, seconds, value, order
        self.rng, self.alive = random.Random(seed), True

    def answer(self):
        return {"versions": {}, "settings": ""}

    def ask(self, do, **_):
        if do == "sample":
            if self.order is not None:
                self.order.append(self.name)
                if len(self.order) == 4:
                    raise KeyboardInterrupt
            noise = self.rng.gauss(0, 0.02) + (0.5 if self.rng.random() < 0.05 else 0)
            return {"seconds": self.seconds * (1 + noise)}
        return {"first": 1.0, "value": self.value, "calls": 1, "note": ""}

    def settle(self):
        pass

    def cpu_seconds(self):
        return 0.0

    def close(self):
        pass


def test_workers_take_turns_and_an_interrupt_keeps_what_there_is():
    order = []
    with Team("abc", lambda name: Fake(name, 1.0, order=order)) as team, \
            pytest.raises(KeyboardInterrupt) as caught:
        measure(team, row("r"), Settings(repeats=5), "a")
    assert "".join(order) == "bcac"
    assert [len(caught.value.args[0][n]["samples"]) for n in "abc"] == [1, 1, 1]


def test_who_computes_something_else_is_not_timed():
    values = {"ours": 1.0, "same": 1.001, "lazy": 0.5}
    with Team(list(values), lambda name: Fake(name, 1.0, values[name])) as team:
        results = measure(team, row("r"), Settings(repeats=2), "ours")
        assert results["lazy"] == {"error": "computes 0.5, ours 1"}
        assert len(results["same"]["samples"]) == 2
        results = measure(team, row("r", deterministic=False), Settings(repeats=2), "ours")
        assert "samples" in results["lazy"]


def test_threads_are_set_for_every_library():
    env = machine.environment(3, "avx2")
    assert all(env[v] == "3" for v in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "FASTNN_NUM_THREADS",
                                       "NPROC"))
    assert env["FASTNN_ISA"] == "avx2"


# ---------------------------------------------------------------- the report

STORED = {
    "format": 1, "started": "2026-01-02T03:04:05Z", "commit": "0123456789", "threads": 2,
    "repeats": 3, "machine": {"cpu": "a CPU", "system": "a system"},
    "libraries": {n: {"versions": {n: "1"}, "settings": ""} for n in (OURS, "torch", "jax", ROOF)},
    "missing": {"openvino": "no module openvino"}, "idle": {"torch": 0.5, "jax": 0.0},
    "rows": [
        {"id": "won", "what": "", "group": "kernels", "goal": 1.5, "flops": 4e9, "bytes": 1,
         "results": {OURS: {"samples": [0.9, 1.0, 1.2], "first": 2.0},
                     "torch": {"samples": [3.0, 3.0, 3.0], "first": 1.0},
                     "jax": {"samples": [2.0, 1.9, 2.1], "first": 1.0},
                     ROOF: {"samples": [0.5, 0.5, 0.5], "first": 1.0, "note": "fma"}}},
        {"id": "lost", "what": "", "group": "training", "goal": 1.0, "flops": 0, "bytes": 3e9,
         "results": {OURS: {"samples": [1.0, 1.0, 1.0], "first": 1.0},
                     "torch": {"samples": [0.5, 0.5, 0.5], "first": 1.0},
                     "jax": {"error": "ValueError: no"},
                     ROOF: {"samples": [0.2], "first": 1.0, "note": "triad"}}},
        {"id": "alone", "what": "", "group": "kernels", "goal": 2.0, "flops": 0, "bytes": 0,
         "results": {OURS: {"samples": [1e-7], "first": 1.0}, "torch": {"absent": True},
                     ROOF: {"absent": True}}},
    ],
}


def test_ratios():
    won, lost, alone = report.lines(STORED)
    assert (won.best, won.ratio, won.met, won.of_roof) == ("jax", 2.0, True, 0.5)
    assert won.rate == "4 GFLOP/s" and won.spread[OURS] == pytest.approx(0.15)
    assert (lost.best, lost.ratio, lost.met) == ("torch", 0.5, False)
    assert lost.reachable == 2.5 and report.verdict(lost) == "MISSED"
    assert lost.rate == "3 GB/s" and lost.errors == {"jax": "ValueError: no"}
    assert alone.best is alone.ratio is alone.met is alone.of_roof is None


def test_the_table_hides_nothing(capsys, monkeypatch):
    for rich in (True, False):
        if not rich:
            monkeypatch.setitem(sys.modules, "rich.console", None)
        report.print_table(STORED)
        text = capsys.readouterr().out
        for word in ("won", "2.00", "met", "MISSED", "50% fma", "error",
                     "openvino: SKIPPED, no module openvino", "lost: jax: ERROR, ValueError: no",
                     "torch: used 50% of a CPU while others were measured",
                     "1 of 3 goals met, 1 of them not measured, 1 libraries skipped",
                     "against torch alone, eager or compiled: 1 of 2"):
            assert word in text, word


def test_the_table_for_a_page_is_the_table(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    report.print_table(STORED)
    plain, page = capsys.readouterr().out.splitlines(), report.markdown(STORED).splitlines()
    n = len(STORED["rows"])
    assert [line.replace("|", " ").split() for line in (page[0], *page[2 : n + 2])] == [
        line.split() for line in plain[: n + 1]]
    assert [line.removeprefix("- ") for line in page[n + 3 :]] == plain[n + 1 :]
    assert {line.count("|") for line in page[: n + 2]} == {page[0].count("|")}


def test_a_goal_beyond_the_roof_is_named():
    near = json.loads(json.dumps(STORED).replace('"samples": [0.2]', '"samples": [0.8]'))
    assert report.verdict(report.lines(near)[1]) == "MISSED, roof: 0.62"


def test_runs_of_one_commit_become_one():
    assert len(report.lines(report.merged([STORED, STORED]))) == 6
    with pytest.raises(ValueError, match="report: commit: got 0123456789 and other"):
        report.merged([STORED, STORED | {"commit": "other"}])


def test_durations():
    assert [report.duration(s) for s in (2.5, 0.0123, 4.56e-5, 9.9999e-4, 2.4e-7, None)] == [
        "2.5 s", "12.3 ms", "45.6 µs", "1000 µs", "240 ns", "–"]


def test_report_command_shows_and_draws_a_stored_result(tmp_path, capsys):
    file, png = tmp_path / "run.json", tmp_path / "run.png"
    file.write_text(json.dumps(STORED))
    with pytest.raises(SystemExit) as end:
        cli.main(["report", str(file), "--png", str(png)])
    assert end.value.code == 0 and "MISSED" in capsys.readouterr().out
    pytest.importorskip("matplotlib")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_run_from_end_to_end(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--rows", "add-4x4", "--peers", "--repeats", "2", "--output", str(tmp_path)])
    assert end.value.code == 0, capsys.readouterr().out
    (file,) = tmp_path.glob("*.json")
    (measured,) = json.loads(file.read_text())["rows"]
    assert len(measured["results"][OURS]["samples"]) == 2
    assert measured["results"][ROOF] == {"absent": True}


def test_an_unknown_row_is_an_error_in_words(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--rows", "nothing"])
    assert end.value.code == 2 and "rows: got 'nothing'" in capsys.readouterr().err


# ---------------------------------------------------------------- compare


def test_interval_of_the_median():
    assert compare.interval(list(range(15))) == (2, 12)      # P(at most 2 below) = 0.0037
    assert compare.interval([1.0, 2.0]) == (0.0, float("inf"))


def test_judge():
    assert compare.judge([1.2] * 15) == "slower"
    assert compare.judge([1.0] * 15) == "ok"
    assert compare.judge([0.9, 1.2] * 10) == "doubtful"
    assert compare.judge([1.0] * 14 + [9.0]) == "ok", "one outlier is noise"


@pytest.mark.parametrize("slowdown, verdict", [(1.0, "ok"), (1.02, "ok"), (0.8, "ok"),
                                               (1.1, "slower"), (2.0, "slower")])
@pytest.mark.parametrize("seed", range(5))
def test_compare_sees_a_slowdown_through_noise(slowdown, verdict, seed):
    def start(name):
        return Fake(name, slowdown if name == compare.NEW else 1.0, seed=f"{seed}{name}")

    c = compare.compare_row(start, row("r"), Settings())
    assert (c.verdict, c.failed) == (verdict, verdict == "slower")
    assert "r " in compare.describe(c)


def test_compare_asks_fresh_processes_before_it_cries_wolf():
    started = []

    def start(name):
        started.append(name)
        unlucky = name == compare.NEW and len(started) <= 2      # only in the first pair
        return Fake(name, 1.2 if unlucky else 1.0, seed=len(started))

    assert compare.compare_row(start, row("r"), Settings()).verdict == "ok"
    assert started == [compare.OLD, compare.NEW] * 2


def test_compare_tells_a_new_row_from_a_broken_one():
    class Broken(Fake):
        def ask(self, do, **_):
            raise WorkerError("ValueError: no such op")

    for name, verdict in ((compare.OLD, "skipped"), (compare.NEW, "error")):
        def start(who, name=name):
            return Broken(who, 1.0) if who == name else Fake(who, 1.0)

        c = compare.compare_row(start, row("r"), Settings())
        assert (c.verdict, c.failed) == (verdict, verdict == "error")
        assert f"{verdict.upper()}: {name}: ValueError" in compare.describe(c)


def test_compare_needs_compiled_trees(tmp_path):
    with pytest.raises(ValueError, match="got a folder without a compiled fastnn"), \
            compare.built(str(tmp_path), ROOT):
        pass
    with pytest.raises(ValueError, match="no-such-commit"), compare.built("no-such-commit", ROOT):
        pass


def test_memory_of_a_training_step(capsys):
    plan = memory.main(["resnet18", "--batch", "2", "--size", "32", "--steps", "2"])
    text = capsys.readouterr().out
    assert "step 2  loss" in text and "11,689,512 parameters" in text
    assert 0 < plan["arena"] < plan["temporaries"]
    assert plan["arena"] + 12 * 11_689_512 < plan["resident_peak"]   # weights, gradients, momenta
    assert f"{plan['arena'] / 2**20:.1f} MiB" in text
