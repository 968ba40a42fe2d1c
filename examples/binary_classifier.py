"""One neuron judges breast tumours from 30 measurements of their cells, as well as scikit-learn's.

A linear layer with one output, trained on the cross-entropy of its logit, is logistic regression.
Scores are averaged over ten random splits.  Needs scikit-learn (table and peers) and matplotlib.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn import nn, optim

EPOCHS, LR, ALPHA = 300, 0.05, 1.0              # ALPHA: L2 penalty as in scikit-learn
NAMES = ["fastnn, one neuron", "MLPClassifier, no hidden layer", "LogisticRegression"]


def neuron_logits(x: np.ndarray, y: np.ndarray, x_test: np.ndarray) -> np.ndarray:
    """Train one neuron on all rows at once; its logits for the test rows."""
    model = nn.Linear(x.shape[1], 1)
    optimizer = optim.Adam([{"params": [model.weight], "weight_decay": ALPHA / len(x)},
                            {"params": [model.bias]}], lr=LR)
    inputs, targets = fastnn.tensor(x), fastnn.tensor(y, dtype=fastnn.float32)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(inputs)[:, 0], targets).backward()
        optimizer.step()
    with fastnn.no_grad():
        return model(fastnn.tensor(x_test))[:, 0].numpy()


def main() -> list[float]:
    x, y = load_breast_cancer(return_X_y=True)              # y: 1 is benign, 0 malignant
    scores = []
    for seed in range(10):
        fastnn.manual_seed(seed)
        x_train, x_test, y_train, y_test = train_test_split(x, y, stratify=y, random_state=seed)
        scaler = StandardScaler().fit(x_train)
        x_train, x_test = (scaler.transform(part).astype(np.float32) for part in (x_train, x_test))
        logits = neuron_logits(x_train, y_train, x_test)
        mlp = MLPClassifier((), alpha=ALPHA, learning_rate_init=LR, batch_size=len(x_train),
                            max_iter=EPOCHS, n_iter_no_change=EPOCHS, random_state=seed)
        peers = [mlp.fit(x_train, y_train), LogisticRegression(C=1 / ALPHA).fit(x_train, y_train)]
        scores.append([np.mean((logits > 0) == y_test), *(p.score(x_test, y_test) for p in peers)])
    for name, score in zip(NAMES, np.mean(scores, 0), strict=True):
        print(f"{name:30}  test accuracy {score:.2%}")

    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axis.hist([logits[y_test == 0], logits[y_test == 1]], bins=range(-60, 20, 2), stacked=True,
              label=["malignant", "benign"])
    axis.axvline(0, color="black", linestyle="--", label="decision")
    axis.set(xlabel="logit of the neuron", ylabel="test tumours (last split)")
    axis.legend()
    figure.savefig("binary_classifier.png", dpi=120)
    return np.mean(scores, 0).tolist()


if __name__ == "__main__":
    warnings.simplefilter("ignore")     # scikit-learn remarks that all EPOCHS were used: on purpose
    main()
