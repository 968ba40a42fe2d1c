"""A small convolutional network reads MNIST, and shows what it looks for, sees and mistakes.

The settings and the resulting weights are those of `fastnn train mnist --model cnn`: 99.4% of the
test digits right after three epochs.  Reads MNIST from $FASTNN_DATA/mnist, or downloads it once.
"""

import sys
import time

import matplotlib
import numpy as np

import fastnn
from fastnn import models, optim
from fastnn.data import DataLoader, TensorDataset, datasets
from fastnn.nn import functional as F

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

EPOCHS, BATCH, LR, SEED = 3, 128, 4e-3, 0


def train(model, x, y, epochs):
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    optimizer = optim.AdamW(model.parameters(), lr=LR)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=epochs * len(loader))

    @fastnn.compile                         # from the second batch on, kernels without Python
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    started = time.perf_counter()
    for epoch in range(1, epochs + 1):
        losses = []
        for xb, yb in loader:
            losses.append(step(xb, yb).item())
            schedule.step()
        print(f"epoch {epoch}  loss {np.mean(losses):.4f}  {time.perf_counter() - started:5.1f} s",
              flush=True)


def bare(axes):
    """Axes for pictures: no ticks."""
    for axis in np.ravel(axes):
        axis.set(xticks=[], yticks=[])
    return axes


def draw_filters(model, image, label):
    """Each filter of the first layer, and below it the image (1, 28, 28) as that filter sees it."""
    conv = model.features[0]
    with fastnn.inference_mode():
        seen = conv(fastnn.tensor(image[None])).numpy()[0]
    filters = conv.weight.detach().numpy()[:, 0]
    figure, axes = plt.subplots(8, 8, figsize=(8.6, 9.4), layout="constrained")
    pairs = bare(axes).reshape(4, 2, 8).transpose(0, 2, 1).reshape(32, 2)
    for axes_of_one, *pictures in zip(pairs, filters, seen, strict=True):
        for axis, picture in zip(axes_of_one, pictures, strict=True):
            limit = abs(picture).max()
            axis.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
    for axis, name in zip(axes[:, 0], 4 * ["filter", f"its {label}"], strict=True):
        axis.set_ylabel(name)
    figure.suptitle(
        "The 32 filters of the first layer, 5×5 weights each: red asks for ink, blue for none.\n"
        f"Below each, how well it fits every place of a {label}: red well, blue the contrary.")
    figure.savefig("filters.png", dpi=120)


def draw_feature_maps(model, image, label, kinds=8):
    """The channels behind each ReLU that vary most over one image (1, 28, 28)."""
    y, blocks = fastnn.tensor(image[None]), []
    with fastnn.inference_mode():
        for layer in model.features:
            y = layer(y)
            if isinstance(layer, fastnn.nn.ReLU):
                blocks.append(y.numpy()[0])
    figure = plt.figure(figsize=(kinds + 3.2, 3.9), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[2.4, kinds + 0.8])
    axis = bare(left.subplots())
    axis.imshow(image[0], cmap="gray")
    axis.set_title(f"the image: a {label}")
    grid = bare(right.subplots(len(blocks), kinds))
    for k, (axes, maps) in enumerate(zip(grid, blocks, strict=True), 1):
        chosen = maps[np.argsort(-maps.std((1, 2)))[:kinds]]
        for axis, picture in zip(axes, chosen, strict=True):
            axis.imshow(picture, cmap="magma", vmin=0, vmax=chosen.max())
        side = maps.shape[-1]
        axes[0].set_ylabel(f"block {k}\n{kinds} of {len(maps)}\nchannels,\n{side}×{side}",
                           rotation=0, ha="right", va="center")
    right.suptitle("where each channel finds what it looks for: bright")
    figure.savefig("feature_maps.png", dpi=120)


def draw_confusion(predicted, actual):
    counts = np.bincount(10 * actual + predicted, minlength=100).reshape(10, 10)
    mistakes = np.where(np.eye(10, dtype=bool), 0, counts)
    figure, axis = plt.subplots(figsize=(5.6, 5.8), layout="constrained")
    axis.imshow(mistakes, cmap="Reds", vmax=max(mistakes.max(), 1) * 1.4)
    for i, j in np.argwhere(counts):
        axis.text(j, i, str(counts[i, j]), ha="center", va="center",
                  color="gray" if i == j else "black", fontsize=9)
    axis.set(xticks=range(10), yticks=range(10), xlabel="the network says", ylabel="it is",
             title=f"{mistakes.sum()} mistakes in {len(actual):,} digits\n"
                   "(gray: read right; red: mistaken)")
    figure.savefig("confusion.png", dpi=120)


def draw_mistakes(images, logits, actual, shown=32):
    """The misread digits that the network was surest of, as "it is → the network says"."""
    predicted = logits.argmax(1)
    rows = np.arange(len(actual))
    margin = logits[rows, predicted] - logits[rows, actual]             # 0 where it is right
    worst = np.argsort(-margin, kind="stable")[: min(shown, (margin > 0).sum())]
    figure, axes = plt.subplots(4, 8, figsize=(8, 4.9), layout="constrained")
    for axis, k in zip(bare(axes).flat, worst, strict=False):
        axis.imshow(images[k, 0], cmap="gray_r")
        axis.set_title(f"{actual[k]} → {predicted[k]}", fontsize=10)
    for axis in axes.flat[len(worst) :]:
        axis.axis("off")
    figure.suptitle("misread with the greatest confidence: it is → the network says")
    figure.savefig("mistakes.png", dpi=120)


def main(epochs: int = EPOCHS, images: int = 60000) -> float:
    fastnn.manual_seed(SEED)
    (x, y), (x_test, y_test) = datasets.load_mnist(download=True)
    model = models.CNN(channels=(32, 64, 128), hidden=256, dropout=0.3)
    train(model, x[:images], y[:images], epochs)

    model.eval()
    with fastnn.inference_mode():
        logits = np.concatenate([model(fastnn.tensor(part)).numpy()
                                 for part in np.split(x_test, 20)])
    predicted = logits.argmax(1)
    accuracy = float((predicted == y_test).mean())
    print(f"test accuracy {accuracy:.2%}")
    draw_filters(model, x_test[0], y_test[0])
    draw_feature_maps(model, x_test[0], y_test[0])
    draw_confusion(predicted, y_test)
    draw_mistakes(x_test, logits, y_test)
    fastnn.save(model.state_dict(), "mnist-cnn.safetensors")
    return accuracy


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))       # python mnist_cnn.py [epochs [training images]]
