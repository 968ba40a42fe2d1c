"""What the tests of datasets and loaders read."""

import threading

import numpy as np

from fastnn.data import Dataset, TensorDataset

WAIT = 30  # seconds after which a thread that should have come is lost


class Numbers(Dataset):
    """Samples 0 .. n-1, read one by one; `read` may do anything on the way."""

    def __init__(self, n, read=lambda i: i):
        self.n, self.read = n, read

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return self.read(index)


def rows(n=10):
    return TensorDataset(np.arange(3 * n, dtype=np.float32).reshape(n, 3), np.arange(n))


def epoch(loader):
    """What one pass over a loader of plain numbers hands out."""
    return [batch.tolist() for batch in loader]


def workers():
    return [t for t in threading.enumerate() if t.name.startswith("fastnn-data")]
