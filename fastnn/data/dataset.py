"""Datasets: what has ``len`` and ``[index]``; those here also read a whole batch in one step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from .. import _core
from ..errors import DTypeError, GraphError, IndexRangeError, ShapeError
from ..ops.checks import need_index
from ..ops.indexing import take
from .collate import default_collate
from .sampling import SPLIT, check_seed, draw_seed, permutation
from .transforms import Normalize

__all__ = ["Dataset", "Subset", "TensorDataset", "random_split"]

T_co = TypeVar("T_co", covariant=True)
Indices = npt.NDArray[np.int64]


class Dataset(Generic[T_co]):
    """Base of map-style datasets: define ``__getitem__(int)`` and ``__len__``.

    A class that also defines ``read_batch(indices)``, from an int64 array to the batch as it leaves
    the loader, is read without a Python loop over samples.

    >>> class Squares(Dataset[int]):
    ...     def __len__(self): return 4
    ...     def __getitem__(self, index): return index * index
    """

    def __getitem__(self, index: int) -> T_co:
        raise NotImplementedError(f"{type(self).__name__}: need a __getitem__(index) method")


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Rows of Tensors or arrays of equal length; sample i is ``(x[i], y[i], ...)``.

    An index may be an int, or a slice, list, array or int Tensor for many rows at once. `transform`
    is applied to each x; a `Normalize` to the whole batch as it is read.  Raises `ShapeError` for
    unequal lengths, `IndexRangeError` past the end.

    >>> data = TensorDataset(np.zeros((5, 3)), np.arange(5))
    >>> data[[4, 1]][1].tolist()
    [4, 1]
    """

    def __init__(self, *tensors: Any, transform: Callable[[Any], Any] | None = None) -> None:
        self.transform = transform
        self.tensors = tuple(_core.as_tensor(tensor) for tensor in tensors)
        for i, tensor in enumerate(self.tensors):
            if tensor.requires_grad:
                raise GraphError(
                    f"TensorDataset: tensors[{i}]: got requires_grad=True; "
                    "need data without gradient: pass .detach()"
                )
        shapes = [tuple(tensor.shape) for tensor in self.tensors]
        if not shapes or () in shapes or len({shape[0] for shape in shapes}) > 1:
            raise ShapeError(
                f"TensorDataset: tensors: got shapes {shapes}; need one or more of equal length"
            )
        self._data = tuple(tensor.detach() for tensor in self.tensors)  # share the memory

    def __len__(self) -> int:
        return int(self._data[0].shape[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        if isinstance(index, (int, np.integer)):
            row = position(index, len(self), "TensorDataset")
            x, *others = [tensor[row] for tensor in self._data]
            return (x if self.transform is None else self.transform(x), *others)
        return tuple(self.read_batch(_rows(index, len(self), "TensorDataset")))

    def read_batch(self, indices: Indices) -> list[Any]:
        """The batch of these rows, copied."""
        rows = _core.as_tensor(indices)
        x = read_rows(self._data[0], rows, self.transform)
        return [x, *(take_rows(tensor, rows) for tensor in self._data[1:])]


class Subset(Dataset[T_co]):
    """The samples of `dataset` at `indices`, in that order.

    >>> Subset(TensorDataset(np.arange(10)), [7, 3])[1][0].item()
    3
    """

    def __init__(self, dataset: Any, indices: Any) -> None:
        self.dataset = dataset
        self.indices = _rows(indices, len(dataset), "Subset")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, (int, np.integer)):
            return self.dataset[int(self.indices[position(index, len(self), "Subset")])]
        return self.dataset[self.indices[_rows(index, len(self), "Subset")]]


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Any = None, *, seed: int | None = None
) -> list[Subset[Any]]:
    """Split into disjoint random subsets of the given sizes, or of fractions that add up to 1.

    Fractions are rounded down; left-over samples go to the first subsets in turn, as in torch.
    The order comes from `seed`, else from `generator`, else from `fastnn.manual_seed`.  Raises
    `ValueError` if the sizes do not add up to the dataset.

    >>> train, test = random_split(TensorDataset(np.arange(10)), [0.8, 0.2], seed=0)
    >>> len(train), len(test)
    (8, 2)
    """
    n = len(dataset)
    sizes = _sizes(lengths, n)
    seed = draw_seed(generator) if seed is None else check_seed("random_split", seed)
    order = permutation(n, seed, SPLIT)
    ends = np.cumsum([0, *sizes])
    return [Subset(dataset, order[a:b]) for a, b in zip(ends[:-1], ends[1:], strict=True)]


def _sizes(lengths: Sequence[float], n: int) -> list[int]:
    problem = ValueError(
        f"random_split: lengths: got {list(lengths)} for {n} samples; "
        "need sizes that add up to them, or fractions that add up to 1"
    )
    if any(not length >= 0 for length in lengths):
        raise problem
    if all(isinstance(length, (int, np.integer)) for length in lengths):
        if sum(lengths) != n:
            raise problem
        return [int(length) for length in lengths]
    if not math.isclose(math.fsum(lengths), 1):
        raise problem
    sizes = [math.floor(n * fraction) for fraction in lengths]
    for i in range(n - sum(sizes)):
        sizes[i % len(sizes)] += 1
    return sizes


def take_rows(data: Any, rows: Any) -> Any:
    """Samples of a Tensor of samples, copied by all threads."""
    need_index("read_batch", "indices", rows, data.shape[0])
    return take(data, 0, 1, rows)


def read_rows(data: Any, rows: Any, transform: Callable[[Any], Any] | None) -> Any:
    """Samples of a Tensor of samples, transformed: all at once if the transform can."""
    if transform is None:
        return take_rows(data, rows)
    if isinstance(transform, Normalize):
        return transform.rows(data, rows)
    return default_collate([transform(data[i]) for i in rows.tolist()])


def position(index: Any, n: int, op: str) -> int:
    """One index, maybe negative, as 0 .. n-1."""
    if not -n <= index < n:
        raise IndexRangeError(f"{op}: index: got {index}; need one for {n} samples")
    return int(index) % n


def _rows(index: Any, n: int, op: str) -> Indices:
    """Any kind of index of many rows as int64 positions 0 .. n-1."""
    if isinstance(index, slice):
        return np.arange(n)[index]
    rows = np.asarray(index)
    if rows.dtype == bool and rows.shape == (n,):
        return np.flatnonzero(rows)
    if rows.size == 0:
        rows = rows.astype(np.int64)
    if rows.dtype.kind not in "iu" or rows.ndim != 1:
        raise DTypeError(
            f"{op}: index: got {rows.dtype.name} of shape {rows.shape}; need ints of shape (B)"
        )
    bad = np.flatnonzero((rows < -n) | (rows >= n))
    if bad.size:
        raise IndexRangeError(
            f"{op}: index: got {rows[bad[0]]} at position {bad[0]}; need one for {n} samples"
        )
    rows = rows.astype(np.int64)  # before adding: int8 cannot hold n
    return np.where(rows < 0, rows + n, rows)


def batch_reader(dataset: Any) -> Callable[[Indices], Any] | None:
    """The way to read a whole batch in one step, or None where samples must be read singly.

    A subclass that overrides ``__getitem__`` (to augment, say) means it for every sample, so a
    ``read_batch`` is used only where it is defined no higher up than ``__getitem__``.
    """
    if isinstance(dataset, (np.ndarray, _core.Tensor)):
        array = np.asarray(dataset)
        data = _core.as_tensor(dataset).detach()
        if data.data_ptr() == array.ctypes.data:
            return lambda indices: take_rows(data, _core.as_tensor(indices))
        return lambda indices: _core.as_tensor(array.take(indices, 0))
    cls = type(dataset)
    if issubclass(cls, Subset) and cls.__getitem__ is Subset.__getitem__:
        inner = batch_reader(dataset.dataset)
        return inner and (lambda indices: inner(dataset.indices[indices]))
    owner = {name: base for base in reversed(cls.__mro__) for name in vars(base)}
    if "read_batch" in owner and issubclass(owner["read_batch"], owner["__getitem__"]):
        return dataset.read_batch
    return None
