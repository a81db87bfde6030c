"""The folder of label tables as a cache: what is in it, who may touch what, and how it stays within its limit.

A table is `<id>.npy`, its view parameters `<id>.views.npy` and its manifest `<id>.json`; it is there once all three
are. While it is being written there are a draft and a count instead, and its writer holds `<id>.lock`, as does
whoever removes it. The manifest's time tells when the table was last used.

Only the standard library: the API lists, serves and deletes tables without loading numpy.
"""

import os
import re
import stat
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from kd.errors import KdError
from kd.labels.manifest import Manifest, read_manifest
from kd.locks import LOCK, is_held, try_lock

ARRAY, PARAMETERS, MANIFEST, DRAFT, COUNT = ".npy", ".views.npy", ".json", ".draft", ".count"

DEFAULT_BYTES = 50_000_000_000
# For so long a draft is left to whoever may go on with it.
DRAFT_SECONDS = 3600.0

ID = re.compile(r"[0-9a-f]{32}", re.ASCII)

# With a dot in front: a file that `kd.disk.atomic` had not finished when its process was killed.
_FILE = re.compile(rf"\.?({ID.pattern})\..+", re.ASCII)


class TableState(StrEnum):
    """A draft that nobody writes is abandoned, until somebody goes on with it."""

    COMPLETE = "complete"
    BEING_WRITTEN = "being_written"
    ABANDONED = "abandoned"


class NoSuchTable(KdError):
    def __init__(self, table_id: str):
        super().__init__(f"There is no label table {table_id!r}.")
        self.table_id = table_id


class TableBusy(KdError):
    """A run writes or verifies the table at this moment."""

    def __init__(self, table_id: str):
        super().__init__(f"A run is writing or checking label table {table_id}; try again when it has finished.")
        self.table_id = table_id


class TableUnfinished(KdError):
    """There is no more than a draft of the table."""

    def __init__(self, table_id: str):
        super().__init__(f"Label table {table_id} is not finished; it can be downloaded once its status is complete.")
        self.table_id = table_id


class LabelCacheFull(KdError):
    """A table that would not fit even if it were the only one."""

    def __init__(self, needed_bytes: int, limit_bytes: int, pushed_bytes: int = 0):
        pushed = f", of which those that were pushed have {pushed_bytes:,}" if pushed_bytes else ""
        super().__init__(
            f"The label table of this run takes {needed_bytes:,} bytes, but all of them together may take "
            f"{limit_bytes:,}{pushed}. Use fewer config.views, or raise STILLHOUSE_LABEL_CACHE_BYTES (0: no limit)."
        )


@dataclass(frozen=True)
class Entry:
    """A table in the cache, or what is there of it. `manifest` is there exactly if it is complete."""

    id: str
    state: TableState
    sizes: Mapping[str, int]  # each file's, by its name
    created_at: datetime  # when its labelling began
    used_at: datetime
    manifest: Manifest | None

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())

    @property
    def is_pushed(self) -> bool:
        """Whether somebody brought these labels, whom nobody here can ask again."""
        return self.manifest is not None and self.manifest.origin == "pushed"

    @property
    def array(self) -> str:
        """The name of its file of labels."""
        return self.id + ARRAY

    @property
    def parameters(self) -> str:
        """The name of its file of view parameters."""
        return self.id + PARAMETERS


def is_id(given: str) -> bool:
    """Whether a table may have this id."""
    return ID.fullmatch(given) is not None


def entries(folder: Path) -> list[Entry]:
    """Every table in the folder, the one used last first."""
    found = [
        _entry(folder, table_id, files) for table_id, files in _files(folder).items() if _is_more_than_a_lock(files)
    ]
    return sorted(found, key=lambda entry: (entry.used_at, entry.id), reverse=True)


def entry(folder: Path, table_id: str) -> Entry:
    """One of them; raises `NoSuchTable`."""
    files = _files(folder).get(table_id, {})
    if not _is_more_than_a_lock(files):
        raise NoSuchTable(table_id)
    return _entry(folder, table_id, files)


def touch(path: Path) -> None:
    """Remember that the table at this path has just been used."""
    with suppress(OSError):  # removed a moment ago, or not ours to change
        os.utime(path.with_suffix(MANIFEST))


def table_bytes(shape: tuple[int, int, int], columns: int) -> int:
    """What a table of this shape takes on disk, with so many view parameters; to within a kilobyte."""
    images, views, numbers = shape
    return images * views * (2 * numbers + 4 * columns)


def pushed_bytes(folder: Path) -> int:
    """What the tables take that nobody here can make again, and that so never go by themselves."""
    return sum(found.bytes for found in entries(folder) if found.is_pushed)


def check_size(folder: Path, needed_bytes: int, limit_bytes: int | None) -> None:
    """Raise `LabelCacheFull` for a table that can never fit. A limit of 0 or None is no limit."""
    if limit_bytes and needed_bytes > limit_bytes - (pushed := pushed_bytes(folder)):
        raise LabelCacheFull(needed_bytes, limit_bytes, pushed)


def make_room(folder: Path, table_id: str, needed_bytes: int, limit_bytes: int | None) -> list[Entry]:
    """Evict what was used least lately, until this table, which takes so much in all, fits under the limit.

    Answers with what was evicted. What is being written stays, and so do drafts that were written lately: while those
    are there the cache may be larger than its limit. What somebody has pushed stays until somebody deletes it. Raises
    `LabelCacheFull` for a table that can never fit.
    """
    if not limit_bytes:
        return []
    check_size(folder, needed_bytes, limit_bytes)
    others = [found for found in entries(folder) if found.id != table_id]
    total, evicted = needed_bytes + sum(other.bytes for other in others), []
    for other in reversed(others):
        if total <= limit_bytes:
            break
        if not _may_go(other):
            continue
        try:
            remove(folder, other.id)
        except TableBusy:
            continue
        except NoSuchTable:
            pass  # somebody was faster: it takes no room any more
        else:
            evicted.append(other)
        total -= other.bytes
    return evicted


def remove(folder: Path, table_id: str) -> None:
    """Delete a table or an abandoned draft. Whoever has it mapped goes on unharmed.

    Raises `NoSuchTable`, and `TableBusy` while somebody holds its lock.
    """
    entry(folder, table_id)
    with try_lock(folder / f"{table_id}{ARRAY}") as mine:
        if not mine:
            raise TableBusy(table_id)
        _delete(folder, table_id, _files(folder).get(table_id, {}))


def collect(folder: Path, older_than_seconds: float) -> dict[str, int]:
    """Delete drafts that nobody has written to for so long, and what killed writers left beside finished tables.

    Answers with the size of each file that is gone, by name. Tables that are whole stay, and so does all that somebody
    holds the lock of; under the lock nobody can go on with a draft while we look at its age.
    """
    before = time.time() - older_than_seconds
    gone: dict[str, int] = {}
    for table_id, files in _files(folder).items():
        if not _unused(table_id, files, before):
            continue
        with try_lock(folder / f"{table_id}{ARRAY}") as mine:
            if mine:
                now = _files(folder).get(table_id, {})
                unused = _unused(table_id, now, before)
                _delete(folder, table_id, unused)
                gone |= {name: now[name].st_size for name in unused}
    return gone


def _unused(table_id: str, files: Mapping[str, os.stat_result], before: float) -> list[str]:
    """Names of what nobody has use for. A damaged table counts as whole: the next run that wants it replaces it."""
    old = {name for name, facts in files.items() if facts.st_mtime < before}
    if {table_id + suffix for suffix in (ARRAY, PARAMETERS, MANIFEST)} <= files.keys():
        return [name for name in old if name.startswith(".") or name in (table_id + COUNT, table_id + DRAFT)]
    # The age of a lock says nothing, unless there is nothing else.
    content = [name for name in files if not name.endswith(LOCK)] or list(files)
    return list(files) if old.issuperset(content) else []


def _delete(folder: Path, table_id: str, names: Iterable[str]) -> None:
    # The manifest first, so that nobody finds half a table; the lock last, so that nobody comes in.
    order = {table_id + MANIFEST: 0, table_id + LOCK: 2}
    for name in sorted(names, key=lambda name: order.get(name, 1)):
        (folder / name).unlink(missing_ok=True)


def _may_go(entry: Entry) -> bool:
    if entry.state is TableState.ABANDONED:
        return time.time() - entry.used_at.timestamp() > DRAFT_SECONDS
    return entry.state is TableState.COMPLETE and not entry.is_pushed


def _files(folder: Path) -> dict[str, dict[str, os.stat_result]]:
    """The files of each table, by name. Others may be at work: what is gone in between is not there."""
    tables: dict[str, dict[str, os.stat_result]] = {}
    with suppress(FileNotFoundError), os.scandir(folder) as files:
        for file in files:
            ours = _FILE.fullmatch(file.name)
            with suppress(FileNotFoundError):
                if ours and stat.S_ISREG((facts := file.stat(follow_symlinks=False)).st_mode):
                    tables.setdefault(ours[1], {})[file.name] = facts
    return tables


def _is_more_than_a_lock(files: Mapping[str, os.stat_result]) -> bool:
    return any(not name.endswith(LOCK) for name in files)


def _entry(folder: Path, table_id: str, files: Mapping[str, os.stat_result]) -> Entry:
    times = [facts.st_mtime for facts in files.values()]
    created, used = min(times), max(times)
    manifest, state = None, TableState.COMPLETE
    if {table_id + suffix for suffix in (ARRAY, PARAMETERS, MANIFEST)} <= files.keys():
        manifest = read_manifest(folder / (table_id + MANIFEST))
        used = files[table_id + MANIFEST].st_mtime
    if manifest is None:
        state = TableState.BEING_WRITTEN if is_held(folder / (table_id + LOCK)) else TableState.ABANDONED
    return Entry(
        id=table_id,
        state=state,
        sizes={name: facts.st_size for name, facts in files.items()},
        created_at=datetime.fromtimestamp(created, UTC),
        used_at=datetime.fromtimestamp(used, UTC),
        manifest=manifest,
    )
