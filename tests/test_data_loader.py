"""DataLoader: order, exact resume, samplers, threads that leave nothing."""

import itertools
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
from loading import WAIT, Numbers, epoch, rows, workers

import fastnn
import fastnn.data as fdata
import fastnn.utils.data
from fastnn.data import (
    DataLoader,
    random_split,
)
from fastnn.data.sampling import permutation
from fastnn.errors import (
    UnsupportedOpError,
)

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
