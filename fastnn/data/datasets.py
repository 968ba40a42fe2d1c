"""Ready data sets: the UCI 8×8 digits come with fastnn, MNIST is read from disk or downloaded.

``load_*`` return NumPy arrays as Keras does; the classes are torchvision-like datasets for a
`DataLoader`.  Images are float32 in [0, 1] of shape (N, 1, H, W), labels int64.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..errors import CorruptFileError
from .collate import default_collate
from .dataset import Dataset, position
from .download import download as _download
from .idx import read_idx
from .transforms import Normalize

__all__ = ["MNIST", "MNIST_MIRRORS", "Digits", "load_digits", "load_mnist"]

Array = npt.NDArray[Any]
Split = tuple[Array, Array]
Transform = Callable[[Any], Any]

# SHA-256 of the uncompressed files: mirrors compress the same content differently.
_DIGITS = {
    "digits-images-idx3-ubyte": "359cd13f0f514122884198b78a131df597421cbf5e93a76678fa96fc548f0d96",
    "digits-labels-idx1-ubyte": "ce71631c1f31ce56fa54f31d1d498fafacff59b001e6c30c4a5e29508aa277ad",
}
_MNIST = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_MAX_DOWNLOAD = 16 << 20  # bytes of one file; the largest real one has 9.9 million


def load_digits(*, flat: bool = False, raw: bool = False) -> tuple[Split, Split]:
    """The bundled 8×8 digits as ``(x_train, y_train), (x_test, y_test)``: 1442 and 355 images.

    x is (N, 1, 8, 8) float32 in [0, 1], or (N, 64) with `flat=True`; `raw=True` keeps the stored
    uint8 values 0 to 16.  y is (N) int64.  The split is fixed and stratified: of each class, in
    file order, every fifth image is for testing.  Both parts hold digits of the same 13 writers,
    so test accuracy tells of new digits, not of new hands.

    Source: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits* (its test
    part), UCI Machine Learning Repository, 1998, DOI 10.24432/C50P49, CC BY 4.0.

    >>> (x_train, y_train), (x_test, y_test) = load_digits()
    >>> x_train.shape, x_test.shape
    ((1442, 1, 8, 8), (355, 1, 8, 8))
    """
    train, test = _digits(True), _digits(False)
    return _prepare(*train, 16, flat, raw), _prepare(*test, 16, flat, raw)


def load_mnist(
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    *,
    flat: bool = False,
    raw: bool = False,
) -> tuple[Split, Split]:
    """MNIST as ``(x_train, y_train), (x_test, y_test)``: 60,000 and 10,000 images of 28×28.

    x is (N, 1, 28, 28) float32 in [0, 1], or (N, 784) with `flat=True`; `raw=True` keeps the
    stored uint8 values.  y is (N) int64.  Reads the four IDX files, plain or ``.gz``, from
    `root`, or without `root` from ``$FASTNN_DATA`` or else ``~/.cache/fastnn``; in each folder
    also from its ``mnist`` and ``MNIST/raw``.  With `download=True` missing files are fetched
    into `root` (default ``~/.cache/fastnn/mnist``) and checked by SHA-256.

    Raises `FileNotFoundError` that says where it looked, `CorruptFileError` for damaged files,
    `OSError` if no mirror answers.  Source: LeCun et al., *Gradient-based learning applied to
    document recognition*, Proc. IEEE 86(11), 1998.

    >>> (x_train, y_train), _ = load_mnist(download=True)  # doctest: +SKIP
    >>> x_train.shape  # doctest: +SKIP
    (60000, 1, 28, 28)
    """
    train, test = (_mnist(root, part, download) for part in (True, False))
    return _prepare(*train, 255, flat, raw), _prepare(*test, 255, flat, raw)


class _Images(Dataset[tuple[Any, Any]]):
    """Grey images kept as uint8 and turned into float32 in [0, 1] when they are read.

    A sample is ``(image, label)``: a (1, H, W) Tensor and an int, each passed through its
    transform.  `data` is (N, H, W) uint8, `targets` (N) int64, both NumPy arrays.
    """

    def __init__(
        self,
        data: Array,
        targets: Array,
        scale: int,
        transform: Transform | None,
        target_transform: Transform | None,
    ) -> None:
        self.data, self.targets, self._scale = data, targets, scale
        self.transform, self.target_transform = transform, target_transform

    def _images(self, indices: Any) -> Any:
        """float32 images (B, 1, H, W), normalised if that is the transform."""
        data = _core.as_tensor(self.data)
        data = _core.view(data, (len(self), 1, *data.shape[1:]))
        if isinstance(self.transform, Normalize):
            return self.transform.of_units(self._scale).rows(data, indices)
        return Normalize(0, self._scale).rows(data, indices)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        row = position(index, len(self), type(self).__name__)
        image: Any = self._images([row])[0]
        label: Any = int(self.targets[row])
        if self.transform is not None and not isinstance(self.transform, Normalize):
            image = self.transform(image)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return image, label

    def read_batch(self, indices: npt.NDArray[np.int64]) -> Any:
        """The batch of these rows; without transforms or with `Normalize` in one step."""
        own = self.transform is None or isinstance(self.transform, Normalize)
        if not own or self.target_transform is not None:
            return default_collate([self[i] for i in indices.tolist()])
        return [self._images(indices), _core.as_tensor(self.targets.take(indices, 0))]


class Digits(_Images):
    """The bundled 8×8 digits as a dataset; split and source as in `load_digits`.

    >>> image, label = Digits(train=True)[0]
    >>> image.shape, label
    ((1, 8, 8), 0)
    """

    def __init__(
        self,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
    ) -> None:
        super().__init__(*_digits(train), 16, transform, target_transform)


class MNIST(_Images):
    """MNIST as a dataset; files, download and errors as in `load_mnist`.

    >>> train = MNIST("data", train=True, download=True)  # doctest: +SKIP
    >>> len(train)  # doctest: +SKIP
    60000
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(*_mnist(root, train, download), 255, transform, target_transform)


def _scaled(pixels: Array, scale: int) -> Array:
    """uint8 0..scale to float32 0..1."""
    return np.divide(pixels, np.float32(scale), dtype=np.float32)


def _prepare(pixels: Array, labels: Array, scale: int, flat: bool, raw: bool) -> Split:
    images = pixels if raw else _scaled(pixels, scale)
    return (images.reshape(len(images), -1) if flat else images[:, None]), labels


def _digits(train: bool) -> Split:
    """The stored digits, uint8 (N, 8, 8) and int64 (N), of one part of the split."""
    folder = Path(__file__).parent
    pixels, labels = (read_idx(folder / f"{n}.gz", sha256=h) for n, h in _DIGITS.items())
    is_test = np.zeros(len(labels), bool)
    for digit in range(10):
        is_test[np.flatnonzero(labels == digit)[4::5]] = True
    part = ~is_test if train else is_test
    return pixels[part], labels[part].astype(np.int64)


def _mnist(root: str | os.PathLike[str] | None, train: bool, download: bool) -> Split:
    """The stored images, uint8 (N, 28, 28), and labels, int64 (N), of one part."""
    names = [n for n in _MNIST if n.startswith("train" if train else "t10k")]
    found = _find(names, root)
    if found is None and download:
        folder = Path(root) if root is not None else _cache() / "mnist"
        for name in names:
            if _existing(folder, name) is None:
                _download(
                    [f"{mirror}{name}.gz" for mirror in MNIST_MIRRORS],
                    folder / f"{name}.gz",
                    partial(read_idx, sha256=_MNIST[name]),
                    max_bytes=_MAX_DOWNLOAD,
                )
        found = _find(names, root)
    if found is None:
        raise FileNotFoundError(
            f"mnist: root: got no {' and '.join(names)} (plain or .gz) in any of "
            f"{', '.join(map(str, _folders(root)))}; need both in one of them: set FASTNN_DATA to "
            "their folder, or pass download=True (fastnn train: --download), or fetch them from "
            f"{MNIST_MIRRORS[0]}"
        )
    pixels, labels = map(read_idx, found)
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (28, 28):
        raise CorruptFileError(
            f"mnist: {found[0]}: got {pixels.dtype} {pixels.shape}; need uint8 (N, 28, 28)"
        )
    if labels.dtype != np.uint8 or labels.shape != pixels.shape[:1] or (labels > 9).any():
        raise CorruptFileError(
            f"mnist: {found[1]}: got {labels.dtype} {labels.shape} up to {labels.max(initial=0)}; "
            f"need uint8 ({len(pixels)},) up to 9"
        )
    return pixels, labels.astype(np.int64)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastnn"


def _folders(root: str | os.PathLike[str] | None) -> list[Path]:
    """Where to look, in order; ``MNIST/raw`` is where torchvision puts the files."""
    if root is not None:
        bases = [Path(root)]
    else:
        env = os.environ.get("FASTNN_DATA")
        bases = ([Path(env)] if env else []) + [_cache()]
    return [base / sub for base in bases for sub in ("mnist", "", "MNIST/raw")]


def _existing(folder: Path, name: str) -> Path | None:
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _find(names: list[str], root: str | os.PathLike[str] | None) -> list[Path] | None:
    """The files of these names, all from the first folder that has every one of them."""
    for folder in _folders(root):
        paths = [path for name in names if (path := _existing(folder, name)) is not None]
        if len(paths) == len(names):
            return paths
    return None
