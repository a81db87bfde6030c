"""Label tables on disk: written in chunks that survive a kill, by one process at a time, verified when read.

A table is one fp16 array [N, V, C]. Beside it lies a manifest with its digest; while it is being written there are a
draft and a count of the labels in it that are safe. A lock that the system drops when its holder dies keeps a
second writer waiting, who then takes over where the first one stopped.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from kd.checkpoint import atomic

Table = NDArray[np.float16]


def read(path: Path) -> Table | None:
    """The table, mapped into memory; None when it is not there, not finished, or not what its manifest says."""
    try:
        manifest = json.loads(path.with_suffix(".json").read_text())
        table_NVC: Table = np.load(path, mmap_mode="c")  # copy on write: torch wants a writable array
        if list(table_NVC.shape) == manifest["shape"] and _sha256(path) == manifest["sha256"]:
            return table_NVC
    except (OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, BadZipFile):
        pass  # damaged in one of many ways
    return None


@contextmanager
def writing(path: Path) -> Iterator[bool]:
    """Whether this is the only writer of the table, until the end of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def open_draft(path: Path, shape: tuple[int, int, int]) -> tuple[Table, int]:
    """The table as far as it was written, mapped for writing, and how many labels of it are safe."""
    draft, count = _draft(path), _count(path)
    with contextlib.suppress(OSError, ValueError):
        safe = int(count.read_text())
        table_NVC = open_memmap(draft, mode="r+")
        if table_NVC.shape == shape and table_NVC.dtype == np.float16:
            return table_NVC, safe
    count.unlink(missing_ok=True)
    table_NVC = open_memmap(draft, mode="w+", dtype=np.float16, shape=shape)
    # A full disk is an error here; at a page of the map it would be a signal that kills the process.
    with open(draft, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, draft.stat().st_size)
    return table_NVC, 0


def keep(path: Path, table_NVC: Table, written: int) -> None:
    """From now on this many labels are safe."""
    table_NVC.flush()  # type: ignore[attr-defined]  # a memmap's
    with atomic(_count(path)) as file:
        file.write(str(written).encode())


def finish(path: Path, table_NVC: Table, depends_on: dict[str, object]) -> None:
    """The draft becomes the table. The manifest goes first: killed in between, the draft is still there."""
    keep(path, table_NVC, table_NVC.shape[0] * table_NVC.shape[1])
    manifest = {**depends_on, "shape": list(table_NVC.shape), "dtype": "float16", "sha256": _sha256(_draft(path))}
    with atomic(path.with_suffix(".json")) as file:
        file.write(json.dumps(manifest, indent=2).encode())
    os.replace(_draft(path), path)
    _count(path).unlink(missing_ok=True)


def _draft(path: Path) -> Path:
    return path.with_suffix(".draft")


def _count(path: Path) -> Path:
    return path.with_suffix(".count")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
