"""Saving and loading: safetensors files, written so that a crash leaves the old or the new one.

A checkpoint may nest dicts, lists and tuples of tensors and plain values: the tensors are stored
under dotted names and the rest as JSON in the file's metadata. fastnn never unpickles.
"""

from __future__ import annotations

import glob
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import _core
from ._core import Tensor
from .errors import CorruptFileError, DTypeError, LimitError

__all__ = ["load", "load_metadata", "save"]

TREE = "fastnn.tree"                # metadata key of a nested checkpoint's JSON
MAX_DEPTH = 100                     # of a nested checkpoint
PICKLES = (".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth")
Path_ = str | os.PathLike[str]


def save(obj: Any, f: Path_, metadata: Mapping[str, str] | None = None) -> None:
    """Write a state dict, or a nest of dicts, lists, tensors and values, to a .safetensors file.

    The file appears complete or not at all: it is written beside its place, flushed to the disk
    and renamed. metadata: further strings to keep, which load_metadata returns.

    Errors: ValueError for another file name ending; DTypeError for a value that is neither tensor,
    array, string, number, bool nor None; OSError as the disk says, with an older file left intact.

    Example:
        >>> import fastnn, tempfile
        >>> path = tempfile.mkdtemp() + "/model.safetensors"
        >>> fastnn.save({"weight": fastnn.ones(2)}, path)
        >>> fastnn.load(path)["weight"].tolist()
        [1.0, 1.0]
    """
    from safetensors import numpy as safetensors

    path = _checked("save", f)
    tensors: dict[str, np.ndarray] = {}
    tree = _flatten(obj, "", tensors, 0)
    flat = isinstance(obj, Mapping) and list(tensors) == list(obj)
    notes = {str(k): str(v) for k, v in (metadata or {}).items()}
    if TREE in notes:
        raise ValueError(f"save: metadata: got the key {TREE!r}; need another: fastnn uses it")
    if not flat:
        notes[TREE] = json.dumps(tree)
    write_atomically(path, safetensors.save(tensors, notes or None))


def load(f: Path_, map_location: Any = None, weights_only: bool = True) -> Any:
    """Read what `save` wrote, or any .safetensors file as a dict of tensors.

    map_location and weights_only are accepted for torch's sake: tensors stay on the CPU, and
    nothing but data is ever read.

    Errors: CorruptFileError for a damaged file, and for pickles, which are never opened.
    """
    _core.check_device(map_location)
    path = _checked("load", f)
    arrays, notes = _read(path)
    tensors = {name: _core.tensor(a, dtype=a.dtype) for name, a in sorted(arrays.items())}
    if TREE not in notes:
        return tensors
    try:
        return _build(json.loads(notes[TREE]), tensors)
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise CorruptFileError(f"load: {path}: got a damaged tree of names ({e!r}); "
                               "need a file written by fastnn.save") from None


def load_metadata(f: Path_) -> dict[str, str]:
    """The strings that were saved along with the tensors."""
    _, notes = _read(_checked("load_metadata", f))
    notes.pop(TREE, None)
    return notes


def _checked(op: str, f: Path_) -> Path:
    """The path, if its ending is one that fastnn reads and writes."""
    if not isinstance(f, (str, os.PathLike)):
        raise TypeError(f"{op}: f: got {type(f).__name__}; need a path")
    path = Path(f)
    if path.suffix.lower() in PICKLES and op != "save":
        raise CorruptFileError(f"{op}: f: got {str(path)!r}, a pickle; need a .safetensors file: "
                               "fastnn never unpickles (in torch: safetensors.torch.save_file)")
    if path.suffix.lower() != ".safetensors":
        better = f"{path.stem or 'model'}.safetensors"
        raise ValueError(f"{op}: f: got {str(path)!r}; need a name that ends in .safetensors, "
                         f"such as {better!r}: the only kind of file fastnn writes")
    return path


# ---------------------------------------------------------------- nested checkpoints

def _flatten(value: Any, name: str, tensors: dict[str, np.ndarray], depth: int) -> Any:
    """JSON for value; its tensors go into `tensors` under dotted names."""
    if depth > MAX_DEPTH:
        raise LimitError(f"save: obj: got more than {MAX_DEPTH} levels; need fewer")
    if isinstance(value, (Tensor, np.ndarray)):
        key = name
        while key in tensors:           # {"a.b": t, "a": {"b": u}}
            key += "_"
        array = value.detach().numpy() if isinstance(value, Tensor) else value
        tensors[key] = _core.as_tensor(array, array.dtype).numpy()
        return {"tensor": key}
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        pairs = []
        for k, v in value.items():
            if not isinstance(k, (str, int)):
                raise DTypeError(f"save: {name}: got the key {k!r}; need strings or integers")
            pairs.append([k, _flatten(v, f"{name}.{k}" if name else str(k), tensors, depth + 1)])
        return {"dict": pairs}
    if isinstance(value, (list, tuple)):
        items = [_flatten(v, f"{name}.{i}" if name else str(i), tensors, depth + 1)
                 for i, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    raise DTypeError(f"save: {name or 'obj'}: got {type(value).__name__}; need tensors, arrays, "
                     "strings, numbers, None, and dicts, lists and tuples of these")


def _build(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """What _flatten described."""
    if not isinstance(tree, dict):
        return tree
    (kind, body), = tree.items()
    if kind == "tensor":
        return tensors[body]
    if kind == "dict":
        return {k: _build(v, tensors) for k, v in body}
    if kind not in ("list", "tuple"):
        raise ValueError(f"unknown kind {kind!r}")
    items = [_build(v, tensors) for v in body]
    return tuple(items) if kind == "tuple" else items


# ---------------------------------------------------------------- files

def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors import numpy as safetensors

    data = path.read_bytes()
    try:
        arrays = safetensors.load(data)
    except SafetensorError as e:
        if data[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise CorruptFileError(f"load: {path}: got a pickle or a zip of pickles; need a "
                                   "safetensors file: fastnn never unpickles") from None
        raise CorruptFileError(f"load: {path}: got a damaged safetensors file ({e}); "
                               "need an intact one") from None
    except (KeyError, TypeError, AttributeError, ImportError) as e:
        raise DTypeError(f"load: {path}: got an element type NumPy lacks ({e}); need one of "
                         f"{', '.join(_core.DTYPES)}") from None
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    return arrays, header.get("__metadata__", {})


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file by data, or leave it as it was.

    The temporary `.NAME.PID.THREAD.tmp` lies in the same folder; those of dead processes go.
    """
    _remove_stale(path)
    temporary = path.parent / f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp"
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        with open(temporary, "xb", opener=lambda name, _: os.open(name, flags, 0o666)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)                # the rename itself must reach the disk
    finally:
        os.close(folder)


def _remove_stale(path: Path) -> None:
    """Temporaries that a process left behind when it was killed while writing this file."""
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.*.tmp"):
        pid = old.name.split(".")[-3]
        try:
            os.kill(int(pid), 0)
        except (ValueError, ProcessLookupError):
            old.unlink(missing_ok=True)
        except OSError:
            continue                    # someone else's, and alive
