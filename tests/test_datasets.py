"""The bundled digits, MNIST from disk and by download, and the IDX reader against hostile files."""

import functools
import gzip
import hashlib
import http.server
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.data import DataLoader, Normalize, Subset, TensorDataset, datasets, read_idx
from fastnn.data.datasets import MNIST, Digits, load_digits, load_mnist
from fastnn.data.download import download
from fastnn.errors import CorruptFileError, DTypeError, IndexRangeError, ShapeError

REAL_MNIST = Path(os.environ.get("FASTNN_DATA", "")) / "mnist"
NAMES = [
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
]


def idx(array, code=8):
    """An IDX file: the writer the reader is tested with."""
    big = np.asarray(array).astype(np.asarray(array).dtype.newbyteorder(">"))
    return struct.pack(f">BBBB{big.ndim}I", 0, 0, code, big.ndim, *big.shape) + big.tobytes()


def tiny_mnist(rng, n=7):
    """File names and contents of a set with n images in each part."""
    arrays = (rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)) * 2
    return {name: idx(array) for name, array in zip(NAMES, arrays, strict=True)}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def no_other_data(monkeypatch, tmp_path):
    """Nothing on this machine may stand in for the files of a test."""
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# --- digits ---


def test_digits_are_the_whole_set_once():
    (x, y), (x_test, y_test) = load_digits(raw=True)
    assert x.shape == (1442, 1, 8, 8) and x_test.shape == (355, 1, 8, 8)
    assert x.dtype == np.uint8 and x.max() == 16 and y.dtype == np.int64
    counts = np.bincount(np.concatenate([y, y_test]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.abs(np.bincount(y_test) - counts / 5).max() < 1  # stratified


def test_digits_equal_scikit_learn():
    source = pytest.importorskip("sklearn.datasets").load_digits()
    (x, y), (x_test, y_test) = load_digits(raw=True, flat=True)
    is_test = np.zeros(1797, bool)
    for digit in range(10):
        is_test[np.flatnonzero(source.target == digit)[4::5]] = True
    np.testing.assert_array_equal(x, source.data[~is_test])
    np.testing.assert_array_equal(y, source.target[~is_test])
    np.testing.assert_array_equal(x_test, source.data[is_test])
    np.testing.assert_array_equal(y_test, source.target[is_test])


def test_digits_forms_agree():
    (x, y), _ = load_digits()
    (flat, _), _ = load_digits(flat=True)
    (raw, _), _ = load_digits(raw=True)
    assert x.dtype == np.float32 and x.min() == 0 and x.max() == 1
    np.testing.assert_array_equal(x.reshape(-1, 64), flat)
    np.testing.assert_array_equal(x * 16, raw)
    images, labels = next(iter(DataLoader(Digits(), batch_size=2000)))
    np.testing.assert_array_equal(images.numpy(), x)
    np.testing.assert_array_equal(labels.numpy(), y)


def test_bundled_files_are_small_and_credited():
    folder = Path(datasets.__file__).parent
    files = list(folder.glob("digits-*.gz"))
    assert len(files) == 2 and sum(f.stat().st_size for f in files) <= 60_000
    credits = (folder / "CREDITS.md").read_text()
    assert "10.24432/C50P49" in credits and "CC BY 4.0" in credits


def test_image_dataset_transforms_and_indices():
    plain = Digits(train=False)
    twice = Digits(train=False, transform=lambda x: x.numpy() * 2, target_transform=lambda y: -y)
    image, label = plain[-1]
    assert image.shape == (1, 8, 8) and isinstance(label, int)
    x, y = next(iter(DataLoader(plain, batch_size=9)))
    x2, y2 = next(iter(DataLoader(twice, batch_size=9)))
    np.testing.assert_array_equal(x2.numpy(), x.numpy() * 2)
    np.testing.assert_array_equal(y2.numpy(), -y.numpy())
    with pytest.raises(IndexRangeError, match="got 355; need one for 355 samples"):
        plain[355]


# --- MNIST on disk ---


@pytest.mark.parametrize("where", ["root", "root/mnist", "root/MNIST/raw", "env", "cache"])
@pytest.mark.parametrize("compress", [True, False])
def test_mnist_is_found(tmp_path, monkeypatch, rng, where, compress):
    folder = {
        "env": tmp_path / "env" / "mnist",
        "cache": tmp_path / "cache" / "fastnn" / "mnist",
    }.get(where, tmp_path / where)
    folder.mkdir(parents=True)
    if where == "env":
        monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "env"))
    for name, content in tiny_mnist(rng).items():
        path = folder / (f"{name}.gz" if compress else name)
        path.write_bytes(gzip.compress(content) if compress else content)
    root = tmp_path / "root" if "root" in where else None
    (x, y), (x_test, _) = load_mnist(root)
    assert x.shape == x_test.shape == (7, 1, 28, 28)
    assert x.dtype == np.float32 and 0 <= x.min() and x.max() <= 1 and y.dtype == np.int64
    dataset = MNIST(root, train=False)
    np.testing.assert_array_equal(dataset[3][0].numpy(), x_test[3])
    assert len(dataset) == 7


def test_mnist_absent_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_mnist(tmp_path / "nowhere")
    for part in ("train-images-idx3-ubyte", "nowhere", "download=True", "FASTNN_DATA", "https://"):
        assert part in str(caught.value)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "name, array",
    [
        ("train-images-idx3-ubyte", np.zeros((7, 28, 27), np.uint8)),
        ("train-images-idx3-ubyte", np.zeros((7, 784), np.uint8)),
        ("train-labels-idx1-ubyte", np.zeros(6, np.uint8)),
        ("train-labels-idx1-ubyte", np.full(7, 10, np.uint8)),
        ("train-labels-idx1-ubyte", np.zeros((7, 1), np.uint8)),
    ],
)
def test_mnist_parts_that_do_not_fit(tmp_path, rng, name, array):
    for good, content in {**tiny_mnist(rng), name: idx(array)}.items():
        (tmp_path / good).write_bytes(content)
    with pytest.raises(CorruptFileError, match=f"{name}: got uint8 .*; need uint8"):
        load_mnist(tmp_path)


@pytest.mark.skipif(not REAL_MNIST.is_dir(), reason="needs MNIST in $FASTNN_DATA")
def test_real_mnist():
    (x, y), (x_test, y_test) = load_mnist(REAL_MNIST, raw=True)
    assert x.shape == (60_000, 1, 28, 28) and x_test.shape == (10_000, 1, 28, 28)
    assert y[:5].tolist() == [5, 0, 4, 1, 9] and y_test[:5].tolist() == [7, 2, 1, 0, 4]
    for name, digest in datasets._MNIST.items():
        read_idx(REAL_MNIST / f"{name}.gz", sha256=digest)


# --- MNIST from a server on this machine ---


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        if "truncated" not in self.path:
            return super().do_GET()
        body = Path(self.translate_path(self.path.replace("truncated", "good"))).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:-1])


@pytest.fixture
def server(tmp_path, rng, monkeypatch):
    """Serves good/ and wrong/; truncated/ is good/ without its last byte.  Yields the base URL."""
    for name, content in tiny_mnist(rng).items():
        monkeypatch.setitem(datasets._MNIST, name, hashlib.sha256(content).hexdigest())
        for folder, body in (("good", content), ("wrong", content[:-1] + b"\xff")):
            path = tmp_path / "www" / folder / f"{name}.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(body))
    handler = functools.partial(Handler, directory=tmp_path / "www")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def mirrors(monkeypatch, server, *folders):
    monkeypatch.setattr(datasets, "MNIST_MIRRORS", tuple(f"{server}/{f}/" for f in folders))


@pytest.mark.parametrize("root", [None, "data"])
def test_download(tmp_path, monkeypatch, server, root):
    mirrors(monkeypatch, server, "good")
    root = root and tmp_path / root
    (x, _), _ = load_mnist(root, download=True)
    assert x.shape == (7, 1, 28, 28)
    folder = root or tmp_path / "cache" / "fastnn" / "mnist"
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"{n}.gz" for n in NAMES)
    mirrors(monkeypatch, server, "absent")  # now from disk
    np.testing.assert_array_equal(load_mnist(root, download=True)[0][0], x)


def test_download_goes_on_to_the_next_mirror(tmp_path, monkeypatch, server):
    mirrors(monkeypatch, server, "absent", "wrong", "truncated", "good")
    assert len(MNIST(tmp_path / "data", download=True)) == 7


@pytest.mark.parametrize(
    "folder, error, text",
    [
        ("absent", OSError, "404"),
        ("wrong", CorruptFileError, "SHA-256"),
        ("truncated", CorruptFileError, "bytes"),
    ],
)
def test_bad_download_leaves_nothing(tmp_path, monkeypatch, server, folder, error, text):
    mirrors(monkeypatch, server, folder)
    with pytest.raises(error, match=text):
        MNIST(tmp_path / "data", download=True)
    assert list((tmp_path / "data").iterdir()) == []


def test_download_keeps_the_old_file_and_its_limit(tmp_path, server):
    target = tmp_path / "file.gz"
    target.write_bytes(b"old")
    url = f"{server}/good/{NAMES[0]}.gz"
    with pytest.raises(CorruptFileError, match="more than 10 bytes"):
        download([url], target, lambda path: None, max_bytes=10)
    assert target.read_bytes() == b"old" and len(list(tmp_path.glob(".*"))) == 0
    download([url], target, lambda path: None, max_bytes=1 << 20)
    assert target.read_bytes() == (tmp_path / "www" / "good" / f"{NAMES[0]}.gz").read_bytes()


def test_unreachable_mirror_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match="need a network"):
        download(["http://127.0.0.1:9/x"], tmp_path / "x", lambda path: None, max_bytes=10)


# --- the IDX reader ---


@pytest.mark.parametrize(
    "code, dtype", [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")]
)
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 3)])
def test_idx_round_trip(tmp_path, code, dtype, shape):
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    (tmp_path / "a").write_bytes(idx(array, code))
    back = read_idx(tmp_path / "a")
    assert back.dtype == array.dtype and back.dtype.isnative and back.flags.writeable
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_truncated_at_every_byte(tmp_path, compress):
    content = compress(idx(np.arange(12, dtype=np.uint8).reshape(3, 4)))
    path = tmp_path / "a"
    for n in range(len(content)):
        path.write_bytes(content[:n])
        with pytest.raises(CorruptFileError, match="read_idx"):
            read_idx(path)
    path.write_bytes(content)
    assert read_idx(path).shape == (3, 4)


def test_idx_header_with_any_bit_flipped(tmp_path):
    """Every flip is refused but those that turn uint8 into int8, which no header can tell."""
    content = idx(np.arange(12, dtype=np.uint8).reshape(3, 4))
    path = tmp_path / "a"
    accepted = []
    for bit in range(8 * 12):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            accepted.append((bit // 8, read_idx(path).dtype.name))
        except CorruptFileError:
            pass
    assert accepted == [(2, "int8")]


def test_digest_catches_any_bit_flipped_anywhere(tmp_path):
    content = idx(np.arange(12, dtype=np.uint8).reshape(3, 4))
    digest = hashlib.sha256(content).hexdigest()
    path = tmp_path / "a"
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(CorruptFileError):
            read_idx(path, sha256=digest)
    path.write_bytes(content)
    read_idx(path, sha256=digest)


def test_gzip_with_any_bit_flipped(tmp_path):
    """Refused, or the same array: gzip has bits that mean nothing (time, padding)."""
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = gzip.compress(idx(array), mtime=0)
    path = tmp_path / "a"
    refused = 0
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            np.testing.assert_array_equal(read_idx(path), array)
        except CorruptFileError:
            refused += 1
    assert refused > 8 * (len(content) - 10) - 8  # all behind the header but some padding


def header(*shape, code=8):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)


@pytest.mark.parametrize(
    "content, text",
    [
        (b"", "magic number nothing"),
        (b"\0\0\x08\0", "0 dimensions"),
        (b"\0\0\x08\xff" + b"\0" * 2000, "255 dimensions"),
        (b"\0\0\x0a\x01" + b"\0" * 8, "magic number 00000a01"),
        (b"PK\3\4" + b"\0" * 50, "magic number 504b0304"),
        (b"\x80\4\x95" + b"\0" * 50, "magic number"),  # a pickle
        (header(2**32 - 1, 2**32 - 1, 2**32 - 1), "at most"),  # product over 2**64
        (header(2**31, 2**32 - 1, 2), "at most"),  # product 2**64 - 2**32
        (header(0, 2**32 - 1, 2**32 - 1), "at most"),  # empty, but NumPy cannot shape it
        (header(2**30), "got 0 data bytes; need 1073741824"),
        (header(3) + b"1234", "more than 3 data bytes"),
        (header(3) + b"12", "got 2 data bytes; need 3"),
        (header(2, code=14) + b"1" * 15, "got 15 data bytes; need 16"),
    ],
)
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_hostile_headers(tmp_path, content, text, compress):
    path = tmp_path / "a"
    path.write_bytes(compress(content))
    with pytest.raises(CorruptFileError, match=text):
        read_idx(path)


def test_inflating_stops_at_the_promise(tmp_path):
    """256 MB of zeros in 256 kB behind a header for 3 bytes: memory stays small."""
    import tracemalloc
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(header(3))]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(256)]
    path = tmp_path / "bomb"
    path.write_bytes(b"".join(parts) + packer.flush())
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFileError, match="more than 3 data bytes"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_idx_garbage_after_gzip(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(idx(np.zeros(3, np.uint8))) + b"garbage")
    with pytest.raises(CorruptFileError):
        read_idx(path)


def test_io_errors_stay_oserrors(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_idx(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "absent")


def test_normalize_of_a_batch_has_the_bits_of_numpy():
    x = np.random.default_rng(0).integers(0, 256, (50, 3, 5, 7)).astype(np.uint8)
    order = np.random.default_rng(1).permutation(50)
    mean, std = np.float32([3, 100, 0]).reshape(3, 1, 1), np.float32([7, 0.3, 255]).reshape(3, 1, 1)
    for data in (x, x.astype(np.float32)):
        transform = Normalize([3, 100, 0], [7, 0.3, 255])
        dataset = TensorDataset(data, np.arange(50), transform=transform)
        images, labels = next(iter(DataLoader(Subset(dataset, order), batch_size=50)))
        np.testing.assert_array_equal(images.numpy(), (data[order].astype(np.float32) - mean) / std)
        assert labels.tolist() == order.tolist()
        alone = images.numpy()[order.tolist().index(3)]
        np.testing.assert_array_equal(dataset[3][0].numpy(), alone)


def test_every_byte_over_many_divisors_is_rounded_as_a_division():
    x = np.arange(256, dtype=np.uint8)[None]
    for std in [*range(1, 300), 0.3081, 0.1, 1e-3, 58.395, 57.12, 1 / 3, 1e6]:
        y = Normalize(0.4914, std)(x[0]).numpy()
        low = x[0].astype(np.float32) - np.float32(0.4914)
        np.testing.assert_array_equal(y, low / np.float32(std))


def test_digits_with_normalize_are_the_normalised_digits():
    plain, normal = Digits(), Digits(transform=Normalize(0.5, 0.25))
    image = normal[7][0].numpy()
    np.testing.assert_allclose(image, (plain[7][0].numpy() - 0.5) / 0.25, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(image, normal.read_batch(np.array([7, 3]))[0].numpy()[0])


def test_what_normalize_refuses():
    with pytest.raises(ValueError, match="std"):
        Normalize(0, [1, 0])
    with pytest.raises(ShapeError, match="3 channels"):
        Normalize([0, 0, 0], 1)(np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(DTypeError, match="int64"):
        Normalize(0, 1)(np.zeros(3, np.int64))
    with pytest.raises(IndexRangeError):
        Normalize(0, 1).rows(fastnn.tensor(np.zeros((3, 2), np.uint8), "uint8"), np.array([3]))
