"""Module: a tree of layers, found through its attributes.

Parameters, buffers and submodules live in ``__dict__`` like any attribute, so reading one costs
what reading any attribute costs; what they are follows from their type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from .. import _core
from .._core import (
    Tensor,
    as_dtype,
    as_tensor,
    check_device,
    enter_module,
    leave_module,
    module_changed,
)
from ..errors import (
    DTypeError,
    GraphError,
    IndexRangeError,
    LimitError,
    ShapeError,
    UnsupportedOpError,
)
from .parameter import Buffer, Parameter
from .summary import Summary, summarize

M = TypeVar("M", bound="Module")
_COUNTER = "num_batches_tracked"       # which checkpoints of old may lack, as in torch
PLACED = (DTypeError, GraphError, IndexRangeError, LimitError, ShapeError, UnsupportedOpError)


class Module:
    """Base of layers and models: subclass it, assign layers to attributes, define ``forward``.

    Errors raised below a module's ``forward`` say where: ``layer2.0.fc [linear]: input: got ...``.

    Example:
        >>> import fastnn
        >>> from fastnn import nn
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.fc = nn.Linear(3, 2)
        ...     def forward(self, x):
        ...         return self.fc(x)
        >>> Net()(fastnn.ones(5, 3)).shape
        (5, 2)
    """

    training: bool = True

    def __init__(self) -> None:
        """Nothing to do: subclasses may, but need not, call it first."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__}: got no forward(); need one")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        traced = enter_module(self)
        try:
            return self.forward(*args, **kwargs)
        except PLACED as error:
            _place(error, self)
            raise
        finally:
            if traced:
                leave_module()

    # -- registration

    def __setattr__(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name)
        if isinstance(old, (Parameter, Buffer, Module)):
            value = _successor(self, name, old, value)
        super().__setattr__(name, value)
        module_changed()

    def _check_new(self, kind: str, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind}: name: got {type(name).__name__}; need a string")
        if not name or "." in name:
            raise KeyError(f"{kind}: name: got {name!r}; need one that is not empty and has no dot")
        if name in self.__dict__:
            free = isinstance(self.__dict__[name], (Parameter, Buffer, Module, type(None)))
        else:
            free = not hasattr(type(self), name)
        if not free:
            raise KeyError(f"{kind}: name: got {name!r}; need one the module has no attribute of")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make param the attribute `name`; None keeps the name without a parameter."""
        self._check_new("register_parameter", name)
        if not isinstance(param, (Parameter, type(None))):
            raise TypeError(
                f"register_parameter: {name}: got {type(param).__name__}; need a Parameter or None"
            )
        self.__dict__[name] = param
        module_changed()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Make tensor the attribute `name`: kept, and saved if persistent, but not learned."""
        self._check_new("register_buffer", name)
        if not isinstance(tensor, (Tensor, type(None))):
            raise TypeError(
                f"register_buffer: {name}: got {type(tensor).__name__}; need a Tensor or None"
            )
        self.__dict__[name] = None if tensor is None else Buffer(tensor, persistent=persistent)
        module_changed()

    def register_module(self, name: str, module: Module | None) -> None:
        """Make module the attribute `name`, which unlike in an assignment may be a number."""
        self._check_new("register_module", name)
        if not isinstance(module, (Module, type(None))):
            raise TypeError(
                f"register_module: {name}: got {type(module).__name__}; need a Module or None"
            )
        self.__dict__[name] = module
        module_changed()

    add_module = register_module

    def _own(self, kind: type) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if isinstance(v, kind)}

    @property
    def _parameters(self) -> Mapping[str, Parameter]:
        return MappingProxyType(self._own(Parameter))

    @property
    def _buffers(self) -> Mapping[str, Buffer]:
        return MappingProxyType(self._own(Buffer))

    @property
    def _modules(self) -> Mapping[str, Module]:
        return MappingProxyType(self._own(Module))

    # -- walking the tree

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module and all below, parents first, each module once."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, child in self._own(Module).items():
            path = f"{prefix}.{name}" if prefix else name
            yield from child.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below, each once."""
        return (m for _, m in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly below, each once."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules directly below, each once."""
        return (m for _, m in self.named_children())

    def _named_tensors(
        self, kind: type, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse else [(prefix, self)]
        )
        for path, module in modules:
            for name, value in module._own(kind).items():
                if not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter) of this module and all below; a shared parameter comes once."""
        return self._named_tensors(Parameter, prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module and all below, each once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Buffer]]:
        """(dotted name, buffer) of this module and all below; a shared buffer comes once."""
        return self._named_tensors(Buffer, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Buffer]:
        """The buffers of this module and all below, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name, such as "layer2.0"; "" is this module itself."""
        module = self
        for name in target.split(".") if target else ():
            child = module.__dict__.get(name)
            if not isinstance(child, Module):
                raise AttributeError(
                    f"get_submodule: {target!r}: {type(module).__name__} has no module {name!r}"
                )
            module = child
        return module

    def _get_tensor(self, op: str, target: str, kind: type) -> Any:
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path).__dict__.get(name)
        if not isinstance(found, kind):
            raise AttributeError(f"{op}: {target!r}: got no {kind.__name__} of that name")
        return found

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name."""
        return self._get_tensor("get_parameter", target, Parameter)

    def get_buffer(self, target: str) -> Buffer:
        """The buffer of a dotted name."""
        return self._get_tensor("get_buffer", target, Buffer)

    # -- state

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Parameters and persistent buffers by dotted name, sharing the module's memory.

        Each module's parameters come first, then its buffers, then its submodules. keep_vars gives
        the Parameters themselves instead of detached tensors. Shared tensors keep all their names.
        """
        state: dict[str, Tensor] = {}
        for path, module in self.named_modules(prefix=prefix.rstrip("."), remove_duplicate=False):
            kept: dict[str, Tensor] = {**module._parameters}
            kept |= {k: b for k, b in module._buffers.items() if b.persistent}
            for name, t in kept.items():
                state[f"{path}.{name}" if path else name] = t if keep_vars else t.detach()
        return state

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> LoadResult:
        """Copy tensors or NumPy arrays into the parameters and buffers of the same names.

        All is checked before anything changes. strict: names missing from, or unknown to, the
        module are errors, but for the counters of batch norm, which old files lack. assign=True is
        refused: parameters keep their memory.

        Errors: StateDictError (a ShapeError and, as in torch, a RuntimeError) that lists all
        missing and unexpected names and all tensors of another shape.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: got {type(state_dict).__name__}; need a dict")
        if assign:
            raise UnsupportedOpError("load_state_dict: assign: got True; need False")
        own = self.state_dict()
        given = {k: as_tensor(v) for k, v in state_dict.items() if k in own}
        missing = [k for k in own if k not in given and not k.endswith(_COUNTER)]
        unexpected = [k for k in state_dict if k not in own]
        faults = [f"{k}: got {given[k].dtype.name} {given[k].shape}; need {t.dtype.name} {t.shape}"
                  for k, t in own.items() if k in given and not _fits(given[k], t)]
        if strict:
            faults += [f"missing: {', '.join(missing)}"] * bool(missing)
            faults += [f"unexpected: {', '.join(unexpected)}"] * bool(unexpected)
        if faults:
            raise StateDictError(
                f"load_state_dict: {type(self).__name__}:\n    " + "\n    ".join(faults)
            )
        for name in given:
            _core.check_writable("load_state_dict", own[name])
        for name, t in given.items():
            own[name].numpy()[...] = t.detach().numpy()
            _core.bump_version(own[name])
        return LoadResult(missing, unexpected)

    # -- what applies to all of the tree

    def train(self: M, mode: bool = True) -> M:
        """Switch this module and all below to training mode, or off it; returns self."""
        self.training = bool(mode)
        for child in self.children():
            child.train(mode)
        return self

    def eval(self: M) -> M:
        """Switch to evaluation: dropout passes its input through; returns self."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Freeze all parameters (False) or let them learn again; returns self."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or with set_to_none=False fill them with zeros."""
        for p in self.parameters():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad.zero_()

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call fn on every module below, then on this one; returns self."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self: M, *args: Any, device: Any = None, dtype: Any = None, **options: Any) -> M:
        """Stay where it is: only "cpu" and float32 are there; returns self.

        Errors: DTypeError for another device or dtype.
        """
        for target in (*args, device, dtype):
            if isinstance(target, Tensor):
                target = target.dtype
            if target is None or isinstance(target, bool):
                continue
            if isinstance(target, (_core.DType, type)):
                if as_dtype(target).name != "float32":
                    raise DTypeError(f"to: dtype: got {as_dtype(target).name}; need float32")
            else:
                check_device(target)
        return self

    def cpu(self: M) -> M:
        """Stay on the CPU; returns self."""
        return self

    def float(self: M) -> M:
        """Stay float32; returns self."""
        return self

    def summary(self, example: Any) -> Summary:
        """Print a table of layers, output shapes, parameters and FLOPs, and return it.

        example: an input tensor, a tuple of input tensors, or the shape of one float32 input,
        batch included. One forward pass runs on it in evaluation mode, without gradients.

        Example:
            >>> from fastnn import nn
            >>> s = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).summary((1, 4))
            ... # doctest: +ELLIPSIS
            Layer...
            >>> s.parameters
            58
        """
        table = summarize(self, example)
        print(table)
        return table

    # -- text

    def extra_repr(self) -> str:
        """What repr shows between the parentheses; layers override it."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = [f"({k}): " + repr(m).replace("\n", "\n  ") for k, m in self._modules.items()]
        if not lines and "\n" not in extra:
            return f"{self._get_name()}({extra})"
        body = (extra.split("\n") if extra else []) + lines
        return f"{self._get_name()}(\n  " + "\n  ".join(body) + "\n)"


_core.bind(module=Module)


class StateDictError(ShapeError, RuntimeError):
    """A state dict does not fit its module: names or shapes differ."""


class LoadResult(NamedTuple):
    """What a load that went through left out."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def _fits(given: Tensor, own: Tensor) -> bool:
    """Same shape and dtype, but float16 and float64 may enter float32."""
    floating = given.dtype.is_floating_point and own.dtype.is_floating_point
    return given.shape == own.shape and (given.dtype is own.dtype or floating)


def _successor(module: Module, name: str, old: Any, value: Any) -> Any:
    """What replaces a registered attribute: of its kind, or None."""
    if value is None or isinstance(value, (Parameter, Buffer, Module)):
        return value
    if isinstance(old, Buffer) and isinstance(value, Tensor):
        return Buffer(value, persistent=old.persistent)
    kind = "Parameter" if isinstance(old, Parameter) else (
        "Tensor" if isinstance(old, Buffer) else "Module")
    raise TypeError(
        f"{type(module).__name__}: {name}: got {type(value).__name__}; need a {kind} or None"
    )


def _place(error: Exception, module: Module) -> None:
    """Put the way from module to the module that failed in front of the message.

    Called once per module on the way out: each one knows the names below itself only.
    """
    if not hasattr(error, "_message"):
        error._message, error._path = str(error), ""            # type: ignore[attr-defined]
    else:
        below = error._module                                   # type: ignore[attr-defined]
        step = next((n for n, m in module.named_modules() if m is below), type(below).__name__)
        error._path = ".".join(p for p in (step, error._path) if p)     # type: ignore[attr-defined]
        op, colon, rest = error._message.partition(": ")        # type: ignore[attr-defined]
        error.args = (f"{error._path} [{op}]{colon}{rest}",)    # type: ignore[attr-defined]
    error._module = module                                      # type: ignore[attr-defined]
