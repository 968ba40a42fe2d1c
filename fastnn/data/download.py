"""Downloads that leave either a whole, checked file or no file at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import CorruptFileError

__all__ = ["download"]

_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 16


def download(
    urls: Sequence[str], target: Path, check: Callable[[Path], object], *, max_bytes: int
) -> None:
    """Fetch `target` from the first of `urls` whose content `check` accepts.

    `check(path)` raises `CorruptFileError` for a bad file.  The bytes go to a temporary file in
    the same folder, which is renamed only after the check and an fsync: nobody ever sees half a
    file.  Raises `CorruptFileError` if the last mirror served wrong content, else `OSError`.
    """
    from http.client import HTTPException

    target.parent.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    kind: type[Exception] = OSError
    for url in urls:
        part = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
        try:
            _stream(url, part, max_bytes)
            check(part)
            os.replace(part, target)
            _sync_folder(target.parent)
            return
        except (OSError, HTTPException, CorruptFileError) as error:
            failures.append(f"{url}: {error}")
            kind = OSError if isinstance(error, OSError) else CorruptFileError
        finally:
            part.unlink(missing_ok=True)
    raise kind(
        f"download: {target.name}: got no good copy ({'; '.join(failures)}); "
        f"need a network, or the file put into {target.parent} by hand"
    )


def _stream(url: str, part: Path, max_bytes: int) -> None:
    """Write the body of `url` to the new file `part`, on disk when this returns."""
    from urllib.request import urlopen

    from tqdm import tqdm

    with urlopen(url, timeout=_TIMEOUT) as response, open(part, "xb") as file:
        total = response.length
        name = url.rsplit("/", 1)[-1]
        with tqdm(total=total, desc=name, unit="B", unit_scale=True, disable=None) as bar:
            while chunk := response.read(_CHUNK):
                bar.update(file.write(chunk))
                if file.tell() > max_bytes:
                    raise CorruptFileError(f"got more than {max_bytes} bytes")
        if total is not None and file.tell() != total:
            raise CorruptFileError(f"got {file.tell()} of {total} bytes")
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
