"""fastnn.profile: what it counts, where it says time went, and the files it writes."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter

import pytest

import fastnn
from fastnn import _core, nn
from fastnn.nn import functional as F
from fastnn.profiler import ARITHMETIC, Event, report, roofline, roofs, trace
from fastnn.profiler.roofs import Roofs

MACHINE = Roofs(2, "avx512", 200e9, (1 << 14, 1 << 18, 1 << 22, 1 << 27), (4e11, 2e11, 1e11, 4e10),
                (4e11, 2e11, 1e11, 8e10), (("L1", 1 << 15), ("L2", 1 << 20), ("L3", 1 << 25)))


@pytest.fixture(autouse=True)
def one_machine(monkeypatch):
    """Tables need no measurement here; test_roofs_of_this_machine makes one."""
    monkeypatch.setattr(report, "roofs", lambda: MACHINE)


class Block(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.fc = nn.Linear(n, n)
        self.act = nn.GELU()

    def forward(self, x):
        return x + self.act(self.fc(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 8)
        self.layers = nn.ModuleList([Block(8), Block(8)])
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        x = self.inner(x)
        for layer in self.layers:
            x = layer(x)
        return self.out(x)


def training(net):
    optimizer = fastnn.optim.Adam(net.parameters())

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def batch(n=4):
    fastnn.manual_seed(0)
    return fastnn.randn(n, 6), fastnn.tensor([i % 3 for i in range(n)])


def keys(events):
    return Counter((e.op, e.phase, e.module) for e in events)


def one_step(root="Net"):
    """What a step of Net launches."""
    expected = Counter()
    for module in ("inner", "layers.0.fc", "layers.1.fc", "out"):
        expected["linear", "forward", f"{root}.{module}"] = 1
        expected["linear", "backward", f"{root}.{module}"] = 1
    for i in (0, 1):
        for phase in ("forward", "backward"):
            expected["gelu", phase, f"{root}.layers.{i}.act"] = 1
            expected["add", phase, f"{root}.layers.{i}"] = 1
    for phase in ("forward", "backward"):
        expected["cross_entropy", phase, ""] = 1
    expected["adam", "forward", "optimizer"] = 1
    return expected


# ---------------------------------------------------------------- counts and names

def test_eager_step_is_counted_exactly():
    step, (x, y) = training(Net()), batch()
    step(x, y)
    with fastnn.profile() as prof:
        for _ in range(3):
            step(x, y)
    assert keys(prof.events) == Counter({k: 3 * n for k, n in one_step().items()})
    assert not any(e.replayed for e in prof.events)


def test_replay_keeps_the_modules_of_the_recording():
    step, (x, y) = fastnn.compile(training(Net()), fuse=False), batch()
    step(x, y)
    step(x, y)
    with fastnn.profile() as prof:
        for _ in range(3):
            step(x, y)
    found = keys(e for e in prof.events if e.op != "cast")      # labels become int32 in C, too
    assert found == Counter({k: 3 * n for k, n in one_step().items()})
    assert all(e.replayed for e in prof.events)


def test_eager_and_replay_agree_on_flops_and_bytes():
    plain, (x, y) = training(Net()), batch()
    found = []
    for step in (plain, fastnn.compile(plain, fuse=False)):
        step(x, y)
        step(x, y)                          # gradients are where the optimizer wants them
        with fastnn.profile() as prof:
            step(x, y)
        found.append(Counter((e.op, e.phase, e.module, e.flops, e.nbytes) for e in prof.events
                             if e.op != "cast"))
    assert found[0] == found[1]


def test_the_recording_call_is_profiled_too():
    step, (x, y) = fastnn.compile(training(Net()), fuse=False), batch()
    with fastnn.profile() as prof:
        step(x, y)
    assert not keys(e for e in prof.events if e.op not in ("cast", "copy")) - one_step()
    assert not one_step() - keys(prof.events)


def test_numpy_backend():
    from fastnn import reference

    step, (x, y) = training(Net()), batch()
    step(x, y)
    _core.use_reference(reference.table(_core.OPS))
    try:
        with fastnn.profile() as prof:
            step(x, y)
    finally:
        _core.use_reference(None)
    assert keys(prof.events) == one_step()
    assert all(e.time > 0 for e in prof.events)


def test_two_models_of_one_class_have_names_of_their_own():
    first, second, (x, _) = Net(), Net(), batch()
    with fastnn.profile() as prof:
        second(first(x).matmul(fastnn.ones(3, 6)))
    assert {e.module.split(".")[0] for e in prof.events} == {"", "Net", "Net(2)"}


def test_a_module_made_anew_is_found_under_its_new_name():
    net, (x, _) = Net(), batch()
    with fastnn.profile() as prof:
        net(x)
        net.last = net.out
        del net.out
        net.forward = lambda x: net.last(net.inner(x))
        net(x)
    names = [e.module for e in prof.events]
    assert "Net.out" in names[:-1] and names[-1] == "Net.last"


def test_every_module_call_ends_though_it_raises():
    net = Net()
    with fastnn.profile() as prof:
        with pytest.raises(fastnn.ShapeError):
            net(fastnn.ones(4, 5))
        fastnn.ones(2, 2).exp()
    assert [(e.op, e.module) for e in prof.events if e.op == "exp"] == [("exp", "")]
    assert [s.name for s in prof.spans] == ["Net.inner", "Net"]


def test_a_profile_may_begin_and_end_inside_a_module():
    class Inside(nn.Module):
        def forward(self, x):
            with fastnn.profile() as prof:
                x.exp()
            self.prof = prof
            return x.exp()

    inside = Inside()
    with pytest.raises(RuntimeError, match="profile: got one inside"), fastnn.profile():
        inside(fastnn.ones(2))
    inside(fastnn.ones(2))
    assert [e.op for e in inside.prof.events] == ["exp"]
    with fastnn.profile() as prof:
        fastnn.ones(2).exp()
    assert prof.events[-1].module == ""


def test_profiles_do_not_nest_and_an_error_ends_one():
    with fastnn.profile() as prof:
        with pytest.raises(RuntimeError, match="profile: got one inside, or beside, another"):
            fastnn.profile().__enter__()
        with pytest.raises(RuntimeError, match="before the end"):
            prof.table()
    with pytest.raises(ZeroDivisionError), fastnn.profile():
        raise ZeroDivisionError
    with fastnn.profile() as again:
        fastnn.ones(3).exp()
    assert [e.op for e in again.events if e.op == "exp"] == ["exp"]
    with pytest.raises(RuntimeError, match="before the end"):
        fastnn.profile().table()


def test_threads_have_numbers_and_names():
    def work():
        for _ in range(50):
            fastnn.ones(64, 64).matmul(fastnn.ones(64, 64))

    threads = [threading.Thread(target=work, name=f"worker {i}") for i in range(3)]
    with fastnn.profile() as prof:
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert sorted(name for _, name in prof.threads) == ["worker 0", "worker 1", "worker 2"]
    calls = Counter(e.thread for e in prof.events if e.op == "matmul")
    assert list(calls.values()) == [50, 50, 50]
    assert report.busy_seconds(prof.events) <= prof.wall


def test_shapes_are_kept_on_request():
    x = fastnn.ones(3, 4)
    with fastnn.profile(record_shapes=True) as prof:
        x.matmul(fastnn.ones(4, 5))
    with fastnn.profile() as plain:
        x.exp()
    assert prof.events[-1].shapes == ((3, 4), (4, 5)) and plain.events[0].shapes is None


# ---------------------------------------------------------------- flops, bytes, time

@pytest.mark.parametrize("m, n, k", [(2, 3, 5), (64, 32, 48), (1, 7, 1)])
def test_flops_of_products_are_those_of_the_formula(m, n, k):
    a, b = fastnn.ones(m, k, requires_grad=True), fastnn.ones(k, n, requires_grad=True)
    with fastnn.profile() as prof:
        a.matmul(b).sum().backward()
        F.linear(a.detach(), b.detach().t().contiguous().requires_grad_()).sum().backward()
    flops = {(e.op, e.phase): e.flops for e in prof.events}
    assert flops["matmul", "forward"] == flops["linear", "forward"] == 2 * m * n * k
    assert flops["matmul", "backward"] == 4 * m * n * k         # both gradients
    assert flops["linear", "backward"] == 2 * m * n * k         # that of the weight only


def test_bytes_are_those_of_the_operands():
    x, n = fastnn.ones(300, 4, requires_grad=True), 1200
    with fastnn.profile() as prof:
        (x.relu() * fastnn.tensor(2.0)).sum().backward()
    nbytes = {(e.op, e.phase): e.nbytes for e in prof.events}
    assert nbytes["relu", "forward"] == 8 * n
    assert nbytes["relu", "backward"] == 12 * n                 # y and dy in, dx out
    assert nbytes["mul", "forward"] == 8 * n + 4                # one factor is a scalar


def test_arithmetic_is_what_grows_faster_than_memory():
    """Twice the size: a product whose flops grow faster than its bytes is COMPUTES in ops.def."""
    from cases import all_cases
    found = set()
    for case in all_cases():
        if case.op in found:
            continue
        inputs = [fastnn.as_tensor(x) for x in case.inputs(_rng())]
        _core.capture(True)
        try:
            case.fn(*inputs)
        finally:
            captured = _core.capture(False)
        for op, _, _, _, dim, _ in captured:
            if _core.op_info(op)["diff"] & 3 != 3:      # of one operand, as a pool: no product
                continue
            small, large = ([d * s if d > 2 else d for d in dim] for s in (1, 2))
            if _ratio(op, small) and _ratio(op, large) > 1.3 * _ratio(op, small):
                found.add(op)
    assert found - ARITHMETIC == set()
    assert {"matmul", "linear"} <= found and ARITHMETIC <= set(_core.OPS)


def _rng():
    import numpy as np
    return np.random.default_rng(0)


def _ratio(op, dim):
    nbytes = _core.bytes_moved(op, dim)
    return _core.flops(op, dim) / nbytes if nbytes else 0.0


def test_kernels_fill_the_wall_of_a_loop_of_big_products():
    a = fastnn.ones(512, 512)
    a.matmul(a)
    with fastnn.profile() as prof:
        for _ in range(10):
            a.matmul(a)
    rows = prof.by_op()
    assert 0.7 * prof.wall < rows.busy <= prof.wall
    assert rows.busy == pytest.approx(sum(e.time for e in prof.events))
    assert 0 < rows[0].flop_rate < 1e13


@pytest.mark.parametrize("poll_ns", [2e7, 1.0])         # signals are looked at never, and always
def test_times_lie_inside_the_block_in_order(poll_ns):
    (x, y), before = batch(), _core.poll_signals_every(poll_ns)
    try:
        step = fastnn.compile(training(Net()))
        step(x, y)
        with fastnn.profile() as prof:
            step(x, y)
    finally:
        _core.poll_signals_every(before)
    end = 0.0
    for e in prof.events:
        assert e.time >= 0 and e.begin >= end - 1e-12
        end = e.begin + e.time
    assert end <= prof.wall


# ---------------------------------------------------------------- tables

def event(op="exp", phase="forward", module="", begin=0.0, time=1e-3, flops=None, nbytes=1e6,
          in_place=False):
    return Event(op, phase, module, 0, begin, time, flops, nbytes, False, in_place, None, None)


class Recorded:
    """A profile of given events."""

    threads = [(7, "main")]
    spans = ()

    def __init__(self, *events, wall=1.0):
        self.events, self.wall = events, wall


def test_rows_add_up():
    rows = report.by_op(Recorded(event(time=0.2), event(time=0.1, begin=0.3),
                                 event("matmul", time=0.4, begin=0.5, flops=40e9, nbytes=1e3),
                                 event(phase="backward", time=0.05, begin=0.95)))
    assert [(r.name, r.calls, r.time) for r in rows] == [
        ("exp", 2, pytest.approx(0.3)), ("matmul", 1, 0.4), ("exp backward", 1, 0.05)]
    matmul = rows[1]
    assert (matmul.flop_rate, matmul.limit, matmul.of_roof) == (1e11, "FMA", pytest.approx(0.5))
    assert rows[0].flop_rate is None and rows[0].byte_rate == pytest.approx(2e6 / 0.3)
    text = rows.table("time")
    assert [line.split()[0] for line in text.splitlines()[2:5]] == ["matmul", "exp", "exp"]
    assert "in kernels" in text and "75.0%" in text and "25.0%" in text and "1 s" in text


def test_roof_follows_the_memory_that_holds_the_operands():
    assert MACHINE.limit(None, 1 << 14, False) == (pytest.approx((1 << 14) / 4e11), "L1")
    assert MACHINE.limit(None, 1 << 30, False) == (pytest.approx((1 << 30) / 4e10), "DRAM")
    assert MACHINE.limit(None, 1 << 30, True) == (pytest.approx((1 << 30) / 8e10), "DRAM")
    assert 1e11 < MACHINE.bandwidth(1 << 20) < 2e11 and MACHINE.level(1 << 20) == "L2"
    assert MACHINE.limit(1e9, 1e6, False) == (pytest.approx(5e-3), "FMA")


def test_impossible_rates_are_not_shown_as_figures():
    text = report.by_op(Recorded(event(time=1e-9, nbytes=1e9))).table()
    assert ">100%" in text


def test_module_rows_contain_those_below_and_both_phases():
    rows = report.by_module(Recorded(
        event(module="Net.a.b", time=0.1), event(module="Net.c", time=0.2),
        event(module="Net.a.b", phase="backward", time=0.3), event(module="optimizer", time=0.1),
        event(time=0.05)))
    assert {r.name: (r.calls, round(r.time, 3), round(r.backward, 3)) for r in rows} == {
        "Net": (3, 0.6, 0.3), "Net.a": (2, 0.4, 0.3), "Net.a.b": (2, 0.4, 0.3),
        "Net.c": (1, 0.2, 0.0), "optimizer": (1, 0.1, 0.0), "(no module)": (1, 0.05, 0.0)}
    assert [r.name for r in rows][:3] == ["Net", "Net.a", "Net.a.b"]
    assert "backward" in str(rows)


@pytest.mark.parametrize("sort_by", report.SORTS)
def test_every_order(sort_by):
    rows = report.by_op(Recorded(event(), event("matmul", flops=1e6), event("add", time=2e-3)))
    assert len(rows.table(sort_by).splitlines()) == len(rows.table(sort_by, 2).splitlines())
    assert "... and 1 more" in rows.table(sort_by, 2)


def test_orders_that_do_not_exist_are_named():
    with pytest.raises(ValueError, match="table: sort_by: got 'cuda'; need one of time, calls"):
        report.by_op(Recorded(event())).table("cuda")


def test_nothing_ran():
    with fastnn.profile() as prof:
        pass
    assert prof.events == [] and "outside" in prof.table() and "wall" in str(prof.by_module())
    assert str(prof.key_averages()) == str(prof.by_op())


def test_roofs_of_this_machine():
    roof = roofs.roofs()
    assert roof is roofs.roofs()
    assert 1e8 < roof.flops < 1e14
    assert list(roof.stream) == sorted(roof.stream, reverse=True)
    assert all(a >= b for a, b in zip(roof.update, roof.stream, strict=True))
    assert f"FMA {roof.flops / 1e9:.0f} GFLOP/s" in str(roof)


# ---------------------------------------------------------------- files

@pytest.mark.parametrize("compiled", [False, True])
def test_chrome_trace(tmp_path, compiled):
    step, (x, y) = training(Net()), batch()
    step = fastnn.compile(step, fuse=False) if compiled else step
    step(x, y)
    step(x, y)
    with fastnn.profile(record_shapes=True) as prof:
        step(x, y)
        step(x, y)
    prof.export_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    check_format(events)
    complete = [e for e in events if e["ph"] == "X"]
    records = [e for e in complete if e["cat"] in ("forward", "backward")]
    assert len(records) == len(prof.events)
    assert sum(e["dur"] for e in records) == pytest.approx(1e6 * sum(e.time for e in prof.events))
    names = Counter(e["name"] for e in complete)
    assert names["linear"] == names["linear backward"] == 8
    assert names["Net.layers.0 backward"] == 2 and names["Net.layers.0.fc"] == 2
    assert names["replay"] == (2 if compiled else 0)
    assert all(e["args"]["module"] in ("", "optimizer") or
               any(inside(e, m) for m in complete if m["name"].startswith(e["args"]["module"]))
               for e in records)
    assert any(e["ph"] == "C" and e["args"]["MB"] > 0 for e in events)


def check_format(events):
    """Trace Event Format: required keys, and complete events of a thread that nest."""
    tids = set()
    for e in events:
        assert {"ph", "name", "pid"} <= e.keys()
        if e["ph"] == "X":
            assert {"ts", "dur", "tid", "cat", "args"} <= e.keys()
            assert e["ts"] >= 0 and e["dur"] >= 0
            tids.add(e["tid"])
        elif e["ph"] == "C":
            assert {"ts", "args"} <= e.keys()
        else:
            assert e["ph"] == "M" and e["name"] in ("process_name", "thread_name")
    for tid in tids:
        around = []
        for e in sorted((e for e in events if e["ph"] == "X" and e["tid"] == tid),
                        key=lambda e: (e["ts"], -e["dur"])):
            end = ns(e["ts"]) + ns(e["dur"])
            while around and around[-1] <= ns(e["ts"]):
                around.pop()
            assert not around or end <= around[-1], e
            around.append(end)


def ns(us):
    return round(1000 * us)


def inside(e, m):
    return ns(m["ts"]) <= ns(e["ts"]) and ns(e["ts"] + e["dur"]) <= ns(m["ts"] + m["dur"])


def test_a_planted_overlap_is_found():
    bad = [trace._complete(n, "module", b, t, 1, 1, {}) for n, b, t in
           (("a", 0.0, 2e-6), ("b", 1e-6, 2e-6))]
    with pytest.raises(AssertionError):
        check_format(bad)


def test_roofline_is_a_picture_without_text_on_text(tmp_path):
    pytest.importorskip("matplotlib")
    step, (x, y) = training(Net()), batch()
    with fastnn.profile() as prof:
        step(x, y)
    prof.roofline(tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")


def test_labels_keep_clear_of_each_other():
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(6, 5))
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    canvas = FigureCanvasAgg(figure)
    axis = figure.subplots()
    dots = [roofline.Dot(1e5 * 1.1**i, 10 + i, 0.1, f"an op called {i}", bool(i % 2))
            for i in range(10)]
    axis.plot([1e3, 1e8], [50, 50], label="a roof")
    roofline._finish(axis, dots, (1e3, 1e8), (1, 1e3), "lower left")
    canvas.draw()
    roofline._name_dots(axis, dots, canvas.get_renderer())
    boxes = [t.get_window_extent(canvas.get_renderer()) for t in axis.texts if t.get_text()]
    assert len(boxes) == 10
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_without_matplotlib_the_install_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with fastnn.profile() as prof:
        fastnn.ones(2).exp()
    with pytest.raises(ModuleNotFoundError, match=r'pip install "fastnn-engine\[plot\]"'):
        prof.roofline(tmp_path / "roofline.png")
