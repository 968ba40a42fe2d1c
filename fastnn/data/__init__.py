"""Data: datasets, a loader of batches, and ready data sets in `fastnn.data.datasets`.

>>> import numpy as np
>>> data = TensorDataset(np.zeros((10, 3)), np.arange(10))
>>> for x, y in DataLoader(data, batch_size=5, shuffle=True):
...     print(x.shape, y.shape)
(5, 3) (5,)
(5, 3) (5,)
"""

from . import datasets
from .collate import default_collate
from .dataset import Dataset, Subset, TensorDataset, random_split
from .idx import read_idx
from .loader import DataLoader
from .samplers import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from .transforms import Normalize

__all__ = [
    "BatchSampler",
    "DataLoader",
    "Dataset",
    "Normalize",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "datasets",
    "default_collate",
    "random_split",
    "read_idx",
]
