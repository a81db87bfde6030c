"""Files that are complete on disk, or not there at all."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pydantic_core import to_json

from kd import liveness
from kd.events import SavedFile

BLOCK_BYTES = 1 << 20


def write_json(content: dict[str, Any], out: Path, path: Path) -> SavedFile:
    """Write a JSON document to `out / path`; NaN and infinities, which JSON has not, as strings, as in events."""
    return write(out, path, lambda file: file.write(to_json(content, indent=2, inf_nan_mode="strings")))


def write_text(text: str, out: Path, path: Path) -> SavedFile:
    """Write a text to `out / path`, in UTF-8."""
    return write(out, path, lambda file: file.write(text.encode()))


def write(out: Path, path: Path, fill: Callable[[IO[bytes]], object]) -> SavedFile:
    """Let `fill` write the file `out / path`, and say what it is."""
    with atomic(out / path) as file:
        fill(file)
    there = out / path
    return SavedFile(name=path.name, path=path.as_posix(), size=there.stat().st_size, sha256=sha256_of(there))


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when it is whole and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: in containers that share a folder, process ids are shared as well.
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            sync(file)
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def sync(file: IO[bytes]) -> None:
    """Make what was written to the file survive a power cut."""
    file.flush()
    os.fsync(file.fileno())


def sha256_of(path: Path) -> str:
    """The digest of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return sha256_in(file)


def sha256_in(file: IO[bytes]) -> str:
    """The same of a file that is open, from where it stands. Of a table on a slow disk it takes minutes."""
    digest, block = hashlib.sha256(), memoryview(bytearray(BLOCK_BYTES))
    while size := file.readinto(block):  # type: ignore[attr-defined]  # of a buffered file
        digest.update(block[:size])
        liveness.advance()
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the folder's own changes survive a power cut: files that came, went, or were renamed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
