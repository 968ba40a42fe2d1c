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
from collections.abc import Callable
from typing import Any, TypeVar, overload

import numpy as np

from . import _core
from ._core import Tensor, as_tensor

__all__ = ["compile"]

F = TypeVar("F", bound=Callable[..., Any])
KEPT = 16           # programs per function, the least recently used goes


@overload
def compile(function: F) -> F: ...
@overload
def compile(function: None = None) -> Callable[[F], F]: ...
def compile(function: Any = None) -> Any:
    """A function that does the same from recorded kernels; use it on training steps and inference.

    Returned tensors are detached. ``FASTNN_REPLAY=0`` in the environment turns it off.

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
        return compile
    return functools.wraps(function)(Compiled(function))


class Compiled:
    """A function and its programs, the one used last in front."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.programs: list[Recorded] = []

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _OFF or not _core.can_record():
            return self.function(*args, **kwargs)
        tensors: list[Tensor] = []
        pins: list[Any] = []
        key = (_flatten(args, tensors, pins), _flatten(kwargs, tensors, pins), _core.mode())
        for recorded in list(self.programs):
            if recorded.key != key or not recorded.program.is_current():
                continue
            state, results = _core.run_program(recorded.program, tensors)
            if state == _core.PROGRAM_OK:
                if recorded is not self.programs[0]:
                    self.programs.remove(recorded)
                    self.programs.insert(0, recorded)
                return _rebuild(recorded.returns, results)
            if state == _core.PROGRAM_HELD:
                return self.function(*args, **kwargs)
            self.programs.remove(recorded)
        return self._record(key, tensors, pins, args, kwargs)

    def _record(
        self, key: Any, tensors: list[Tensor], pins: list[Any], args: Any, kwargs: Any
    ) -> Any:
        recorder, given = _core.start_recording(tensors)
        if recorder is None:
            return self.function(*args, **kwargs)
        feed = iter(given)
        try:
            value = self.function(*_refill(args, feed), **_refill(kwargs, feed))
            results: list[Tensor] = []
            returns = _flatten_result(value, results)
            del value, given, feed
            program = _core.program(recorder, tensors, results)
        finally:
            _core.stop_recording()
        self.programs = [Recorded(key, pins, program, returns), *self.programs[: KEPT - 1]]
        return _rebuild(returns, [t.detach() for t in results])


_OFF = os.environ.get("FASTNN_REPLAY", "1") == "0"


class Recorded:
    """A program, and what it was recorded for."""

    def __init__(self, key: Any, pins: list[Any], program: _core.Program, returns: Any) -> None:
        self.key, self.pins, self.program, self.returns = key, pins, program, returns


# ---------------------------------------------------------------- arguments and results as lists

def _flatten(x: Any, tensors: list[Tensor], pins: list[Any]) -> Any:
    """The signature of x; its tensors go to the list, but for leaves that require grad."""
    if isinstance(x, Tensor):
        if x.requires_grad:
            pins.append(x)
            return "leaf", id(x)
        tensors.append(x)
        return x.shape, x.dtype
    if isinstance(x, np.ndarray):
        return _flatten(as_tensor(x), tensors, pins)
    if isinstance(x, (tuple, list)):
        return type(x), tuple([_flatten(v, tensors, pins) for v in x])
    if isinstance(x, dict):
        return dict, tuple([(k, _flatten(v, tensors, pins)) for k, v in x.items()])
    try:
        hash(x)
    except TypeError:
        pins.append(x)
        return "object", id(x)
    return type(x), x


def _within(f: Callable[[Any], Any], x: Any) -> Any:
    """f of each item of a tuple, list or dictionary, in its kind; x itself if it is none."""
    if isinstance(x, (tuple, list)):
        items = [f(v) for v in x]
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    if isinstance(x, dict):
        return {k: f(v) for k, v in x.items()}
    return x


def _refill(x: Any, feed: Any) -> Any:
    """x with its tensors replaced, in the order of _flatten."""
    if isinstance(x, Tensor):
        return x if x.requires_grad else next(feed)
    if isinstance(x, np.ndarray):
        return next(feed)
    return _within(lambda v: _refill(v, feed), x)


class _Place(int):
    """The number of a tensor in the list of results."""


def _flatten_result(x: Any, results: list[Tensor]) -> Any:
    if isinstance(x, Tensor):
        results.append(x)
        return _Place(len(results) - 1)
    return _within(lambda v: _flatten_result(v, results), x)


def _rebuild(x: Any, results: list[Tensor]) -> Any:
    if type(x) is _Place:
        return results[x]
    return _within(lambda v: _rebuild(v, results), x)
