"""A small network predicts how diabetes progresses, as well as scikit-learn's MLPRegressor.

Mean squared error, one hidden layer; both train alike, from starting weights drawn alike.  R² is
averaged over ten random splits.  Needs scikit-learn (table and peers) and matplotlib.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor

import fastnn
from fastnn import nn, optim

HIDDEN, EPOCHS, LR, ALPHA = 32, 200, 0.01, 10.0     # ALPHA: L2 penalty as in scikit-learn
NAMES = ["fastnn", "MLPRegressor", "Ridge (linear)"]


def predict(x: np.ndarray, y: np.ndarray, x_test: np.ndarray) -> np.ndarray:
    """Train on all rows at once; predictions for the test rows."""
    model = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    weights, biases = [model[0].weight, model[2].weight], [model[0].bias, model[2].bias]
    for weight in weights:
        nn.init.xavier_uniform_(weight)
    optimizer = optim.Adam([{"params": weights, "weight_decay": ALPHA / len(x)},
                            {"params": biases}], lr=LR)
    inputs, targets = fastnn.tensor(x), fastnn.tensor(y)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        (nn.functional.mse_loss(model(inputs)[:, 0], targets) / 2).backward()
        optimizer.step()
    with fastnn.no_grad():
        return model(fastnn.tensor(x_test))[:, 0].numpy()


def main() -> list[float]:
    x, y = (a.astype(np.float32) for a in load_diabetes(return_X_y=True))
    x, y = x / x.std(0), (y - y.mean()) / y.std()           # x comes centred
    scores = []
    for seed in range(10):
        fastnn.manual_seed(seed)
        x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=seed)
        mlp = MLPRegressor(hidden_layer_sizes=(HIDDEN,), alpha=ALPHA, learning_rate_init=LR,
                           batch_size=len(x_train), max_iter=EPOCHS, n_iter_no_change=EPOCHS,
                           random_state=seed)
        ours = predict(x_train, y_train, x_test)
        peers = [peer.fit(x_train, y_train).predict(x_test) for peer in (mlp, Ridge())]
        scores.append([r2_score(y_test, p) for p in (ours, *peers)])
    for name, score in zip(NAMES, np.mean(scores, 0), strict=True):
        print(f"{name:14}  test R² {score:.3f}")

    figure, axis = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
    axis.scatter(y_test, ours, s=20, alpha=0.7, label="patients (last split)")
    axis.axline((0, 0), slope=1, color="black", linestyle="--", label="perfect")
    axis.set(xlabel="progression after one year (standard deviations)", ylabel="predicted")
    axis.legend()
    figure.savefig("regression.png", dpi=120)
    return np.mean(scores, 0).tolist()


if __name__ == "__main__":
    warnings.simplefilter("ignore")     # scikit-learn remarks that all EPOCHS were used: on purpose
    main()
