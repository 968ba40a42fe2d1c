"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence

from .. import nn


class MLP(nn.Sequential):
    """Linear layers with ReLU, and dropout behind each hidden layer.

    Shapes: (N, ...) flattened to (N, sizes[0]) -> (N, sizes[-1]) logits.

    Example:
        >>> import fastnn
        >>> fastnn.models.MLP([784, 128, 10])(fastnn.zeros(2, 1, 28, 28)).shape
        (2, 10)
    """

    def __init__(self, sizes: Sequence[int], dropout: float = 0.0) -> None:
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes: got {list(sizes)}; need an input and an output size")
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in zip(sizes[:-2], sizes[1:-1], strict=True):
            layers += [nn.Linear(a, b), nn.ReLU()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        super().__init__(*layers, nn.Linear(sizes[-2], sizes[-1]))
        self.sizes = list(sizes)
