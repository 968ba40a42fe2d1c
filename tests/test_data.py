"""Datasets, collate and DataLoader: torch's meaning, exact resume, threads that leave nothing."""

import itertools
import json
import subprocess
import sys
import threading
from collections import namedtuple

import numpy as np
import pytest

import fastnn
import fastnn.data as fdata
import fastnn.utils.data
from fastnn.data import (
    DataLoader,
    Dataset,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
)
from fastnn.data.sampling import permutation
from fastnn.errors import (
    DTypeError,
    GraphError,
    IndexRangeError,
    ShapeError,
    UnsupportedOpError,
)

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


# --- order ---


def test_orders_never_change():
    """These bits are a promise: a run resumed with a later version sees the same batches."""
    assert permutation(12, 0, 0).tolist() == [0, 2, 11, 9, 1, 8, 5, 4, 3, 10, 6, 7]
    assert permutation(12, 2**64 - 1, 7).tolist() == [3, 0, 7, 10, 4, 6, 9, 8, 1, 11, 5, 2]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_epoch_has_every_sample_once_in_a_new_order(num_workers):
    loader = DataLoader(
        rows(50), batch_size=8, shuffle=True, seed=1, num_workers=num_workers, drop_last=False
    )
    orders = []
    for _ in range(3):
        batches = [(x.numpy(), y.numpy()) for x, y in loader]
        for x, y in batches:
            np.testing.assert_array_equal(x[:, 0], 3 * y)  # pairs stay together
        orders.append(np.concatenate([y for _, y in batches]).tolist())
        assert sorted(orders[-1]) == list(range(50))
    assert len({tuple(order) for order in orders}) == 3


def test_seeds():
    def two_epochs(**kwargs):
        loader = DataLoader(np.arange(40), batch_size=7, shuffle=True, **kwargs)
        return epoch(loader), epoch(loader)

    assert two_epochs(seed=1) == two_epochs(seed=1) != two_epochs(seed=2)
    fastnn.manual_seed(1)
    a = two_epochs()
    b = two_epochs()
    fastnn.manual_seed(1)
    assert two_epochs() == a != b and a[0] != a[1]


def test_generator():
    def orders(seed):
        generator = fastnn.Generator().manual_seed(seed)
        part = random_split(range(40), [0.5, 0.5], generator=generator)[0]
        return part.indices.tolist(), epoch(
            DataLoader(np.arange(40), 7, shuffle=True, generator=generator)
        )

    assert orders(1) == orders(1) != orders(2)
    with pytest.raises(TypeError, match="generator: got str"):
        random_split(range(40), [20, 20], "seed")


def test_explicit_seed_leaves_the_global_stream_alone():
    fastnn.manual_seed(1)
    expected = fastnn.rand(3).tolist()
    fastnn.manual_seed(1)
    epoch(DataLoader(np.arange(9), shuffle=True, seed=3))
    epoch(DataLoader(np.arange(9)))
    assert fastnn.rand(3).tolist() == expected


@pytest.mark.parametrize("n", [0, 1, 9, 10, 11])
@pytest.mark.parametrize("batch_size", [1, 5, 100])
@pytest.mark.parametrize("drop_last", [False, True])
def test_length_and_sizes(n, batch_size, drop_last):
    loader = DataLoader(np.arange(n), batch_size=batch_size, drop_last=drop_last)
    batches = epoch(loader)
    assert len(loader) == len(batches)
    kept = n - n % batch_size if drop_last else n
    assert sum(batches, []) == list(range(kept))
    assert all(len(batch) == batch_size for batch in batches[:-1])


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


# --- threads ---


@pytest.mark.parametrize("num_workers", [1, 2, 3, 7])
def test_workers_hand_out_the_same_batches_in_order(num_workers):
    plain = DataLoader(Numbers(100), batch_size=3, shuffle=True, seed=1)
    threaded = DataLoader(Numbers(100), 3, True, num_workers=num_workers, seed=1)
    assert epoch(threaded) == epoch(plain)
    assert epoch(threaded) == epoch(plain)  # the second epoch too
    assert not workers()


def test_a_slow_first_batch_still_comes_first():
    third_was_read = threading.Event()

    def read(i):
        if i == 0:
            assert third_was_read.wait(WAIT)
        if i == 2:
            third_was_read.set()
        return i

    assert sum(epoch(DataLoader(Numbers(6, read), num_workers=2)), []) == list(range(6))


def test_reads_ahead_while_the_consumer_works_but_not_without_bound():
    started = [threading.Event() for _ in range(100)]
    batches = iter(
        DataLoader(Numbers(100, lambda i: started[i].set() or i), num_workers=1, prefetch_factor=3)
    )
    assert next(batches).tolist() == [0]
    assert all(event.wait(WAIT) for event in started[:4])  # the one in hand and three ahead
    batches.close()
    assert not any(event.is_set() for event in started[4:])


def test_workers_run_side_by_side():
    meet = threading.Barrier(2)
    loader = DataLoader(Numbers(2, lambda i: meet.wait(WAIT) * 0 + i), num_workers=2)
    assert epoch(loader) == [[0], [1]]


class Odd(Exception):
    """An error type that needs more than a message: it must arrive as the same object."""

    def __init__(self, index, why):
        super().__init__(why)
        self.index = index


@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("error", [Odd(4, "no 4"), KeyError("four"), SystemExit(3)], ids=repr)
def test_errors_arrive_in_their_place_as_they_are(num_workers, error):
    def read(i):
        if i == 4:
            raise error
        return i

    got = []
    with pytest.raises(type(error)) as caught:
        for batch in DataLoader(Numbers(10, read), num_workers=num_workers):
            got += batch.tolist()
    assert caught.value is error and got == [0, 1, 2, 3]
    assert not workers()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_stop_iteration_in_a_dataset_does_not_end_the_epoch_silently(num_workers):
    def read(i):
        raise StopIteration

    with pytest.raises(RuntimeError):
        epoch(DataLoader(Numbers(3, read), num_workers=num_workers))


def test_no_thread_is_left():
    loader = DataLoader(Numbers(1000), batch_size=2, num_workers=3)
    for _ in loader:
        assert workers()
        break
    assert not workers()
    batches = iter(loader)
    next(batches)
    assert workers()
    del batches
    assert not workers()
    next(iter(loader))  # dropped at once
    assert not workers()
    with pytest.raises(ZeroDivisionError):
        for _ in loader:
            raise ZeroDivisionError
    assert not workers()


def test_interpreter_exits_in_the_middle_of_an_epoch():
    code = (
        "import numpy as np\n"
        "from fastnn.data import DataLoader\n"
        "batches = iter(DataLoader(np.arange(1000), num_workers=2))\n"
        "print(next(batches).tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=2 * WAIT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0]\n", "")


def test_two_iterators_of_one_loader_do_not_disturb_each_other():
    loader = DataLoader(np.arange(6), batch_size=2)
    pairs = [(a.tolist(), b.tolist()) for a in loader for b in loader]
    assert len(pairs) == 9 and pairs[1] == ([0, 1], [2, 3])


# --- state ---


def consume(loader, k):
    """The first k batches over as many epochs as it takes; leaves the loader right after them."""
    out = []
    while len(out) < k:
        for batch in loader:
            out.append(batch.tolist())
            if len(out) == k:
                break
    return out


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("seed", [7, None])
@pytest.mark.parametrize("drop_last", [False, True])
def test_resume_is_exact_after_every_batch(num_workers, seed, drop_last):
    def make(seed):
        return DataLoader(
            Numbers(11), 3, True, num_workers=num_workers, seed=seed, drop_last=drop_last
        )

    fastnn.manual_seed(3)
    expected = consume(make(seed), 12)
    for k in range(13):
        fastnn.manual_seed(3)
        loader = make(seed)
        first = consume(loader, k)
        state = json.loads(json.dumps(loader.state_dict()))
        rng = fastnn.get_rng_state()
        fastnn.manual_seed(99)
        resumed = make(None)
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        if seed is None:
            fastnn.set_rng_state(rng)
        assert first + consume(resumed, 12 - k) == expected


def test_state_counts_what_was_handed_out_not_what_was_read_ahead():
    loader = DataLoader(np.arange(100), num_workers=2)
    batches = iter(loader)
    for k in range(1, 5):
        next(batches)
        assert loader.state_dict()["batch"] == k


def test_a_finished_epoch_is_followed_by_the_next():
    loader = DataLoader(np.arange(6), 2, shuffle=True, seed=1)
    epoch(loader)
    state = loader.state_dict()
    assert (state["epoch"], state["batch"]) == (1, 0)
    resumed = DataLoader(np.arange(6), 2, shuffle=True)
    resumed.load_state_dict(state)
    assert epoch(resumed) == epoch(loader)


def test_a_broken_off_epoch_is_not_continued_by_the_same_loader():
    loader = DataLoader(np.arange(6), 2)
    next(iter(loader))
    assert epoch(loader) == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 7},
        {"batch_size": 3},
        {"shuffle": False},
        {"drop_last": True},
        {"batch": 4},
        {"batch": -1},
        {"epoch": -1},
        {"epoch": "1"},
        {"seed": -1},
        {"epoch_seed": 2**64},
        {"more": 1},
    ],
    ids=str,
)
def test_a_state_that_does_not_fit_changes_nothing(change):
    loader = DataLoader(np.arange(6), 2, shuffle=True, seed=1)
    next(iter(loader))
    state = loader.state_dict()
    with pytest.raises((ValueError, TypeError), match="DataLoader"):
        loader.load_state_dict({**state, **change})
    with pytest.raises(ValueError, match="DataLoader: state: got keys"):
        loader.load_state_dict({k: v for k, v in state.items() if k != "seed"})
    assert loader.state_dict() == state


# --- arguments ---


def test_torch_code_runs():
    torch = fastnn
    x, y = torch.tensor([[1.0, 2.0, 3.0]] * 10), torch.tensor([0, 1] * 5)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, y),
        batch_size=4,
        shuffle=True,
        num_workers=2,
        pin_memory=True,
        persistent_workers=True,
        prefetch_factor=4,
        timeout=10,
        multiprocessing_context="spawn",
        drop_last=True,
    )
    assert [(tuple(xb.shape), tuple(yb.shape)) for xb, yb in loader] == [((4, 3), (4,))] * 2
    assert isinstance(next(iter(loader)), list)  # as torch's default_collate
    assert fastnn.utils.data.DataLoader is DataLoader is fastnn.data.DataLoader


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        ({"batch_size": 0}, ValueError, "batch_size: got 0; need at least 1"),
        ({"batch_size": 2.5}, TypeError, "batch_size: got 2.5; need an int"),
        ({"batch_size": None}, TypeError, "batch_size: got None; need an int"),
        ({"batch_size": True}, TypeError, "batch_size: got True"),
        ({"num_workers": -1}, ValueError, "num_workers: got -1"),
        ({"prefetch_factor": 0}, ValueError, "prefetch_factor: got 0"),
        ({"timeout": -1}, ValueError, "timeout: got -1"),
        ({"seed": -1}, ValueError, "seed: got -1"),
        ({"seed": 1.5}, TypeError, "seed: got 1.5"),
        ({"seed": 2**64}, ValueError, "seed"),
        ({"sampler": [1, 2], "shuffle": True}, ValueError, "shuffle: got True with a sampler"),
        ({"batch_sampler": [[1]], "batch_size": 2}, ValueError, "batch_size: got a value with"),
        ({"batch_sampler": [[1]], "sampler": [1]}, ValueError, "sampler: got a value with"),
        ({"batch_sampler": [[1]], "drop_last": True}, ValueError, "drop_last: got a value with"),
        ({"worker_init_fn": print, "num_workers": 1}, UnsupportedOpError, "worker_init_fn"),
        ({"dataset": iter([1])}, TypeError, "dataset: got list_iterator"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, text):
    with pytest.raises(error, match=f"DataLoader: .*{text}|DataLoader: {text}"):
        DataLoader(**{"dataset": rows(), **arguments})


# ---------------------------------------------------------------- samplers


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sampler_says_which_samples_come(workers):
    data = np.arange(10) * 10
    loader = DataLoader(data, batch_size=2, sampler=[4, 1, 1, 7, 0], num_workers=workers)
    for _ in range(2):
        assert [b.tolist() for b in loader] == [[40, 10], [10, 70], [0]]
    assert len(loader) == 3
    loader = DataLoader(data, batch_size=2, sampler=[4, 1, 7], drop_last=True, num_workers=workers)
    assert [b.tolist() for b in loader] == [[40, 10]] and len(loader) == 1
    loader = DataLoader(data, batch_sampler=[[1, 2, 3], [5]], num_workers=workers)
    assert [b.tolist() for b in loader] == [[10, 20, 30], [50]] and len(loader) == 2


def test_a_sampler_may_be_endless():
    loader = DataLoader(np.arange(4), batch_size=3, sampler=itertools.cycle(range(4)))
    assert [b.tolist() for b in itertools.islice(loader, 2)] == [[0, 1, 2], [3, 0, 1]]
    with pytest.raises(TypeError):
        len(loader)


def test_a_loader_with_a_sampler_resumes():
    loader = DataLoader(np.arange(9), batch_size=2, sampler=range(8, -1, -1))
    batches = iter(loader)
    for _ in range(2):
        next(batches)
    again = DataLoader(np.arange(9), batch_size=2, sampler=range(8, -1, -1))
    again.load_state_dict(loader.state_dict())
    assert [b.tolist() for b in again] == [b.tolist() for b in batches] == [[4, 3], [2, 1], [0]]


def test_samplers_draw_what_they_say():
    fastnn.manual_seed(0)
    data = range(50)
    assert list(fdata.SequentialSampler(data)) == list(range(50))
    order = list(fdata.RandomSampler(data))
    assert sorted(order) == list(range(50)) != order
    drawn = list(fdata.RandomSampler(data, replacement=True, num_samples=500))
    assert len(drawn) == 500 and set(drawn) <= set(range(50)) and len(set(drawn)) > 40
    assert len(list(fdata.RandomSampler(data, num_samples=120))) == 120
    assert sorted(fdata.SubsetRandomSampler([3, 5, 9])) == [3, 5, 9]
    weights = fdata.WeightedRandomSampler([0.0, 1.0, 3.0], 4000)
    counts = np.bincount(list(weights), minlength=3)
    assert counts[0] == 0 and 2800 < counts[2] < 3200 and len(weights) == 4000
    assert sorted(fdata.WeightedRandomSampler([1.0, 2.0, 0.5], 3, replacement=False)) == [0, 1, 2]
    first, second = (list(fdata.RandomSampler(data, generator=fastnn.Generator().manual_seed(3)))
                     for _ in range(2))
    assert first == second
    for make in (lambda: fdata.BatchSampler(range(3), 0, False),
                 lambda: fdata.RandomSampler(data, num_samples=0),
                 lambda: fdata.WeightedRandomSampler([1.0], -1)):
        with pytest.raises(ValueError, match="need at least 1"):
            make()
    with pytest.raises(NotImplementedError):
        iter(fdata.Sampler())
