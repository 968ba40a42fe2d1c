"""
The IDX format of MNIST, plain or in gzip: a header, then the elements of one array in C order.

    bytes 0, 1   zero
    byte 2       element type: 08 uint8, 09 int8, 0B int16, 0C int32, 0D float32, 0E float64
    byte 3       number of dimensions n
    4·n bytes    the dimensions, uint32
    the rest     the elements; all numbers are big-endian

Files come from anywhere, so nothing in them is believed: memory grows with the bytes that are
really there, never with what the header promises, and inflating stops one byte past the promise.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import CorruptFileError

__all__ = ["read_idx"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_DIMS = 32  # NumPy 1's limit
_CHUNK = 1 << 20


def read_idx(
    path: str | os.PathLike[str], *, sha256: str | None = None, max_bytes: int = 1 << 30
) -> npt.NDArray[Any]:
    """Read an IDX file, plain or gzip-compressed, into a writable array of native byte order.

    `sha256` is the hexadecimal digest of the *uncompressed* file, so it holds for every
    compression of the same content.  `max_bytes` bounds the elements.  Raises `CorruptFileError`
    for anything that is not exactly one IDX array and `OSError` if the file cannot be read.

    >>> images = read_idx("train-images-idx3-ubyte.gz")  # doctest: +SKIP
    >>> images.shape  # doctest: +SKIP
    (60000, 28, 28)
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            if file.peek(2)[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=file) as stream:
                    return _parse(stream, path, sha256, max_bytes)
            return _parse(file, path, sha256, max_bytes)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorruptFileError(
            f"read_idx: {path}: got a damaged gzip file ({error}); need a whole copy"
        ) from error


def _parse(
    stream: gzip.GzipFile | BinaryIO, path: Path, sha256: str | None, max_bytes: int
) -> npt.NDArray[Any]:
    def corrupt(got: str, need: str) -> CorruptFileError:
        return CorruptFileError(f"read_idx: {path}: got {got}; need {need}")

    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
        raise corrupt(f"magic number {magic.hex() or 'nothing'}", "an IDX file, 0000 and a type")
    if not 1 <= magic[3] <= _MAX_DIMS:
        raise corrupt(f"{magic[3]} dimensions", f"1 to {_MAX_DIMS}")
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise corrupt(f"{len(sizes)} header bytes", f"{4 * magic[3]} for {magic[3]} dimensions")

    dtype = np.dtype(_DTYPES[magic[2]])
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    # Zero counts as one here: NumPy refuses (0, 2³², 2³²) although it holds nothing.
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize > max_bytes:
        raise corrupt(f"a header of shape {shape}, {dtype.name}", f"at most {max_bytes} bytes")
    n_bytes = math.prod(shape) * dtype.itemsize

    data = bytearray()
    while chunk := stream.read(min(_CHUNK, n_bytes + 1 - len(data))):
        data += chunk
    if len(data) != n_bytes:
        more = "more than " if len(data) > n_bytes else ""
        raise corrupt(f"{more}{min(len(data), n_bytes)} data bytes", f"{n_bytes} for {shape}")
    if sha256 is not None:
        import hashlib  # loads OpenSSL, 3 ms

        digest = hashlib.sha256(magic + sizes)
        digest.update(data)
        if digest.hexdigest() != sha256:
            raise corrupt(f"content of SHA-256 {digest.hexdigest()}", sha256)
    array: npt.NDArray[Any] = np.ndarray(shape, dtype, data)
    return array.astype(dtype.newbyteorder("="), copy=False)
