"""``fastnn.compile``: a function over tensors, recorded once per signature and replayed in C.

The first call of a signature runs the function as it is and keeps the records of its kernels, those
of backward passes and optimizer steps too. Later calls run that list in one C call, with the same
bits, without Python. What a replay sees and does not see:

- Arguments, parameters, buffers, optimizer states, generators and learning rates are memory: their
  values are those of the moment. Schedulers step.
- Everything else that Python computes is part of the recording: branches, numbers, constants. A
  call with other shapes, dtypes or Python arguments, in another mode (train, eval, no_grad), or
  after a module got other layers or attributes records anew.
- Reading a value (``loss.item()``, ``if x > 0``) inside is an error that names the line.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection
from typing import Any, TypeVar, overload

import numpy as np

from . import _core
from ._core import FUSIONS, Tensor

__all__ = ["FUSIONS", "compile"]

F = TypeVar("F", bound=Callable[..., Any])
_OFF = os.environ.get("FASTNN_REPLAY", "1") == "0"
_FUSE = os.environ.get("FASTNN_FUSE", "1") != "0"
KEPT = 16           # programs per function, the least recently used goes


@overload
def compile(function: F, *, fuse: bool | Collection[str] = True) -> F: ...
@overload
def compile(
    function: None = None, *, fuse: bool | Collection[str] = True
) -> Callable[[F], F]: ...
def compile(function: Any = None, *, fuse: bool | Collection[str] = True) -> Any:
    """A function that does the same from recorded kernels; use it on training steps and inference.

    Returned tensors are detached. fuse: whether kernels that follow each other become one where
    that keeps every bit, or the names of the patterns to use (``fastnn.replay.FUSIONS``).
    ``describe()`` of the result tells what was recorded and fused. ``FASTNN_REPLAY=0`` in the
    environment lets the function run as it is, ``FASTNN_FUSE=0`` turns off fusion alone.

    Errors: GraphError where the function reads a value of a tensor, keeps a result anywhere but in
    its return value, or returns one whose graph still waits for backward.

    Example:
        >>> import fastnn
        >>> w = fastnn.tensor([1.0, 2.0], requires_grad=True)
        >>> sgd = fastnn.optim.SGD([w], lr=0.5)
        >>> @fastnn.compile
        ... def step(x):
        ...     sgd.zero_grad()
        ...     loss = (w * x).sum()
        ...     loss.backward()
        ...     sgd.step()
        ...     return loss
        >>> [step(fastnn.tensor([1.0, 0.0])).item() for _ in range(3)]
        [1.0, 0.5, 0.0]
    """
    if function is None:
        return functools.partial(compile, fuse=fuse)
    return functools.wraps(function)(Compiled(function, _OFF, _patterns(fuse)))


def _patterns(fuse: bool | Collection[str]) -> frozenset[str]:
    """The names of the patterns to use."""
    if isinstance(fuse, bool):
        fuse = FUSIONS if fuse else ()
    elif isinstance(fuse, str) or not set(fuse) <= set(FUSIONS):
        raise ValueError(f"compile: fuse: got {fuse!r}; need True, False or some of {FUSIONS}")
    return frozenset(fuse if _FUSE else ())


class Compiled(_core.Replayer):
    """A function and its programs, the one used last in front."""

    def __init__(self, function: Callable[..., Any], off: bool, fusions: frozenset[str]) -> None:
        super().__init__(function, off)
        self.fusions = fusions

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def describe(self) -> str:
        """Each program's launches, memory plan and fusions, the one used last in front."""
        return "\n\n".join(recorded.program.describe() for recorded in self.programs)

    def record(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the function on arguments for which there is no program, and make one."""
        recorded = _core.Recorded(args, kwargs)
        tensors = recorded.tensors_of(args, kwargs)
        recorder, given = _core.start_recording(tensors)
        if recorder is None:
            return self.function(*args, **kwargs)
        feed = iter(given)
        try:
            value = self.function(*_refill(args, feed), **_refill(kwargs, feed))
            results: list[Tensor] = []
            recorded.returns = _places(value, results)
            del value, given, feed
            recorded.program = _core.program(recorder, tensors, results, self.fusions)
        finally:
            _core.stop_recording()
        self.programs = [recorded, *self.programs[: KEPT - 1]]
        return _core.with_tensors(recorded.returns, [t.detach() for t in results])


# ---------------------------------------------------------------- arguments and results as lists

def _within(f: Callable[[Any], Any], x: Any) -> Any:
    """f of each item of a tuple, list or dictionary, in its kind; x itself if it is none."""
    if isinstance(x, (tuple, list)):
        items = [f(v) for v in x]
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    if isinstance(x, dict):
        return {k: f(v) for k, v in x.items()}
    return x


def _refill(x: Any, feed: Any) -> Any:
    """x with its tensors replaced, in the order of tensors_of."""
    if isinstance(x, Tensor):
        return x if x.requires_grad else next(feed)
    if isinstance(x, np.ndarray):
        return next(feed)
    return _within(lambda v: _refill(v, feed), x)


def _places(x: Any, results: list[Tensor]) -> Any:
    """x with a place for each tensor, which goes to the list."""
    if isinstance(x, Tensor):
        results.append(x)
        return _core.Place(len(results) - 1)
    return _within(lambda v: _places(v, results), x)
