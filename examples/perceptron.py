"""Rosenblatt's perceptron (1958) tells one kind of iris from the two others without a mistake.

Each flower that is judged wrongly moves the line a little; if some line separates the two groups,
this comes to rest after finitely many moves.  Needs scikit-learn (the flowers) and matplotlib.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris

import fastnn
from fastnn import nn


def main() -> int:
    iris = load_iris()
    x = iris.data[:, [2, 3]].astype(np.float32)             # petal length and width, in cm
    y = (iris.target == 0).astype(np.float32)               # 1 for setosa

    model = nn.Perceptron(in_features=2)
    for epoch in range(1, 101):
        mistakes = sum(model.learn(x[i:i + 1], y[i:i + 1]) for i in range(len(x)))
        print(f"epoch {epoch}: mistakes {mistakes}")
        if mistakes == 0:
            break

    wrong = int((model(fastnn.tensor(x))[:, 0] != fastnn.tensor(y)).sum())
    (a, b), c = model.weight[0].tolist(), model.bias.item()
    print(f"{wrong} of {len(x)} flowers on the wrong side of the line "
          f"{a:.2f} length {b:+.2f} width {c:+.2f} = 0")
    draw(x, y, a, b, c)
    return wrong


def draw(x: np.ndarray, y: np.ndarray, a: float, b: float, c: float) -> None:
    """Write perceptron.png: the flowers and the line where a·length + b·width + c = 0."""
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    axis.scatter(*x[y == 1].T, s=25, label="setosa")
    axis.scatter(*x[y == 0].T, s=25, marker="^", label="versicolor and virginica")
    width = np.array([0, 2.7])
    axis.plot(-(b * width + c) / a, width, color="black", label="the perceptron's line")
    axis.set(xlabel="petal length (cm)", ylabel="petal width (cm)", xlim=(0.5, 7.2), ylim=(0, 2.7))
    axis.legend()
    figure.savefig("perceptron.png", dpi=120)


if __name__ == "__main__":
    main()
