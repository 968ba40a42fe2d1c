"""Ready-made architectures, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..nn import Module
from .alexnet import AlexNet, alexnet
from .autoencoder import Autoencoder
from .cnn import CNN
from .lenet import LeNet5
from .mlp import MLP
from .mobilenet import MobileNetV2, mobilenet_v2
from .resnet import ResNet, resnet18, resnet34, resnet50, resnet101
from .unet import UNet
from .vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

REGISTRY: dict[str, Callable[..., Module]] = {
    "alexnet": alexnet, "autoencoder": Autoencoder, "cnn": CNN, "lenet5": LeNet5, "mlp": MLP,
    "mobilenet_v2": mobilenet_v2,
    "resnet18": resnet18, "resnet34": resnet34, "resnet50": resnet50, "resnet101": resnet101,
    "unet": UNet, "vgg11": vgg11, "vgg11_bn": vgg11_bn, "vgg13": vgg13, "vgg13_bn": vgg13_bn,
    "vgg16": vgg16, "vgg16_bn": vgg16_bn, "vgg19": vgg19, "vgg19_bn": vgg19_bn,
}


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


__all__ = [
    "AlexNet", "Autoencoder", "CNN", "LeNet5", "MLP", "MobileNetV2", "REGISTRY", "ResNet", "UNet",
    "VGG", "alexnet", "create", "mobilenet_v2", "resnet101", "resnet18", "resnet34", "resnet50",
    "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
]
