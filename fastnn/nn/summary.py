"""The table behind ``Module.summary``: one traced forward pass, measured layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import _core
from .._core import Tensor, as_tensor

if TYPE_CHECKING:
    from .module import Module


@dataclass
class Row:
    """One module: what is its own, without the modules below it."""

    name: str
    kind: str
    shape: str = "-"
    parameters: int = 0
    flops: float = 0.0


@dataclass(repr=False)
class Summary:
    """Rows per module in order of registration, and totals; str() is the table.

    parameters counts shared ones once; flops are those of one forward pass; nbytes is the memory of
    parameters and buffers.
    """

    rows: list[Row]
    parameters: int
    trainable: int
    nbytes: int
    flops: float = field(init=False)

    def __post_init__(self) -> None:
        self.flops = sum(r.flops for r in self.rows)

    def __repr__(self) -> str:
        return f"Summary(parameters={self.parameters:,}, flops={self.flops:,.0f})"

    def __str__(self) -> str:
        head = ("Layer", "Output shape", "Parameters", "FLOPs")
        cells = [(r.name, r.shape, f"{r.parameters:,}" if r.parameters else "-",
                  _si(r.flops) if r.flops else "-")
                 for r in self.rows]
        widths = [max(len(c[i]) for c in (head, *cells)) for i in range(4)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip()
                 for a, b, c, d in (head, *cells)]
        rule = "-" * (sum(widths) + 6)
        total = (f"{self.parameters:,} parameters ({self.trainable:,} trainable), "
                 f"{self.nbytes / 1e6:.2f} MB, {_si(self.flops)} FLOPs per forward pass")
        return "\n".join([lines[0], rule, *lines[1:], rule, total])


def summarize(model: Module, example: Any) -> Summary:
    """Run model once on example (see Module.summary) and tell where time and memory go."""
    modules = dict(model.named_modules())
    rows = {
        id(m): Row(_label(name, m), type(m).__name__, parameters=sum(p.numel() for p in own))
        for (name, m), own in zip(modules.items(), _own_parameters(model), strict=True)
    }
    training = [(m, m.training) for m in modules.values()]
    recording = _core.set_grad_enabled(False)
    model.eval()
    try:
        with _traced(modules.values(), rows):
            model(*_arguments(example))
    finally:
        _core.set_grad_enabled(recording)
        for m, mode in training:
            m.training = mode
    parameters = list(model.parameters())
    return Summary(
        list(rows.values()),
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        sum(t.nbytes for t in parameters) + sum(t.nbytes for t in model.buffers()),
    )


def _label(name: str, module: Module) -> str:
    """`fc1 (Linear)`, indented by depth."""
    if not name:
        return type(module).__name__
    return "  " * (name.count(".") + 1) + f"{name.rpartition('.')[2]} ({type(module).__name__})"


def _own_parameters(model: Module) -> Iterator[list[Tensor]]:
    """Each module's parameters, without those of modules below and those already counted."""
    seen: set[int] = set()
    for module in model.modules():
        own: list[Tensor] = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        seen.update(id(p) for p in own)
        yield own


def _arguments(example: Any) -> tuple[Any, ...]:
    """The inputs meant by an example: a tensor, a tuple of tensors, or a shape."""
    if isinstance(example, (tuple, list)):
        if all(hasattr(s, "__index__") and not isinstance(s, Tensor) for s in example):
            zeros = _core.empty(tuple(example))
            zeros.numpy().fill(0)
            return (zeros,)
        return tuple(as_tensor(x) for x in example)
    return (as_tensor(example),)


@contextmanager
def _traced(modules: Any, rows: dict[int, Row]) -> Iterator[None]:
    """Let every module, while the block runs, write its output's shape and FLOPs into its row.

    Launches are captured; at each entry into and exit from a module those since the last such
    moment belong to the innermost module that was running.
    """
    running: list[Row] = []

    def settle() -> None:
        launches = _core.capture(True) or []
        if running:
            running[-1].flops += sum(_core.flops(op, dim) for op, _, _, _, dim, _ in launches)

    def trace(module: Module, row: Row) -> None:
        forward = module.forward

        def traced(*args: Any, **kwargs: Any) -> Any:
            settle()
            running.append(row)
            try:
                output = forward(*args, **kwargs)
                settle()
            finally:
                running.pop()
            row.shape = _shape(output)
            return output

        module.__dict__["forward"] = traced     # found before the class's own

    own = {m: m.__dict__.get("forward") for m in modules}
    before = _core.capture(True)
    try:
        for m in own:
            trace(m, rows[id(m)])
        yield
    finally:
        _core.capture(before is not None)
        for m, forward in own.items():
            del m.__dict__["forward"]
            if forward is not None:
                m.__dict__["forward"] = forward


def _shape(output: Any) -> str:
    if isinstance(output, Tensor):
        return str(output.shape)
    if isinstance(output, (tuple, list)):
        return ", ".join(_shape(x) for x in output)
    return type(output).__name__


def _si(n: float) -> str:
    """1234567 -> 1.23 M"""
    for unit in ("", " k", " M", " G"):
        if n < 999.5:
            return f"{n:.3g}{unit}"
        n /= 1000
    return f"{n:,.3g} T"
