"""Results that take the place of an operand: the same bits, for every op that ops.def allows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cases import all_cases
from cases.harness import Launch, garbage, launches, on_a_team, same_bits

from fastnn import _core

INFO = {op: _core.op_info(op) for op in _core.OPS}
FORWARD = [op for op in _core.OPS if INFO[op]["in_place"]]
BACKWARD = [op for op in _core.OPS if INFO[op]["in_place_bwd"] and INFO[op]["diff"]]
CASES = [c for c in all_cases()]


def runs() -> Iterator[int]:
    """Every instruction set with 1, 2, 3 and 7 threads."""
    for isa in _core.isa_names():
        _core.select_isa(isa)
        yield from (1, 2, 3, 7)


def alike(a: Any, b: Any) -> bool:
    return a is not None and a.size == b.size and a.dtype == b.dtype


def launched(op: str) -> list[Launch]:
    return [x for c in CASES if c.op == op for x in launches(c)]


def run(x: Launch, slots: list[Any], grads: Any, threads: int) -> None:
    with on_a_team():
        _core.unchecked_launch(_core.OPS[x.op], slots, grads, len(x.ins), x.dim, x.f,
                               backward=grads is not None, threads=threads)


@pytest.mark.parametrize("op", FORWARD)
def test_an_output_over_an_input(op: str) -> None:
    """Also where the input is there twice, as in x * x."""
    places = 0
    for x in launched(op):
        for j in [j for j, a in enumerate(x.ins) if alike(a, x.outs[0])]:
            places += x.outs[0].size > 0
            for twice in {False, len(x.ins) > 1 and alike(x.ins[j - 1], x.ins[j])}:
                values = [x.ins[j] if twice and alike(a, x.ins[j]) else a for a in x.ins]
                for threads in runs():
                    apart = [a.copy() for a in values] + [garbage(y) for y in x.outs]
                    run(x, apart, None, threads)
                    over = [a.copy() for a in values] + [garbage(y) for y in x.outs]
                    if twice:
                        over[:len(values)] = [over[j] if v is x.ins[j] else a
                                              for a, v in zip(over, values, strict=False)]
                    over[len(x.ins)] = over[j]
                    run(x, over, None, threads)
                    for a, b in zip(apart[len(x.ins):], over[len(x.ins):], strict=True):
                        assert same_bits(a, b), f"over input {j}, {threads} threads"
    assert places, f"no case of {op} has an input of its output's size"


def test_one_that_may_not_is_found() -> None:
    with pytest.raises(AssertionError, match="over input"):
        test_an_output_over_an_input("strided")


@pytest.mark.parametrize("op", BACKWARD)
def test_a_gradient_over_what_backward_reads(op: str) -> None:
    places = 0
    for x in launched(op):
        gouts = x.output_gradients(np.random.default_rng(8))
        for j in x.differentiable():
            want = [i == j for i in range(len(x.ins))]
            outs = x.kernel(1)[0]
            read = x.hide(x.ins, 0, want) + x.hide(outs, len(x.ins), want) + [gouts[0]]
            for k in [k for k, a in enumerate(read) if alike(a, x.ins[j])]:
                if not alike(x.outs[0], x.ins[j]) and k == len(read) - 1:
                    continue
                places += x.ins[j].size > 0
                for threads in runs():
                    results = []
                    for over in (False, True):
                        own = [None if a is None else a.copy() for a in read]
                        grads: list[Any] = [None] * len(x.ins)
                        grads[j] = own[k] if over else garbage(x.ins[j])
                        rest = [None if g is None else g.copy() for g in gouts[1:]]
                        run(x, own[:-1], [*grads, own[-1], *rest], threads)
                        results.append(grads[j])
                    assert same_bits(*results), f"gradient {j} over {k}, {threads} threads"
    assert places, f"no case of {op} has an operand of its gradient's size"
