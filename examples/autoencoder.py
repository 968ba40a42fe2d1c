"""An autoencoder draws MNIST's digits from 32 numbers each, closer than 32 principal components do.

Principal component analysis (PCA) is the best that a linear code of that size can do; the network's
code may bend.  Both learn from the training images, both are judged on the test images.
Reads MNIST from $FASTNN_DATA/mnist, or downloads it (12 MB) once.
"""

import argparse
import time

import matplotlib
import numpy as np

import fastnn
from fastnn import models, optim
from fastnn.data import DataLoader, TensorDataset, datasets
from fastnn.nn import functional as F

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

EPOCHS, BATCH, LR, CODE, SEED = 8, 128, 4e-3, 32, 0


def principal_components(train, test):
    """The test images, rebuilt from the CODE linear features that tell most of training images."""
    flat, other = train.reshape(len(train), -1), test.reshape(len(test), -1)
    mean = flat.mean(0)
    variances, axes = np.linalg.eigh(np.cov(flat, rowvar=False))        # ascending
    axes = axes[:, -CODE:].astype(np.float32)
    return ((other - mean) @ axes @ axes.T + mean).reshape(test.shape)


def rebuild(net, x):
    net.eval()
    with fastnn.inference_mode():
        return np.concatenate([net(fastnn.tensor(x[i : i + 500])).numpy()
                               for i in range(0, len(x), 500)])


def squared_error(x, other):
    """The mean over all pixels, which go from 0 to 1."""
    return float(((x - other) ** 2).mean())


def train(net, x, x_test, epochs):
    loader = DataLoader(TensorDataset(x), batch_size=BATCH, shuffle=True, drop_last=True)
    optimizer = optim.AdamW(net.parameters(), lr=LR)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=epochs * len(loader))

    @fastnn.compile                         # from the second batch on, kernels without Python
    def step(x):
        optimizer.zero_grad()
        loss = F.mse_loss(net(x), x)        # the image itself is what the network should say
        loss.backward()
        optimizer.step()
        return loss

    started = time.perf_counter()
    for epoch in range(1, epochs + 1):
        net.train()
        losses = []
        for (batch,) in loader:
            losses.append(step(batch).item())
            schedule.step()
        print(f"epoch {epoch}  loss {np.mean(losses):.5f}  "
              f"test error {squared_error(x_test, rebuild(net, x_test)):.5f}  "
              f"{time.perf_counter() - started:5.1f} s", flush=True)


def draw(rows):
    figure, axes = plt.subplots(len(rows), 10, figsize=(10, 1.15 * len(rows)), layout="constrained")
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    figure.suptitle(f"test images, rebuilt from {CODE} numbers each")
    figure.savefig("autoencoder.png", dpi=120)


def main(quick: bool = False) -> tuple[float, float]:
    fastnn.manual_seed(SEED)
    (x, _), (x_test, y_test) = datasets.load_mnist(download=True)
    linear = principal_components(x, x_test)
    net = models.Autoencoder(code=CODE)
    train(net, x, x_test, 2 if quick else EPOCHS)

    rebuilt = rebuild(net, x_test)
    ours, pca = squared_error(x_test, rebuilt), squared_error(x_test, linear)
    print(f"squared error per pixel from {CODE} numbers: autoencoder {ours:.5f}, PCA {pca:.5f}")
    shown = [int(np.argmax(y_test == digit)) for digit in range(10)]         # the first of each
    draw({"original": x_test[shown], "PCA": linear[shown], "network": rebuilt[shown]})
    return ours, pca


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two epochs")
    main(parser.parse_args().quick)
