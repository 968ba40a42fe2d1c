"""Parameter groups, options and their dictionaries: the base of every optimizer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

from .. import _core
from .._core import Tensor
from ..errors import DTypeError
from ..ops import optim

Params = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]


class Optimizer:
    """Base of the optimizers, and of those users write by defining ``step``.

    params: tensors, (name, tensor) pairs, or dictionaries {"params": tensors, option: value, ...}
    whose options override the defaults for that group. ``param_groups`` is the list of groups;
    options in it may be changed at any time. ``state[p]`` is a dictionary for a subclass to fill.

    Errors: TypeError unless params are leaf tensors or groups of them; DTypeError unless they are
    float32; ValueError for an empty list, a computed tensor, or one that is there twice.

    Example:
        >>> import fastnn
        >>> class SignSGD(fastnn.optim.Optimizer):
        ...     def step(self):
        ...         for group in self.param_groups:
        ...             for p in group["params"]:
        ...                 values = p.detach().numpy()
        ...                 values -= group["lr"] * (p.grad.numpy() > 0)
        >>> w = fastnn.tensor([1.0, 2.0], requires_grad=True)
        >>> w.grad = fastnn.tensor([0.5, -0.5])
        >>> SignSGD([w], {"lr": 1.0}).step()
        >>> w.tolist()
        [0.0, 2.0]
    """

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self._state: dict[Any, Any] = defaultdict(dict)
        if isinstance(params, Tensor):
            raise TypeError(f"{self._name}: params: got a Tensor; need a list of them, or of dicts")
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError(
                f"{self._name}: params: got an empty parameter list; need at least one Tensor"
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    @property
    def state(self) -> Any:
        """What the optimizer remembers of each parameter: {parameter: {name: value}}."""
        return self._state

    @state.setter
    def state(self, value: Any) -> None:
        self._state = value

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group {"params": tensors, option: value, ...}; missing options are the defaults.

        Errors: as for the constructor; the optimizer is then as it was.
        """
        if not isinstance(param_group, dict):
            raise TypeError(
                f"{self._name}: param_group: got {type(param_group).__name__}; need a dict"
            )
        params = param_group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError(f"{self._name}: params: got a set; need an ordered collection")
        params = [params] if isinstance(params, Tensor) else list(params)
        names = {}
        if params and all(isinstance(p, tuple) for p in params):
            names = {"param_names": [name for name, _ in params]}
            params = [p for _, p in params]
        self._check_params(params)
        group = {**param_group, "params": params, **names}
        for option, value in self.defaults.items():
            group.setdefault(option, value)
        self._check_options(group)
        self._add_group(group)

    def _check_params(self, params: list[Any]) -> None:
        seen = {id(p) for group in self.param_groups for p in group["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{self._name}: params: got {type(p).__name__}; need Tensors")
            if not p.is_leaf:
                raise ValueError(
                    f"{self._name}: params: got a computed tensor; need leaves: use .detach()"
                )
            if p.dtype.name != "float32":
                raise DTypeError(f"{self._name}: params: got {p.dtype.name}; need float32")
            if id(p) in seen:
                raise ValueError(
                    f"{self._name}: params: got a tensor of shape {p.shape} twice; need each once"
                )
            seen.add(id(p))

    def _check_options(self, group: dict[str, Any]) -> None:
        """Refuse option values that make no sense; for subclasses."""

    def _add_group(self, group: dict[str, Any]) -> None:
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or with set_to_none=False fill those that are there with zeros."""
        for group in self.param_groups:
            if set_to_none:
                _core.drop_gradients(group["params"])
            else:
                grads = [p.grad for p in group["params"] if p.grad is not None]
                optim.zero_(optim.locate(grads))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters once; closure, if given, computes the loss that is returned."""
        raise NotImplementedError(f"{self._name}: got no step(); need one in the subclass")

    # -- dictionaries

    def state_dict(self) -> dict[str, Any]:
        """{"state": {i: {name: value}}, "param_groups": [{option: value, "params": [i, ...]}]}.

        i counts the parameters through all groups. Tensors in it are the optimizer's own memory:
        they change with the next step.
        """
        number: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                number[id(p)] = len(number)
            options = {k: v for k, v in group.items() if k != "params"}
            groups.append({**options, "params": [number[id(p)] for p in group["params"]]})
        state = {number.get(id(p), p): dict(values) for p, values in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over options and copy state from a dictionary such as state_dict() gives.

        Errors: ValueError where groups or parameters differ in number or state is missing,
        ShapeError where shapes differ; the optimizer is then as it was.
        """
        saved = state_dict["param_groups"]
        ours, theirs = self._sizes(self.param_groups), self._sizes(saved)
        if ours != theirs:
            raise ValueError(
                f"{self._name}: state_dict: got groups of {theirs} parameters; need {ours}"
            )
        groups = [
            {**group, **deepcopy({k: v for k, v in new.items() if k != "params"})}
            for group, new in zip(self.param_groups, saved, strict=True)
        ]
        params = {
            i: p
            for group, new in zip(groups, saved, strict=True)
            for i, p in zip(new["params"], group["params"], strict=True)
        }
        self._load_state({params.get(k, k): v for k, v in state_dict["state"].items()}, groups)
        for group, new in zip(self.param_groups, groups, strict=True):
            group.update(new)

    @staticmethod
    def _sizes(groups: list[dict[str, Any]]) -> list[int]:
        return [len(group["params"]) for group in groups]

    def _load_state(self, state: dict[Any, Any], groups: list[dict[str, Any]]) -> None:
        """Copy state; groups are those about to be taken over."""
        self._state = defaultdict(dict, {p: deepcopy(dict(v)) for p, v in state.items()})

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: parameters, options and state, not where they lie."""
        rest = {k: v for k, v in self.__dict__.items()
                if k not in ("param_groups", "_state", "_blocks")}
        state = [(p, dict(values)) for p, values in self.state.items()]
        return {"rest": rest, "param_groups": self.param_groups, "state": state}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self.__dict__.update(saved["rest"])
        self.param_groups, self._state = [], defaultdict(dict)
        for group in saved["param_groups"]:
            self._add_group(group)
        self._load_state(dict(saved["state"]), self.param_groups)

    def __repr__(self) -> str:
        lines = [f"{self._name} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {v}" for k, v in sorted(group.items()) if k != "params"]
        return "\n".join([*lines, ")"])
