"""The chain rule of a two-layer network, written out in NumPy beside `loss.backward()`.

    h = tanh(x W1ᵀ + b1)      scores = h W2ᵀ + b2      loss = mean cross-entropy of softmax(scores)

dA stands for the derivative of the loss with respect to A, and has A's shape.
"""

import numpy as np

import fastnn
from fastnn import nn
from fastnn.data import datasets
from fastnn.nn import functional as F


def by_hand(x: np.ndarray, y: np.ndarray, W1: np.ndarray, b1: np.ndarray, W2: np.ndarray,
            b2: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """The loss and its derivatives.  x: (n, 64), y: (n) classes, W1: (16, 64), W2: (10, 16)."""
    n = len(x)
    # forward
    h = np.tanh(x @ W1.T + b1)                              # (n, 16)
    scores = h @ W2.T + b2                                  # (n, 10)
    e = np.exp(scores - scores.max(axis=1, keepdims=True))  # shifted, so that exp cannot overflow
    p = e / e.sum(axis=1, keepdims=True)                    # softmax: each row sums to 1
    loss = -np.log(p[np.arange(n), y]).mean()
    # backward, from the loss to the inputs
    dscores = p.copy()
    dscores[np.arange(n), y] -= 1                           # of softmax and log: p - one_hot(y)
    dscores /= n                                            # the mean over n samples
    dW2 = dscores.T @ h                                     # slope at the output times input
    db2 = dscores.sum(axis=0)
    dh = dscores @ W2
    dz = dh * (1 - h ** 2)                                  # tanh' = 1 - tanh²
    dW1 = dz.T @ x
    db1 = dz.sum(axis=0)
    return float(loss), {"0.weight": dW1, "0.bias": db1, "2.weight": dW2, "2.bias": db2}


def main() -> float:
    fastnn.manual_seed(0)
    (x, y), _ = datasets.load_digits(flat=True)
    model = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    loss = F.cross_entropy(model(fastnn.tensor(x)), fastnn.tensor(y))
    loss.backward()

    weights = [p.detach().numpy() for p in model.parameters()]
    expected, gradients = by_hand(x, y, *weights)
    print(f"loss      by hand {expected:.6f}   fastnn {loss.item():.6f}")
    worst = abs(expected - loss.item())
    for name, parameter in model.named_parameters():
        difference = float(np.abs(gradients[name] - parameter.grad.numpy()).max())
        worst = max(worst, difference)
        print(f"{name:8}  largest difference {difference:.1e}")
    return worst


if __name__ == "__main__":
    main()
