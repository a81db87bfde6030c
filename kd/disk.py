"""Files that are complete on disk, or not there at all."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kd.events import SavedFile


def write_text(text: str, out: Path, path: Path) -> SavedFile:
    """Write a text file to `out / path`."""
    return write(out, path, lambda file: file.write(text.encode()))


def write(out: Path, path: Path, fill: Callable[[IO[bytes]], object]) -> SavedFile:
    with atomic(out / path) as file:
        fill(file)
    digest = hashlib.sha256()
    with open(out / path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return SavedFile(name=path.name, path=path.as_posix(), size=(out / path).stat().st_size, sha256=digest.hexdigest())


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when it is whole and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: in containers that share a folder, process ids are shared as well.
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's own changes survive a power cut: files that came, went, or were renamed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
