"""Label tables on disk: written in chunks that survive a kill, by one process at a time, verified when read.

A table is one fp16 array [N, V, C]: the logits of each view, and behind them, if somebody has asked for it, the pooled
feature. Beside it lie the parameters of its views, and a manifest with both digests; while
it is being written there are a draft and a count of the labels in it that are safe, with the digest of those. A lock
that the system drops when its holder dies keeps a second writer waiting, who then takes over where the first one
stopped. `kd.labels.cache` knows all of these files by name.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from kd.data import npy
from kd.disk import atomic, sha256_in, sha256_of, sync_folder
from kd.labels import cache
from kd.labels.cache import COUNT, DRAFT, MANIFEST, PARAMETERS
from kd.labels.manifest import Manifest, ViewParameters, read_manifest
from kd.locks import try_lock

Table = NDArray[np.float16]

# Shapes: N = images, V = views of each, C = numbers of a label, P = parameters of a view.


@dataclass
class Kept:
    """The first labels of a draft, which are safe: how many, and the digest of them all, by which whoever goes on with
    the draft knows that they are still what was written."""

    count: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, table_NVC: Table, count: int) -> None:
        """They are so many now."""
        self.digest.update(table_NVC.reshape(-1, table_NVC.shape[2])[self.count : count].data)
        self.count = count


def read(path: Path) -> Table | None:
    """The table, mapped into memory; None when it is not there, not finished, or not what its manifest says."""
    try:
        manifest = read_manifest(path.with_suffix(MANIFEST))
        if manifest is None:
            return None
        with open(path, "rb") as file:  # once, so that what is mapped is what was hashed, whoever removes it meanwhile
            if sha256_in(file) != manifest.sha256:
                return None
            file.seek(0)
            header = npy.read_header(file)
            # Copy on write: torch wants a writable array.
            table_NVC: Table = np.memmap(file, header.dtype, "c", file.tell(), header.shape)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # damaged in one of many ways
    cache.touch(path)
    return table_NVC


@contextmanager
def try_to_write(path: Path) -> Iterator[bool]:
    """Whether this is the only writer of the table, until the end of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with try_lock(path) as alone:
        yield alone


def open_draft(path: Path, shape: tuple[int, int, int]) -> tuple[Table, Kept]:
    """The table as far as it was written, mapped for writing, and what of it is safe.

    Only for who is alone and could not read the table: what is left of another one, or of one whose labels are no
    longer those that were written, is removed.
    """
    for part in path.parent.glob(f".{path.stem}.*"):  # of a file that a killed writer had not finished
        part.unlink(missing_ok=True)
    draft = path.with_suffix(DRAFT)
    with contextlib.suppress(OSError, ValueError):
        count, sha256 = path.with_suffix(COUNT).read_text().split()
        table_NVC = npy.open_map(draft, "r+")
        if table_NVC.shape == shape and table_NVC.dtype == np.float16:
            kept = Kept()
            kept.add(table_NVC, int(count))
            if kept.digest.hexdigest() == sha256:
                return table_NVC, kept
    for damaged in (COUNT, MANIFEST, PARAMETERS, path.suffix):
        path.with_suffix(damaged).unlink(missing_ok=True)
    # Should the power fail now, the old count must not come back beside the new draft.
    sync_folder(path.parent)
    try:
        table_NVC = open_memmap(draft, mode="w+", dtype=np.float16, shape=shape)
        # A full disk is an error here; at a page of the map it would be a signal that kills the process.
        with open(draft, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, draft.stat().st_size)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return table_NVC, Kept()


def join_draft(path: Path) -> Table:
    """The draft that another process of the same run has opened."""
    table_NVC: Table = npy.open_map(path.with_suffix(DRAFT), "r+")
    return table_NVC


def count_of(path: Path) -> int:
    """How many labels of a table that is being written are safe; 0 where nobody says so."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(path.with_suffix(COUNT).read_text().split()[0])
    return 0


def keep(path: Path, table_NVC: Table, kept: Kept, written: int) -> None:
    """From now on this many labels are safe."""
    table_NVC.flush()  # type: ignore[attr-defined]  # a memmap's; only what has changed goes to the disk
    kept.add(table_NVC, written)
    with atomic(path.with_suffix(COUNT)) as file:
        file.write(f"{kept.count} {kept.digest.hexdigest()}".encode())


def finish(
    path: Path,
    table_NVC: Table,
    kept: Kept,
    facts: Mapping[str, Any],
    parameters_NVP: NDArray[np.int32],
    columns: Sequence[str],
) -> None:
    """The draft becomes the table, with these facts in its manifest, and its view parameters, named by `columns`.

    The array goes last: killed before that, the draft is still there, and whole.
    """
    images, views, _ = table_NVC.shape
    keep(path, table_NVC, kept, images * views)
    draft, parameters = path.with_suffix(DRAFT), path.with_suffix(PARAMETERS)
    assert parameters_NVP.shape == (images, views, len(columns))
    assert parameters_NVP.dtype == np.int32
    with atomic(parameters) as file:
        np.save(file, parameters_NVP)
    manifest = Manifest(
        **facts,
        shape=table_NVC.shape,
        sha256=sha256_of(draft),
        view_parameters=ViewParameters(columns=tuple(columns), sha256=sha256_of(parameters)),
    )
    with atomic(path.with_suffix(MANIFEST)) as file:
        file.write(manifest.model_dump_json(indent=2).encode())
    os.replace(draft, path)
    sync_folder(path.parent)
    path.with_suffix(COUNT).unlink(missing_ok=True)
