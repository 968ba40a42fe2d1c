"""Datasets, splits and collate: torch's meaning, whole batches read at once."""

from collections import namedtuple

import numpy as np
import pytest
from loading import Numbers, epoch, rows

import fastnn
import fastnn.utils.data
from fastnn.data import (
    DataLoader,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
)
from fastnn.errors import (
    DTypeError,
    GraphError,
    IndexRangeError,
    ShapeError,
)

# --- datasets ---


@pytest.mark.parametrize(
    "index",
    [slice(2, 9, 3), [4, 1, -1], np.array([0, 0, 3]), np.arange(10) % 2 == 0, []],
    ids=str,
)
def test_tensor_dataset_reads_many_rows(index):
    x, y = rows()[index]
    picked = np.arange(10)[index if len(np.shape(index)) == 0 or len(index) else slice(0)]
    np.testing.assert_array_equal(y.numpy(), picked)
    np.testing.assert_array_equal(x.numpy(), np.arange(30).reshape(10, 3)[picked])
    np.testing.assert_array_equal(Subset(rows(), range(10))[index][1].numpy(), picked)


def test_tensor_dataset_samples():
    data = rows()
    x, y = data[-1]
    assert x.shape == (3,) and y.shape == () and y.item() == 9
    assert len(data) == 10 and len(list(data)) == 10  # IndexError ends the iteration
    (picked,) = TensorDataset(np.arange(5))[fastnn.tensor([3, 1])]
    assert picked.tolist() == [3, 1]


@pytest.mark.parametrize("make", [rows, lambda: Subset(rows(), range(10))])
@pytest.mark.parametrize(
    "index, error",
    [
        (10, IndexRangeError),
        (-11, IndexRangeError),
        ([3, 10], IndexRangeError),
        (np.array([-11]), IndexRangeError),
        ([0.5], DTypeError),
        ([[1, 2]], DTypeError),
        (["a"], DTypeError),
        (np.ones(9, bool), DTypeError),
    ],
)
def test_bad_indices(make, index, error):
    with pytest.raises(error):
        make()[index]


def test_index_error_names_position_and_value():
    with pytest.raises(IndexRangeError, match="got 12 at position 1; need one for 10 samples"):
        rows()[[3, 12]]


@pytest.mark.parametrize(
    "tensors",
    [(), (np.zeros((3, 2)), np.zeros(4)), (np.float32(1),), (np.zeros(3), np.float32(1))],
)
def test_tensor_dataset_needs_equal_lengths(tensors):
    with pytest.raises(ShapeError, match="TensorDataset: tensors: got shapes"):
        TensorDataset(*tensors)


def test_tensor_dataset_refuses_gradients():
    with pytest.raises(GraphError, match=r"tensors\[0\]: got requires_grad=True"):
        TensorDataset(fastnn.tensor(np.zeros(3), requires_grad=True))


def test_changing_a_batch_leaves_the_data_alone():
    x = fastnn.tensor(np.zeros((4, 2)))
    for shuffle in (False, True):
        for (batch,) in DataLoader(TensorDataset(x), batch_size=2, shuffle=shuffle):
            batch.numpy()[:] = 1
    assert x.numpy().sum() == 0


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_indices_of_any_int_type(dtype):
    picked = Subset(range(300), np.array([100, -1 if dtype[0] == "i" else 1], dtype)).indices
    assert picked.tolist() == [100, 299 if dtype[0] == "i" else 1]
    with pytest.raises(IndexRangeError, match=f"got {np.iinfo(dtype).max}"):
        Subset(range(100), np.array([np.iinfo(dtype).max], dtype))


def test_subset_checks_its_indices_at_once():
    with pytest.raises(IndexRangeError, match="Subset: index: got 10"):
        Subset(rows(), [10])


# --- random_split ---


@pytest.mark.parametrize(
    "n, lengths",
    [
        (10, [7, 3]),
        (10, [0.8, 0.2]),
        (11, [0.5, 0.25, 0.25]),
        (10, [0.7, 0.2, 0.1]),
        (7, [1.0]),
        (3, [0.25] * 4),
        (0, [0, 0]),
        (100, [0.29, 0.71]),
    ],
)
@pytest.mark.filterwarnings("ignore:Length of split")  # torch's word on an empty part
def test_random_split_covers_everything_once_in_torchs_sizes(n, lengths):
    parts = random_split(TensorDataset(np.arange(n)), lengths, seed=1)
    assert sorted(i for part in parts for i in part.indices) == list(range(n))
    torch = pytest.importorskip("torch.utils.data")
    assert [len(p) for p in parts] == [len(p) for p in torch.random_split(range(n), lengths)]


@pytest.mark.parametrize("lengths", [[5, 4], [0.5, 0.4], [11, -1], [], [float("nan"), 1.0], [1]])
def test_random_split_refuses_wrong_sums(lengths):
    with pytest.raises(ValueError, match="random_split: lengths: got"):
        random_split(rows(), lengths, seed=0)


def test_random_split_is_seeded():
    def first(**seed):
        return random_split(range(100), [50, 50], **seed)[0].indices.tolist()

    assert first(seed=3) == first(seed=3) != first(seed=4)
    fastnn.manual_seed(5)
    a, b = first(), first()
    fastnn.manual_seed(5)
    assert [first(), first()] == [a, b] and a != b


# --- reading whole batches ---


def test_no_python_loop_over_samples(monkeypatch):
    calls = []
    read = TensorDataset.read_batch
    monkeypatch.setattr(
        TensorDataset, "read_batch", lambda self, i: calls.append(len(i)) or read(self, i)
    )
    monkeypatch.setattr(TensorDataset, "__getitem__", None)  # any call would raise
    nested = Subset(Subset(rows(100), range(90)), range(80))
    batches = list(DataLoader(nested, batch_size=32, shuffle=True, seed=0))
    assert calls == [32, 32, 16]
    assert sorted(np.concatenate([y.numpy() for _, y in batches])) == list(range(80))


def test_an_overridden_getitem_is_called_for_every_sample():
    class Doubled(TensorDataset):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return x.numpy() * 2, y

    class Last(Subset):
        def __getitem__(self, index):
            return super().__getitem__(index)[-1]

    x, y = next(iter(DataLoader(Subset(Doubled(*rows().tensors), [1, 2]), batch_size=2)))
    np.testing.assert_array_equal(x.numpy(), 2 * np.arange(3, 9).reshape(2, 3))
    assert epoch(DataLoader(Last(rows(), [5, 6]), batch_size=2)) == [[5, 6]]


def test_own_collate_gets_a_list_of_samples():
    seen = next(iter(DataLoader(rows(), batch_size=3, collate_fn=lambda samples: samples)))
    assert [int(y.item()) for _, y in seen] == [0, 1, 2]


def test_getitems_of_the_dataset_is_used():
    class Bulk(Numbers):
        def __getitems__(self, indices):
            return [10 * i for i in indices]

    assert epoch(DataLoader(Bulk(4), batch_size=2)) == [[0, 10], [20, 30]]


def test_any_sequence_is_a_dataset():
    assert epoch(DataLoader([3, 1, 2], batch_size=2)) == [[3, 1], [2]]
    assert epoch(DataLoader(fastnn.tensor([3, 1, 2]), batch_size=2)) == [[3, 1], [2]]


# --- collate ---

Point = namedtuple("Point", "x label")


def structure(batch):
    """Types, shapes and values of a batch, for comparing engines; torch's Tensors look alike."""
    if isinstance(batch, dict):
        return {key: structure(value) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return [type(batch).__name__, *map(structure, batch)]
    if hasattr(batch, "numpy"):
        return (tuple(batch.shape), batch.numpy().dtype.kind, batch.tolist())
    return batch


@pytest.mark.parametrize(
    "samples",
    [
        [1, 2, 3],
        [1.5, 2.5],
        [True, False],
        [np.float32(1), np.float32(2)],
        [np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32)],
        [(np.ones(2, np.float32), 1), (np.zeros(2, np.float32), 2)],
        [[1, 2], [3, 4]],
        [{"x": 1.0, "name": "a"}, {"x": 2.0, "name": "b"}],
        [Point(1.0, (2, "a")), Point(3.0, (4, "b"))],
        ["a", "b"],
    ],
    ids=str,
)
def test_collate_is_torchs(samples):
    torch = pytest.importorskip("torch.utils.data")
    assert structure(default_collate(samples)) == structure(torch.default_collate(samples))


def test_collate_stacks_tensors():
    batch = default_collate([fastnn.tensor([1, 2]), fastnn.tensor([3, 4])])
    assert batch.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "samples, error, text",
    [
        ([np.zeros(2), np.zeros(3)], ShapeError, r"got shapes \(2,\) and \(3,\)"),
        ([(1, 2), (1,)], ShapeError, r"got \[1, 2\] fields"),
        ([object(), object()], DTypeError, "got object; need"),
        ([None], DTypeError, "got NoneType"),
        ([{"a": 1}, {"b": 1}], KeyError, "a"),
    ],
)
def test_collate_refuses(samples, error, text):
    with pytest.raises(error, match=text):
        default_collate(samples)
