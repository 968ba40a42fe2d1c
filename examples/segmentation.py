"""A U-Net looks at a scene of digits and says of every pixel which digit it belongs to, if any.

Scenes are made of MNIST: eight digits are thrown on 64×64 pixels, and those stay that do not touch
the ink of others; two to five, as a rule, anywhere and close together.
Eleven classes: 0 is background, d + 1 the ink of a digit d; so the network must find, outline and
read at once.  Training scenes have training digits only, test scenes test digits only.
Reads MNIST from $FASTNN_DATA/mnist, or downloads it (12 MB) once.
"""

import argparse
import time

import matplotlib
import numpy as np

import fastnn
from fastnn import models, optim
from fastnn.data import datasets
from fastnn.nn import functional as F

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

STEPS, BATCH, LR, SIDE, CLASSES, SEED = 1000, 16, 1e-2, 64, 11, 0
INK = 0.3                                   # a pixel this bright belongs to its digit


def scenes(rng, images, labels, n):
    """n pictures (n, 1, 64, 64) of a few digits each, and the classes (n, 64, 64)."""
    x, y = np.zeros((n, SIDE, SIDE), np.float32), np.zeros((n, SIDE, SIDE), np.int64)
    for picture, classes in zip(x, y, strict=True):
        for k in rng.integers(0, len(images), 8):
            digit = images[k, 0]
            top, left = rng.integers(0, SIDE - 27, 2)
            window = np.s_[top : top + 28, left : left + 28]
            if not (picture[window] * digit).any():
                picture[window] += digit
                classes[window][digit > INK] = labels[k] + 1
    return x[:, None], y


def train(net, rng, images, labels, steps):
    optimizer = optim.AdamW(net.parameters(), lr=LR)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)

    @fastnn.compile                         # from the second batch on, kernels without Python
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)   # the mean over all pixels of all scenes
        loss.backward()
        optimizer.step()
        return loss

    started, losses = time.perf_counter(), []
    for i in range(1, steps + 1):           # no scene comes twice
        x, y = scenes(rng, images, labels, BATCH)
        losses.append(step(fastnn.tensor(x), fastnn.tensor(y)).item())
        schedule.step()
        if i % 50 == 0:
            print(f"step {i:4}  loss {np.mean(losses[-50:]):.4f}  "
                  f"{time.perf_counter() - started:5.1f} s", flush=True)


def segment(net, x):
    """The likeliest class of every pixel."""
    net.eval()
    with fastnn.inference_mode():
        return np.concatenate([net(fastnn.tensor(x[i : i + 20])).argmax(dim=1).numpy()
                               for i in range(0, len(x), 20)])


def iou(truth, found):
    """Per class, the pixels in both the true and the found region, over those in either."""
    return np.array([((truth == c) & (found == c)).sum() / ((truth == c) | (found == c)).sum()
                     for c in range(CLASSES)])


def draw(x, truth, found):
    colours = matplotlib.colors.ListedColormap(["black", *matplotlib.colormaps["tab10"].colors])
    figure, axes = plt.subplots(3, len(x), figsize=(1.6 * len(x) + 0.8, 5), layout="constrained")
    for column, picture, *labels in zip(axes.T, x[:, 0], truth, found, strict=True):
        column[0].imshow(picture, cmap="gray", vmin=0, vmax=1)
        for axis, label in zip(column[1:], labels, strict=True):
            shown = axis.imshow(label, cmap=colours, vmin=-0.5, vmax=CLASSES - 0.5,
                                interpolation="nearest")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for axis, title in zip(axes[:, 0], ("scene", "truth", "U-Net"), strict=True):
        axis.set_ylabel(title)
    bar = figure.colorbar(shown, ax=axes, ticks=range(CLASSES))
    bar.set_ticklabels(["none", *"0123456789"])
    figure.suptitle("which digit each pixel belongs to")
    figure.savefig("segmentation.png", dpi=120)


def main(quick: bool = False) -> float:
    started = time.perf_counter()
    fastnn.manual_seed(SEED)
    train_set, test_set = datasets.load_mnist(download=True)
    net = models.UNet(in_channels=1, num_classes=CLASSES, width=16, depth=4)
    train(net, np.random.default_rng(SEED), *train_set, STEPS // 8 if quick else STEPS)

    x, truth = scenes(np.random.default_rng(SEED + 1), *test_set, 100 if quick else 500)
    found = segment(net, x)
    each = iou(truth, found)
    print("IoU per class: background", *(f"{name} {value:.3f}" for name, value in
                                         zip(["", *"0123456789"], each, strict=True)))
    print(f"mean IoU {each.mean():.3f} over {CLASSES} classes, {len(x)} scenes of unseen digits; "
          f"{time.perf_counter() - started:.0f} s")
    draw(x[:6], truth[:6], found[:6])
    return float(each.mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="an eighth of the steps")
    main(parser.parse_args().quick)
