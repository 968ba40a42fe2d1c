"""torchvision's architectures in torch, with its parameter names: twins of fastnn.models.

The benchmark measures them, tests/peers compares what they compute.
"""

from functools import partial

from torch import nn

relu = partial(nn.ReLU, inplace=True)       # as torchvision has it


def lenet5(num_classes=10, in_channels=1):
    return Features(
        [nn.Conv2d(in_channels, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5),
         nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()], None,
        [nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, num_classes)])


class Features(nn.Module):
    """features, avgpool, classifier: LeNet-5, AlexNet and VGG"""

    def __init__(self, features, side, classifier):
        super().__init__()
        self.features, self.classifier = nn.Sequential(*features), nn.Sequential(*classifier)
        self.avgpool = nn.AdaptiveAvgPool2d(side) if side else nn.Identity()

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def alexnet(num_classes=1000, dropout=0.5, in_channels=3, small=False):
    stem = nn.Conv2d(in_channels, 64, 3, 1, 1) if small else nn.Conv2d(in_channels, 64, 11, 4, 2)
    side, units = (1, 1024) if small else (6, 4096)
    return Features(
        [stem, relu(), nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, 1, 2), relu(),
         nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, 1, 1), relu(),
         nn.Conv2d(384, 256, 3, 1, 1), relu(), nn.Conv2d(256, 256, 3, 1, 1), relu(),
         nn.MaxPool2d(3, 2)], side,
        [nn.Dropout(dropout), nn.Linear(256 * side * side, units), relu(), nn.Dropout(dropout),
         nn.Linear(units, units), relu(), nn.Linear(units, num_classes)])


def vgg(plan, batch_norm=False, num_classes=1000, dropout=0.5, in_channels=3, width=64,
        small=False):
    """plan: channels in units of width, "M" for pooling"""
    layers = []
    for step in plan:
        if step == "M":
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers.append(nn.Conv2d(in_channels, step * width, 3, padding=1))
        layers += [nn.BatchNorm2d(step * width)] * batch_norm + [relu()]
        in_channels = step * width
    side, units = (1, 8 * width) if small else (7, 4096)
    return Features(layers, side, [
        nn.Linear(in_channels * side * side, units), relu(), nn.Dropout(dropout),
        nn.Linear(units, units), relu(), nn.Dropout(dropout), nn.Linear(units, num_classes)])


VGG11 = [1, "M", 2, "M", 4, 4, "M", 8, 8, "M", 8, 8, "M"]
VGG13 = [1, 1, "M", 2, 2, "M", 4, 4, "M", 8, 8, "M", 8, 8, "M"]
VGG16 = [1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M"]
VGG19 = [1, 1, "M", 2, 2, "M", 4, 4, 4, 4, "M", 8, 8, 8, 8, "M", 8, 8, 8, 8, "M"]


class Block(nn.Module):
    """The residual block, basic or with a bottleneck."""

    def __init__(self, a, planes, stride, bottleneck):
        super().__init__()
        b = planes * (4 if bottleneck else 1)
        sizes = [(a, planes, 1, 1), (planes, planes, 3, stride), (planes, b, 1, 1)] if bottleneck \
            else [(a, planes, 3, stride), (planes, planes, 3, 1)]
        self.count = len(sizes)
        for k, (i, o, kernel, s) in enumerate(sizes, 1):
            setattr(self, f"conv{k}", nn.Conv2d(i, o, kernel, s, kernel // 2, bias=False))
            setattr(self, f"bn{k}", nn.BatchNorm2d(o))
        if stride != 1 or a != b:
            self.downsample = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False),
                                            nn.BatchNorm2d(b))

    def forward(self, x):
        y = x
        for k in range(1, self.count + 1):
            y = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(y))
            y = y.relu_() if k < self.count else y
        y += self.downsample(x) if hasattr(self, "downsample") else x
        return y.relu_()


class ResNet(nn.Module):
    def __init__(self, layers, bottleneck=False, num_classes=1000, in_channels=3, width=64,
                 small=False):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False) if small else \
            nn.Conv2d(in_channels, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        a, grow = width, 4 if bottleneck else 1
        for k, n in enumerate(layers):
            planes, stage = width * 2**k, []
            for i in range(n):
                stage.append(Block(a, planes, 2 if k and not i else 1, bottleneck))
                a = planes * grow
            setattr(self, f"layer{k + 1}", nn.Sequential(*stage))
        self.fc = nn.Linear(a, num_classes)

    def forward(self, x):
        x = self.pool(self.bn1(self.conv1(x)).relu_())
        for k in range(1, 5):
            x = getattr(self, f"layer{k}")(x)
        return self.fc(x.mean((2, 3)))


def step(a, b, kernel, stride=1, groups=1):
    return nn.Sequential(nn.Conv2d(a, b, kernel, stride, kernel // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(b), nn.ReLU6(inplace=True))


class Inverted(nn.Module):
    def __init__(self, a, b, stride, expand):
        super().__init__()
        wide = a * expand
        self.conv = nn.Sequential(
            *([step(a, wide, 1)] if expand > 1 else []), step(wide, wide, 3, stride, wide),
            nn.Conv2d(wide, b, 1, bias=False), nn.BatchNorm2d(b))
        self.add = stride == 1 and a == b

    def forward(self, x):
        return x + self.conv(x) if self.add else self.conv(x)


class MobileNetV2(nn.Module):
    """width_mult = 1"""

    def __init__(self, num_classes=1000, in_channels=3):
        super().__init__()
        layers, a = [step(in_channels, 32, 3, 2)], 32
        for t, c, n, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                           (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
            for i in range(n):
                layers.append(Inverted(a, c, s if i == 0 else 1, t))
                a = c
        self.features = nn.Sequential(*layers, step(320, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, num_classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def resnet18(**options):
    return ResNet((2, 2, 2, 2), **options)


def vgg16(**options):
    return vgg(VGG16, **options)
