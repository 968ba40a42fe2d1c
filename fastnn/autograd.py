"""Switching the recording of gradients on and off, per thread; gradients as values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from . import _core
from ._core import Tensor
from .errors import GraphError

__all__ = [
    "detect_anomaly", "enable_grad", "grad", "inference_mode", "is_grad_enabled", "no_grad",
    "set_grad_enabled",
]


def grad(
    outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor], grad_outputs: Any = None,
    retain_graph: bool | None = None, create_graph: bool = False, allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the (sum of) outputs with respect to inputs, which must be leaves.

    No ``.grad`` changes. grad_outputs: a gradient per output, needed unless it has one element.

    Errors: GraphError for an input that is computed, that does not require grad, or (unless
    allow_unused=True, which gives None for it) that no output depends on.

    Example:
        >>> import fastnn
        >>> x = fastnn.tensor(3.0, requires_grad=True)
        >>> fastnn.autograd.grad(x * x, x)[0].item()
        6.0
    """
    if create_graph:
        raise GraphError("grad: got create_graph=True; need False: fastnn has no double backward")
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    leaves = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    seeds = grad_outputs if isinstance(grad_outputs, (list, tuple)) else [grad_outputs] * len(roots)
    for i, leaf in enumerate(leaves):
        if not (leaf.requires_grad and leaf.is_leaf):
            raise GraphError(f"grad: inputs[{i}]: got a tensor that is computed or does not "
                             "require grad; need a leaf that requires grad")
    total: list[Tensor | None] = [None] * len(leaves)
    for i, (root, seed) in enumerate(zip(roots, seeds, strict=True)):
        keep = bool(retain_graph) or i < len(roots) - 1
        for j, g in enumerate(_core.backward(root, seed, keep, leaves)):
            if g is not None:
                before = total[j]
                total[j] = g if before is None else before + g
    unused = [i for i, g in enumerate(total) if g is None]
    if unused and not allow_unused:
        raise GraphError(f"grad: inputs[{unused[0]}]: got a tensor that no output depends on; need "
                         "allow_unused=True to get None for it")
    return tuple(total)


@contextmanager
def detect_anomaly(mode: bool = True) -> Iterator[None]:
    """While inside, the first NaN that an op or its gradient makes is a GraphError naming the op.

    For finding faults: it reads every result, and a backward pass that stops half way leaves
    partial sums in gradients that were there before it.

    Example:
        >>> import fastnn
        >>> with fastnn.autograd.detect_anomaly():
        ...     fastnn.tensor([-1.0]).sqrt()
        Traceback (most recent call last):
        fastnn.errors.GraphError: sqrt: output 0: got NaN at element 0; need numbers: \
detect_anomaly is on
    """
    old = _core.set_detect_anomaly(mode)
    try:
        yield
    finally:
        _core.set_detect_anomaly(old)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded for backward in this thread."""
    return _core.grad_enabled()


class _GradMode:
    """A with block, or a decorator, inside which recording is on or off."""

    on = False
    _before: list[bool]

    def __new__(cls, function: Any = None) -> Any:
        self = super().__new__(cls)
        self._before = []
        return self(function) if callable(function) else self       # @no_grad, no parentheses

    def __enter__(self) -> None:
        self._before.append(_core.set_grad_enabled(self.on))

    def __exit__(self, *error: Any) -> None:
        _core.set_grad_enabled(self._before.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(function):
            raise TypeError(f"{type(self).__name__}: got a generator function; need a with block "
                            "inside it: its caller would run in the same mode")

        @functools.wraps(function)
        def switched(*args: Any, **kwargs: Any) -> Any:
            before = _core.set_grad_enabled(self.on)
            try:
                return function(*args, **kwargs)
            finally:
                _core.set_grad_enabled(before)

        return switched


class no_grad(_GradMode):
    """Nothing inside is recorded: results do not require grad. A with block or a decorator.

    Example:
        >>> import fastnn
        >>> x = fastnn.ones(2, requires_grad=True)
        >>> with fastnn.no_grad():
        ...     y = x * 2
        >>> y.requires_grad
        False
    """


class enable_grad(_GradMode):
    """Recording inside, also where no_grad surrounds it. A with block or a decorator."""

    on = True


class inference_mode(_GradMode):
    """no_grad under another name; inference_mode(False) is enable_grad."""

    def __init__(self, mode: Any = True) -> None:
        self.on = not mode


class set_grad_enabled(_GradMode):
    """Switch recording on or off at once; as a with block, until its end.

    Example:
        >>> import fastnn
        >>> with fastnn.set_grad_enabled(False):
        ...     fastnn.is_grad_enabled()
        False
    """

    def __init__(self, mode: bool) -> None:
        self.on = bool(mode)
        self._first = [_core.set_grad_enabled(self.on)]

    def __enter__(self) -> None:
        super().__enter__()
        if self._first:
            self._before[-1] = self._first.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if self._first:
            _core.set_grad_enabled(self._first.pop())
        return super().__call__(function)
