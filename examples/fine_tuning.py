"""A network that reads digits learns "odd or even?" from ten pictures, one of each digit.

Fine-tuning: the trained layers are frozen, only a new last layer learns.  The same layers trained
from scratch on the same ten pictures are the comparison.
"""

import numpy as np

import fastnn
from fastnn import nn, optim
from fastnn.data import datasets
from fastnn.nn import functional as F


def network() -> nn.Sequential:
    """64 pixels -> scores of the ten digits."""
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(),
                         nn.Linear(64, 10))


def train(model: nn.Module, x: np.ndarray, y: np.ndarray, steps: int) -> None:
    """Adam on the parameters that are not frozen, all pictures at once."""
    optimizer = optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    inputs, labels = fastnn.tensor(x), fastnn.tensor(y)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    with fastnn.inference_mode():
        return float((model(fastnn.tensor(x)).argmax(dim=1).numpy() == y).mean())


def main() -> tuple[float, float]:
    fastnn.manual_seed(0)
    (x, y), (x_test, y_test) = datasets.load_digits(flat=True)
    ten = [np.flatnonzero(y == digit)[0] for digit in range(10)]

    reader = network()
    train(reader, x, y, steps=200)
    print(f"reads digits:               {accuracy(reader, x_test, y_test):.1%} right")

    reader.requires_grad_(False)                                            # keeps what it knows
    tuned = nn.Sequential(reader, nn.Softmax(dim=1), nn.Linear(10, 2))      # a new question
    train(tuned, x[ten], y[ten] % 2, steps=400)
    fresh = nn.Sequential(network(), nn.Softmax(dim=1), nn.Linear(10, 2))
    train(fresh, x[ten], y[ten] % 2, steps=400)

    results = accuracy(tuned, x_test, y_test % 2), accuracy(fresh, x_test, y_test % 2)
    print(f"odd or even, fine-tuned:    {results[0]:.1%}")
    print(f"odd or even, from scratch:  {results[1]:.1%}")
    return results


if __name__ == "__main__":
    main()
