"""Saving and loading: round trips, atomic replacement, damaged files, pickles refused."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

import fastnn
from fastnn import nn, serialization
from fastnn.errors import CorruptFileError, DTypeError, LimitError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def same(a, b):
    """Equal structure, dtypes and bits."""
    if isinstance(a, fastnn.Tensor):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy(), strict=True)
    elif isinstance(a, dict):
        assert isinstance(b, dict) and list(a) == list(b)
        for k in a:
            same(a[k], b[k])
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert a == b and type(a) is type(b)


def test_a_model_comes_back_bit_for_bit(path):
    a, b = nn.Linear(3, 4), nn.Linear(3, 4)
    fastnn.save(a.state_dict(), path)
    b.load_state_dict(fastnn.load(path))
    x = fastnn.ones(2, 3)
    assert b(x).tolist() == a(x).tolist()


def test_other_programs_read_it_and_write_it(path):
    from safetensors import numpy as safetensors

    fastnn.save({"a.b": fastnn.ones(2)}, path)
    np.testing.assert_array_equal(safetensors.load_file(path)["a.b"], np.ones(2, np.float32))
    safetensors.save_file({"x": np.arange(3)}, path)
    assert fastnn.load(path)["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", list(fastnn.DTYPES))
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_every_dtype_and_shape(path, dtype, shape):
    array = np.asarray(np.arange(np.prod(shape)).reshape(shape) % 2, dtype)
    fastnn.save({"x": fastnn.tensor(array, dtype=dtype), "array": array}, path)
    back = fastnn.load(path)
    np.testing.assert_array_equal(back["x"].numpy(), array, strict=True)
    np.testing.assert_array_equal(back["array"].numpy(), array, strict=True)
    back["x"].numpy()[...] = 1          # its own, writable memory


def test_arrays_of_any_layout(path):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    fastnn.save({"t": x.T, "strided": x[:, ::2], "swapped": x.astype(">f4")}, path)
    back = fastnn.load(path)
    np.testing.assert_array_equal(back["t"].numpy(), x.T)
    np.testing.assert_array_equal(back["strided"].numpy(), x[:, ::2])
    np.testing.assert_array_equal(back["swapped"].numpy(), x)


def test_nested_checkpoints(path):
    checkpoint = {
        "model": OrderedDict(w=fastnn.ones(2)), "epoch": 3, "lr": 1e-3, "name": "ä", "best": None,
        "done": True, "loss": float("inf"),
        "optimizer": {"state": {0: {"step": fastnn.tensor(5), "m": fastnn.zeros(2)}},
                      "groups": [{"betas": (0.9, 0.999), "params": [0, 1]}]},
        "model.w": fastnn.zeros(1), "empty": {}, "": [],
    }
    fastnn.save(checkpoint, path)
    same(checkpoint, fastnn.load(path))
    fastnn.save(fastnn.ones(3), path)
    same(fastnn.ones(3), fastnn.load(path))
    fastnn.save({}, path)
    assert fastnn.load(path) == {}


def test_metadata(path):
    fastnn.save({"x": fastnn.ones(1), "n": 1}, path, metadata={"about": "me"})
    assert serialization.load_metadata(path) == {"about": "me"}
    with pytest.raises(ValueError, match="metadata"):
        fastnn.save({}, path, metadata={serialization.TREE: "x"})


@pytest.mark.parametrize("value, error", [
    (object(), DTypeError), ({"f": len}, DTypeError), ({1.5: 1}, DTypeError),
    ({"x": {1, 2}}, DTypeError), (np.array([object()]), DTypeError),
    (np.array(["text"]), DTypeError), (np.array([1j]), DTypeError),
], ids=str)
def test_what_cannot_be_saved_leaves_the_old_file(path, value, error):
    fastnn.save({"x": fastnn.ones(1)}, path)
    with pytest.raises(error):
        fastnn.save(value, path)
    assert fastnn.load(path)["x"].tolist() == [1] and os.listdir(path.parent) == [path.name]


def test_endless_nests_are_refused(path):
    nest: list = []
    nest.append(nest)
    with pytest.raises(LimitError):
        fastnn.save(nest, path)


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.pkl", "m.bin", "m.PT"])
def test_pickles_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps({"x": 1}))
    for call in (fastnn.load, serialization.load_metadata):
        with pytest.raises(CorruptFileError, match="never unpickles"):
            call(tmp_path / name)
    with pytest.raises(ValueError, match=r"save: f: got .*such as .*m\.safetensors") as caught:
        fastnn.save({}, tmp_path / name)
    assert caught.type is ValueError        # nothing is corrupt yet


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_are_refused_by_content(path, protocol, monkeypatch):
    monkeypatch.chdir(path.parent)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as z:
        z.writestr("data.pkl", pickle.dumps(Bomb(), protocol))
    for data in (pickle.dumps(Bomb(), protocol), zipped.getvalue()):
        path.write_bytes(data)
        with pytest.raises(CorruptFileError, match="never unpickles"):
            fastnn.load(path)
    assert not (path.parent / "exploded").exists()


def test_other_names_and_places(path):
    with pytest.raises(ValueError, match=r"\.safetensors"):
        fastnn.save({}, path.with_suffix(".txt"))
    with pytest.raises(FileNotFoundError):
        fastnn.load(path)
    with pytest.raises(FileNotFoundError):
        fastnn.save({}, path.parent / "none" / "m.safetensors")
    with pytest.raises(TypeError):
        fastnn.load(io.BytesIO())
    with pytest.raises(DTypeError):
        fastnn.load(path, map_location="cuda")


def test_a_file_cut_anywhere_is_corrupt(path):
    fastnn.save({"model": {"w": fastnn.ones(3)}, "epoch": 1}, path)
    data = path.read_bytes()
    for n in range(len(data)):
        path.write_bytes(data[:n])
        with pytest.raises(CorruptFileError):
            fastnn.load(path)
    path.write_bytes(data + b"x")
    with pytest.raises(CorruptFileError):
        fastnn.load(path)


def test_a_flipped_bit_never_does_more_than_raise(path):
    fastnn.save({"model": {"w": fastnn.ones(3)}, "epoch": 1}, path)
    data = path.read_bytes()
    for i in range(8 * (len(data) - 12)):           # length and header, not the numbers themselves
        flipped = bytearray(data)
        flipped[i // 8] ^= 1 << i % 8
        path.write_bytes(flipped)
        try:
            fastnn.load(path)
        except (CorruptFileError, DTypeError):
            pass


@pytest.mark.parametrize("tree", [
    "", "[", '{"dict": 3}', '{"dict": [[1]]}', '{"tensor": "none"}', '{"a": 1, "b": 2}', "{}",
    '{"what": []}', '{"list": 5}', '{"dict": [[[], 1]]}', "[" * 100_000, '{"tensor": []}',
    '{"list": [' * 5000 + "]}" * 5000,
], ids=lambda t: t[:20])
def test_damaged_trees(path, tree):
    from safetensors import numpy as safetensors

    path.write_bytes(safetensors.save({"x": np.zeros(1)}, {serialization.TREE: tree}))
    with pytest.raises(CorruptFileError):
        fastnn.load(path)


def test_an_element_type_numpy_lacks(path):
    header = json.dumps({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(DTypeError, match="element type"):
        fastnn.load(path)


# ---------------------------------------------------------------- atomic replacement

@pytest.mark.parametrize("fails", ["fsync", "replace", "open"])
def test_a_failing_system_call_leaves_the_old_file(path, fails, monkeypatch):
    fastnn.save({"x": fastnn.ones(1)}, path)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(os, fails, fail)
        with pytest.raises(OSError, match="No space left"):
            fastnn.save({"x": fastnn.zeros(1)}, path)
    assert fastnn.load(path)["x"].tolist() == [1] and os.listdir(path.parent) == [path.name]


def test_a_full_disk_leaves_the_old_file(path):
    import resource

    fastnn.save({"x": fastnn.ones(1)}, path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        with pytest.raises(OSError):
            fastnn.save({"x": fastnn.zeros(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert fastnn.load(path)["x"].tolist() == [1] and os.listdir(path.parent) == [path.name]


def test_temporaries_of_the_dead_are_removed_and_links_not_followed(path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    stale = path.parent / f".{path.name}.{child.pid}.1.tmp"
    stale.write_text("half a file")
    living = path.parent / f".{path.name}.{os.getppid()}.1.tmp"
    living.write_text("someone is writing")
    fastnn.save({"x": fastnn.ones(1)}, path)
    assert not stale.exists() and living.exists()


def test_killed_while_saving_leaves_the_old_file_or_the_new(path):
    script = textwrap.dedent("""
        import fastnn, itertools, sys
        for i in itertools.count():
            fastnn.save({"x": fastnn.full((50_000,), float(i))}, sys.argv[1])
            print(i, flush=True)
    """)
    child = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    for _ in range(3):
        last = int(child.stdout.readline())
    child.kill()
    child.wait()
    x = fastnn.load(path)["x"].numpy()
    assert (x == x[0]).all() and x[0] >= last
    fastnn.save({"x": fastnn.ones(1)}, path)
    assert os.listdir(path.parent) == [path.name]


def test_saving_over_the_file_just_loaded(path):
    fastnn.save({"x": fastnn.ones(1000)}, path)
    state = fastnn.load(path)
    fastnn.save(state, path)
    assert fastnn.load(path)["x"].tolist() == [1.0] * 1000
