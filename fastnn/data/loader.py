"""Batches from a dataset: in order or shuffled, read ahead by threads, resumable at any batch."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar, cast

import numpy as np
import numpy.typing as npt

from ..errors import UnsupportedOpError
from .collate import default_collate
from .dataset import batch_reader
from .samplers import BatchSampler
from .sampling import check_seed, draw_seed, permutation

__all__ = ["DataLoader"]

T_co = TypeVar("T_co", covariant=True)
_PREFETCH = 2  # batches per worker: one being read while one waits


@dataclass
class _Epoch:
    """One pass over the data: its number, the seed of its order, the batches handed out."""

    number: int
    seed: int | None
    batch: int = 0
    done: bool = False


class DataLoader(Generic[T_co]):
    """Iterate over a dataset in batches of Tensors, a fresh order each epoch if `shuffle`.

    Names and meaning follow torch.  Datasets with ``read_batch`` (`TensorDataset`, `Subset` of
    one, the ready sets) are read without a loop over samples; others sample by sample through
    `collate_fn`.  `num_workers` threads read up to `prefetch_factor` batches each ahead, always
    delivered in order; an error in a dataset reaches the caller with its own type, and no
    thread outlives its iterator.

    The order of epoch e follows from (`seed`, e) alone; without `seed`, each epoch draws one from
    `generator` or from the stream of `fastnn.manual_seed`.  `state_dict` holds the position, also
    in the middle of an epoch: see there.

    Accepted for torch code and without effect, since workers are threads of this process that
    keep order and share memory: `pin_memory`, `pin_memory_device`, `persistent_workers`,
    `timeout`, `multiprocessing_context`, `in_order`.  Raises `ValueError` for sizes out of
    range and options that exclude each other, `TypeError` for what is no map-style dataset.

    A `sampler` yields the numbers of samples, a `batch_sampler` those of whole batches, anew for
    each epoch.  Resumed in the middle of one, a loader iterates it again and leaves out what has
    been handed out: the order is the same if the sampler gives the same again.

    >>> from fastnn.data import TensorDataset
    >>> data = TensorDataset(np.zeros((10, 3)), np.arange(10))
    >>> [tuple(x.shape) for x, y in DataLoader(data, batch_size=4, shuffle=True)]
    [(4, 3), (4, 3), (2, 3)]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool | None = False,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        seed: int | None = None,
    ) -> None:
        if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
            raise TypeError(
                f"DataLoader: dataset: got {type(dataset).__name__}; need __len__ and __getitem__"
            )
        _need_one_order(sampler, batch_sampler, batch_size, shuffle, drop_last)
        if not timeout >= 0:
            raise ValueError(f"DataLoader: timeout: got {timeout}; need seconds of at least 0")
        self.dataset = dataset
        self.batch_size = _count("batch_size", batch_size, 1)
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        self.sampler, self.batch_sampler = sampler, batch_sampler
        if sampler is not None:
            self.batch_sampler = BatchSampler(sampler, self.batch_size, self.drop_last)
        self.num_workers = _count("num_workers", num_workers, 0)
        if worker_init_fn is not None and self.num_workers:
            raise UnsupportedOpError(
                "DataLoader: worker_init_fn: got a function; need None: workers are threads that "
                "share the state of this process"
            )
        self.prefetch_factor = _count(
            "prefetch_factor", _PREFETCH if prefetch_factor is None else prefetch_factor, 1
        )
        self.collate_fn = collate_fn or default_collate
        self.generator = generator
        self.seed = None if seed is None else check_seed("DataLoader", seed)
        self._epoch = self._begin(0)
        self._fresh = True  # the next iter() goes on with self._epoch

    def __len__(self) -> int:
        """Batches per epoch; TypeError for a sampler that has no length."""
        if self.batch_sampler is not None:
            return len(cast(Sized, self.batch_sampler))
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[T_co]:
        if not self._fresh:
            self._epoch = self._begin(self._epoch.number + 1)
        self._fresh = False
        if self.shuffle and self._epoch.seed is None:
            self._epoch.seed = draw_seed(self.generator)
        return self._run(self._epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the newest iterator stands, as plain JSON values.

        Loaded into a loader over the same data, the next ``iter`` continues with the batch after
        the last one handed out (batches read ahead do not count); after a finished epoch it
        starts the next.  With `seed` all later orders are the same too; without it, restore the
        random state of fastnn as well.

        >>> loader = DataLoader(np.arange(10), batch_size=2, shuffle=True, seed=0)
        >>> batches = iter(loader)
        >>> _ = next(batches); state = loader.state_dict()
        >>> resumed = DataLoader(np.arange(10), batch_size=2, shuffle=True)
        >>> resumed.load_state_dict(state)
        >>> next(iter(resumed)).tolist() == next(batches).tolist()
        True
        """
        epoch = self._epoch
        if epoch.done:
            epoch = self._begin(epoch.number + 1)
        return {
            "epoch": epoch.number,
            "batch": epoch.batch,
            "epoch_seed": epoch.seed,
            "seed": self.seed,
            **self._fingerprint(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`; its `seed` replaces the loader's own.

        Raises `ValueError`, and changes nothing, if the state is of a loader with another number
        of samples, batch size, `shuffle` or `drop_last`, or is no such state at all.
        """
        if (keys := set(state)) != (need := set(self.state_dict())):
            raise ValueError(f"DataLoader: state: got keys {sorted(keys)}; need {sorted(need)}")
        for name, value in self._fingerprint().items():
            if state[name] != value:
                raise ValueError(f"DataLoader: state: got {name}={state[name]}; need {value}")
        seeds = {
            name: None if state[name] is None else check_seed("DataLoader", state[name])
            for name in ("seed", "epoch_seed")
        }
        number = _count("epoch", state["epoch"], 0)
        batch = _count("batch", state["batch"], 0)
        if self.batch_sampler is None and batch > len(self):
            raise ValueError(f"DataLoader: state: got batch {batch}; need at most {len(self)}")
        self.seed = seeds["seed"]
        self._epoch = _Epoch(number, seeds["epoch_seed"], batch)
        self._fresh = True

    def _begin(self, number: int) -> _Epoch:
        return _Epoch(number, self.seed if self.shuffle else None)

    def _fingerprint(self) -> dict[str, Any]:
        return {
            "samples": len(self.dataset),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
        }

    def _run(self, epoch: _Epoch) -> Iterator[T_co]:
        read = self._reader()
        todo = self._indices(epoch)
        # A generator, not map(): there a StopIteration from the dataset would end the epoch.
        here = (read(rows) for rows in todo)
        for batch in self._read_ahead(read, todo) if self.num_workers else here:
            epoch.batch += 1
            yield batch
        epoch.done = True

    def _indices(self, epoch: _Epoch) -> Iterator[npt.NDArray[np.int64]]:
        """The rows of each batch that is still to come."""
        if self.batch_sampler is not None:
            for rows in islice(self.batch_sampler, epoch.batch, None):
                yield np.asarray(list(rows), np.int64)
            return
        n, size = len(self.dataset), self.batch_size
        order = None if epoch.seed is None else permutation(n, epoch.seed, epoch.number)
        for i in range(epoch.batch, len(self)):
            part = slice(i * size, min((i + 1) * size, n))
            yield np.arange(part.start, part.stop) if order is None else order[part]

    def _reader(self) -> Callable[[npt.NDArray[np.int64]], Any]:
        """From rows to the batch; runs in the workers."""
        dataset, collate = self.dataset, self.collate_fn
        if collate is default_collate and (whole := batch_reader(dataset)) is not None:
            return whole
        if hasattr(dataset, "__getitems__"):
            return lambda rows: collate(dataset.__getitems__(rows.tolist()))
        return lambda rows: collate([dataset[i] for i in rows.tolist()])

    def _read_ahead(
        self,
        read: Callable[[npt.NDArray[np.int64]], Any],
        todo: Iterator[npt.NDArray[np.int64]],
    ) -> Iterator[Any]:
        """`map(read, todo)` by threads.

        Closing this generator (the end of a for loop, a break, an error) waits for the batches
        being read right now and drops those not begun.
        """
        from concurrent.futures import Future, ThreadPoolExecutor

        pool = ThreadPoolExecutor(self.num_workers, "fastnn-data")
        ahead: deque[Future[Any]] = deque()
        try:
            for rows in todo:
                ahead.append(pool.submit(read, rows))
                if len(ahead) > self.num_workers * self.prefetch_factor:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _need_one_order(
    sampler: Any, batch_sampler: Any, batch_size: int, shuffle: Any, drop_last: Any
) -> None:
    """Refuse options that say twice in what order samples come."""
    if sampler is not None and shuffle:
        raise ValueError("DataLoader: shuffle: got True with a sampler; need one of the two")
    if batch_sampler is None:
        return
    for name, given in (("sampler", sampler is not None), ("batch_size", batch_size != 1),
                        ("shuffle", shuffle), ("drop_last", drop_last)):
        if given:
            raise ValueError(f"DataLoader: {name}: got a value with a batch_sampler; need one of "
                             "the two")


def _count(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"DataLoader: {name}: got {value!r}; need an int")
    if (count := operator.index(value)) < least:
        raise ValueError(f"DataLoader: {name}: got {count}; need at least {least}")
    return count
