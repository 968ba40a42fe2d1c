"""Ready-made architectures, by name."""

from __future__ import annotations

from typing import Any

from ..nn import Module
from .lenet import LeNet5
from .mlp import MLP

REGISTRY = {"mlp": MLP}


def create(name: str, **config: Any) -> Module:
    """A model of the registry with freshly initialised weights.

    Errors: ValueError naming the models there are.

    Example:
        >>> import fastnn
        >>> fastnn.models.create("mlp", sizes=[64, 32, 10]).sizes
        [64, 32, 10]
    """
    if name not in REGISTRY:
        raise ValueError(f"models: name: got {name!r}; need one of {', '.join(sorted(REGISTRY))}")
    return REGISTRY[name](**config)


__all__ = ["LeNet5", "MLP", "REGISTRY", "create"]
