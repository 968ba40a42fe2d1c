"""fastnn.models against twins in torch: names, outputs from equal weights, losses of training."""

import numpy as np
import pytest

import fastnn
from fastnn import models

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from bench.peers import torch_models as twins  # noqa: E402


def double(a, b):
    """Two convolutions with batch norm and ReLU."""
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(),
                         nn.Conv2d(b, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


class UNet(nn.Module):
    """Written from the paper's picture, with padding and batch norm, at two halvings."""

    def __init__(self, channels, classes, width):
        super().__init__()
        a, b, c = width, 2 * width, 4 * width
        self.down = nn.ModuleList([double(channels, a), double(a, b)])
        self.bottom = double(b, c)
        self.up = nn.ModuleList([nn.ConvTranspose2d(c, b, 2, 2), nn.ConvTranspose2d(b, a, 2, 2)])
        self.merge = nn.ModuleList([double(2 * b, b), double(2 * a, a)])
        self.head = nn.Conv2d(a, classes, 1)

    def forward(self, x):
        full = self.down[0](x)
        half = self.down[1](F.max_pool2d(full, 2))
        quarter = self.bottom(F.max_pool2d(half, 2))
        half = self.merge[0](torch.cat((half, self.up[0](quarter)), 1))
        return self.head(self.merge[1](torch.cat((full, self.up[1](half)), 1)))


class Autoencoder(nn.Module):
    def __init__(self, code, channels, side, width):
        super().__init__()
        wide, pixels = 2 * width, (side // 4) ** 2
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(width, wide, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(wide * pixels, 256), nn.ReLU(), nn.Linear(256, code))
        self.decoder = nn.Sequential(
            nn.Linear(code, 256), nn.ReLU(), nn.Linear(256, wide * pixels), nn.ReLU(),
            nn.Unflatten(1, (wide, side // 4, side // 4)),
            nn.ConvTranspose2d(wide, width, 2, stride=2), nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 2, stride=2), nn.Sigmoid())

    def forward(self, x):
        return self.decoder(self.encoder(x))


def cnn(channels, blocks, side, hidden, classes):
    """CNN: blocks halve the image, the first with 5 by 5 kernels."""
    layers, before = [], channels
    for k, (out, kernel) in enumerate(zip(blocks, (5, 3, 3), strict=True), 1):
        layers += [nn.Conv2d(before, out, kernel, padding=kernel // 2, bias=False),
                   nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
        before, pixels = out, (side >> k) ** 2
    return twins.Features(layers, None, [
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(before * pixels, hidden), nn.ReLU(),
        nn.Dropout(0.3), nn.Linear(hidden, classes)])


def mlp(a, b, c):
    return nn.Sequential(nn.Flatten(), nn.Linear(a, b), nn.ReLU(), nn.Dropout(0.1), nn.Linear(b, c))


SMALL = {"in_channels": 1, "num_classes": 10, "small": True}
CASES = {       # name: (ours, theirs, shape of images)
    "lenet5": (lambda: models.LeNet5(), lambda: twins.lenet5(), (2, 1, 28, 28)),
    "alexnet": (lambda: models.alexnet(num_classes=20), lambda: twins.alexnet(20), (1, 3, 79, 95)),
    "alexnet-small": (lambda: models.alexnet(**SMALL), lambda: twins.alexnet(**SMALL),
                      (2, 1, 28, 28)),
    "vgg11": (lambda: models.vgg11(width=16, **SMALL),
              lambda: twins.vgg(twins.VGG11, width=16, **SMALL), (2, 1, 32, 32)),
    "vgg13_bn": (lambda: models.vgg13_bn(width=8, **SMALL),
                 lambda: twins.vgg(twins.VGG13, True, width=8, **SMALL), (2, 1, 32, 32)),
    "vgg16": (lambda: models.vgg16(width=8, num_classes=7),
              lambda: twins.vgg(twins.VGG16, width=8, num_classes=7), (1, 3, 64, 48)),
    "vgg19_bn": (lambda: models.vgg19_bn(width=8, **SMALL),
                 lambda: twins.vgg(twins.VGG19, True, width=8, **SMALL), (2, 1, 32, 32)),
    "resnet18": (lambda: models.resnet18(), lambda: twins.ResNet((2, 2, 2, 2)), (2, 3, 64, 64)),
    "resnet18-small": (lambda: models.resnet18(width=16, **SMALL),
                       lambda: twins.ResNet((2, 2, 2, 2), width=16, **SMALL), (2, 1, 28, 28)),
    "resnet34": (lambda: models.resnet34(width=16),
                 lambda: twins.ResNet((3, 4, 6, 3), width=16), (2, 3, 64, 64)),
    "resnet50": (lambda: models.resnet50(width=16),
                 lambda: twins.ResNet((3, 4, 6, 3), True, width=16), (2, 3, 64, 64)),
    "resnet101": (lambda: models.resnet101(width=8),
                  lambda: twins.ResNet((3, 4, 23, 3), True, width=8), (2, 3, 64, 64)),
    "vgg11-224": (lambda: models.vgg11(width=8, num_classes=5),
                  lambda: twins.vgg(twins.VGG11, width=8, num_classes=5), (1, 3, 48, 64)),
    "vgg11_bn": (lambda: models.vgg11_bn(width=8, num_classes=7),
                 lambda: twins.vgg(twins.VGG11, True, width=8, num_classes=7), (2, 3, 48, 64)),
    "vgg13": (lambda: models.vgg13(width=8, num_classes=7),
              lambda: twins.vgg(twins.VGG13, width=8, num_classes=7), (1, 3, 33, 64)),
    "vgg16_bn": (lambda: models.vgg16_bn(width=8, **SMALL),
                 lambda: twins.vgg(twins.VGG16, True, width=8, **SMALL), (2, 1, 32, 32)),
    "vgg19": (lambda: models.vgg19(width=8, **SMALL),
              lambda: twins.vgg(twins.VGG19, width=8, **SMALL), (2, 1, 32, 32)),
    "unet": (lambda: models.UNet(2, 5, width=6, depth=2), lambda: UNet(2, 5, 6), (2, 2, 20, 28)),
    "autoencoder": (lambda: models.Autoencoder(8, 3, 16, 4), lambda: Autoencoder(8, 3, 16, 4),
                    (3, 3, 16, 16)),
    "cnn": (lambda: models.CNN(7, in_channels=3, size=29, channels=(8, 12, 20), hidden=33),
            lambda: cnn(3, (8, 12, 20), 29, 33, 7), (3, 3, 29, 29)),
    "mlp": (lambda: models.MLP([30, 20, 10], 0.1), lambda: mlp(30, 20, 10), (4, 1, 5, 6)),
    "mobilenet_v2": (lambda: models.mobilenet_v2(num_classes=10), lambda: twins.MobileNetV2(10),
                     (2, 3, 64, 64)),
}


def pair(name, seed=0):
    """Our model and its twin, in training mode, with the twin's weights."""
    ours, theirs, shape = CASES[name]
    fastnn.manual_seed(seed)
    torch.manual_seed(seed)
    a, b = ours(), theirs()
    state = {k: v.numpy() for k, v in b.state_dict().items()}
    assert list(a.state_dict()) == list(state)
    a.load_state_dict(state)
    x = np.random.default_rng(seed).standard_normal(shape).astype("float32")
    return a, b, x


def test_every_model_has_a_twin():
    assert {name.split("-")[0] for name in CASES} == set(models.REGISTRY)


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_torchs(name):
    """After running statistics have moved away from 0 and 1, so that they count."""
    a, b, x = pair(name)
    for m in (*a.modules(), *b.modules()):
        if isinstance(m, (fastnn.nn.Dropout, torch.nn.Dropout)):
            m.p = 0.0
    with torch.no_grad():
        for _ in range(3):
            b(torch.tensor(x))
        a.load_state_dict({k: v.numpy() for k, v in b.state_dict().items()})
        want = b.eval()(torch.tensor(x)).numpy()
    with fastnn.no_grad():
        got = a.eval()(fastnn.tensor(x)).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


# Losses of a ResNet on noise soon depend on rounding: at lr = 0.01 torch in float32 and float64 are
# 0.8% apart after ten steps, at 0.001 they agree to 1.2e-4.
@pytest.mark.parametrize("name, lr", [("lenet5", 0.01), ("resnet18-small", 0.001), ("vgg11", 0.01)])
def test_ten_steps_follow_torch(name, lr):
    a, b, _ = pair(name)
    shape = CASES[name][2][1:]
    rng = np.random.default_rng(1)
    x = rng.standard_normal((16, *shape)).astype("float32")
    y = rng.integers(0, 10, 16)
    for m in (*a.modules(), *b.modules()):
        if isinstance(m, (fastnn.nn.Dropout, torch.nn.Dropout)):
            m.p = 0.0
    sgd, peer = fastnn.optim.SGD(a.parameters(), lr), torch.optim.SGD(b.parameters(), lr)
    losses = []
    for _ in range(10):
        sgd.zero_grad()
        loss = fastnn.nn.functional.cross_entropy(a(fastnn.tensor(x)), fastnn.tensor(y))
        loss.backward()
        sgd.step()
        peer.zero_grad()
        want = torch.nn.functional.cross_entropy(b(torch.tensor(x)), torch.tensor(y))
        want.backward()
        peer.step()
        losses.append((loss.item(), want.item()))
    ours, theirs = np.array(losses).T
    assert theirs[-1] < theirs[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
