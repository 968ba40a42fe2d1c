"""Modules that hold modules or parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .._core import module_changed
from ..errors import IndexRangeError
from .module import Module
from .parameter import Parameter


def _position(op: str, index: Any, length: int) -> int:
    """A list index, negative ones counted from the end."""
    i = index.__index__()
    if not -length <= i < length:
        raise IndexRangeError(f"{op}: index: got {i}; need {-length} to {length - 1}")
    return i % length


class _Listed(Module):
    """Items registered under "0", "1", ... in order."""

    _kind: type = Module

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__()
        self.extend(items)

    def _items(self) -> list[Any]:
        return list(self._own(self._kind).values())

    def _renew(self, items: Iterable[Any]) -> None:
        """Register these items and no others."""
        items = list(items)
        for name in self._own(self._kind):
            del self.__dict__[name]
        module_changed()
        for i, item in enumerate(items):
            self._register(str(i), item)

    def _register(self, name: str, item: Any) -> None:
        self.register_module(name, item)

    def __len__(self) -> int:
        return len(self._items())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items())

    def __getitem__(self, index: Any) -> Any:
        items = self._items()
        if isinstance(index, slice):
            return type(self)(items[index])
        return items[_position(type(self).__name__, index, len(items))]

    def __setitem__(self, index: Any, item: Any) -> None:
        names = list(self._own(self._kind))
        self._register(names[_position(type(self).__name__, index, len(names))], item)

    def __delitem__(self, index: Any) -> None:
        items = self._items()
        del items[index]
        self._renew(items)

    def append(self, item: Any) -> Any:
        """Add an item at the end; returns self."""
        self._register(str(len(self)), item)
        return self

    def extend(self, items: Iterable[Any]) -> Any:
        """Add items at the end; returns self."""
        for item in items:
            self.append(item)
        return self

    def insert(self, index: int, item: Any) -> Any:
        """Add an item before position index; returns self."""
        items = self._items()
        items.insert(index, item)
        self._renew(items)
        return self

    def pop(self, index: int) -> Any:
        """Take the item at a position out and return it."""
        item = self[index]
        del self[index]
        return item

    def __add__(self, other: Iterable[Any]) -> Any:
        return type(self)([*self, *other])


class Sequential(_Listed):
    """Modules called one after the other, each on the output of the one before.

    Takes modules, or an OrderedDict (or dict) of names to modules.

    Example:
        >>> import fastnn
        >>> from fastnn import nn
        >>> nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))(fastnn.ones(1, 4)).shape
        (1, 2)
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.register_module(name, module)
        else:
            for i, module in enumerate(args):
                self.register_module(str(i), module)

    def forward(self, input: Any) -> Any:
        for module in tuple(self.__dict__.values()):
            if isinstance(module, Module):
                input = module(input)
        return input

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):    # keeps the names, as torch does
            return Sequential(dict(list(self._modules.items())[index]))
        return super().__getitem__(index)

    def __add__(self, other: Iterable[Any]) -> Any:
        return Sequential(*self, *other)


class ModuleList(_Listed):
    """A list whose modules are registered; it has no forward of its own.

    Example:
        >>> from fastnn import nn
        >>> len(nn.ModuleList([nn.Linear(2, 2) for _ in range(3)]))
        3
    """

    def __repr__(self) -> str:
        runs: list[list[Any]] = []      # [first, last, text] of equal neighbours
        for i, text in enumerate(repr(m) for m in self):
            if runs and runs[-1][2] == text:
                runs[-1][1] = i
            else:
                runs.append([i, i, text])
        lines = [f"({a}): {text}" if a == b else f"({a}-{b}): {b - a + 1} x {text}"
                 for a, b, text in runs]
        body = "".join("\n  " + line.replace("\n", "\n  ") for line in lines)
        return f"{self._get_name()}({body}\n)" if lines else f"{self._get_name()}()"


class ParameterList(_Listed):
    """A list whose parameters are registered; tensors become parameters.

    Example:
        >>> import fastnn
        >>> len(list(fastnn.nn.ParameterList([fastnn.zeros(2)]).parameters()))
        1
    """

    _kind = Parameter

    def _register(self, name: str, item: Any) -> None:
        self.register_parameter(name, item if isinstance(item, Parameter) else Parameter(item))

    def extra_repr(self) -> str:
        return "\n".join(f"({i}): Parameter of shape {p.shape}" for i, p in enumerate(self))


class _Named(Module):
    """Items registered under names of their own."""

    _kind: type = Module

    def __init__(self, items: Any = None) -> None:
        super().__init__()
        self.update(items or {})

    def update(self, items: Any) -> None:
        """Register the items of a mapping, or of (name, item) pairs."""
        for name, item in dict(items).items():
            self[name] = item

    def __setitem__(self, key: str, item: Any) -> None:
        self.register_module(key, item)

    def __getitem__(self, key: str) -> Any:
        return self._own(self._kind)[key]

    def __delitem__(self, key: str) -> None:
        self[key]
        del self.__dict__[key]
        module_changed()

    def __len__(self) -> int:
        return len(self._own(self._kind))

    def __iter__(self) -> Iterator[str]:
        return iter(self._own(self._kind))

    def __contains__(self, key: str) -> bool:
        return key in self._own(self._kind)

    def keys(self) -> Any:
        """The names."""
        return self._own(self._kind).keys()

    def values(self) -> Any:
        """The items."""
        return self._own(self._kind).values()

    def items(self) -> Any:
        """(name, item) pairs."""
        return self._own(self._kind).items()

    def get(self, key: str, default: Any = None) -> Any:
        """The item of a name, or default."""
        return self._own(self._kind).get(key, default)

    def pop(self, key: str) -> Any:
        """Take the item of a name out and return it."""
        item = self[key]
        del self[key]
        return item

    def clear(self) -> None:
        """Take all items out."""
        for key in list(self):
            del self[key]


class ModuleDict(_Named):
    """A dict whose modules are registered; it has no forward of its own.

    Example:
        >>> from fastnn import nn
        >>> list(nn.ModuleDict({"a": nn.Identity(), "b": nn.ReLU()}))
        ['a', 'b']
    """


class ParameterDict(_Named):
    """A dict whose parameters are registered; tensors become parameters.

    Example:
        >>> import fastnn
        >>> scales = fastnn.nn.ParameterDict({"a": fastnn.zeros(2)})
        >>> [name for name, _ in scales.named_parameters()]
        ['a']
    """

    _kind = Parameter

    def __setitem__(self, key: str, item: Any) -> None:
        self.register_parameter(key, item if isinstance(item, Parameter) else Parameter(item))

    def extra_repr(self) -> str:
        return "\n".join(f"({k}): Parameter of shape {p.shape}" for k, p in self.items())
