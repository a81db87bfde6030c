"""Whether there is room for another job: on the data folder's disk, and within what the files of all jobs may take."""

import shutil
import threading
import time
from pathlib import Path
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.orm import Session

from jobs.errors import NoRoom
from jobs.settings import Settings
from jobs.tables import File, Job


def check(session: Session, settings: Settings) -> None:
    """Raise `NoRoom` if no new job may come. A read session will do, which holds up no writer."""
    why = trouble(settings)
    if why is not None:
        raise NoRoom(why)
    if not settings.quota_bytes:
        return
    used = _usage_of(session.get_bind()).bytes(session)
    if used >= settings.quota_bytes:
        raise NoRoom(
            f"The files of all jobs take {_size(used)}; {_size(settings.quota_bytes)} is what they may take. Delete "
            "jobs that have ended, or raise STILLHOUSE_QUOTA_BYTES (0: no limit)."
        )


def trouble(settings: Settings, coming_bytes: int = 0) -> str | None:
    """Why this machine's disk takes no job, or a file of so many bytes, at the moment; None if it does."""
    if not settings.min_free_bytes:
        return None
    try:
        free = _free_bytes(settings.data_dir)
    except OSError as error:
        return f"The disk of the data folder does not answer: {error.strerror}."
    if free - coming_bytes >= settings.min_free_bytes:
        return None
    beside = f", beside the {_size(coming_bytes)} that are to come" if coming_bytes else ""
    return (
        f"The disk of the data folder has {_size(free)} free; {_size(settings.min_free_bytes)} must be{beside}. "
        "Delete jobs that have ended, label tables or other files, or lower STILLHOUSE_MIN_FREE_BYTES."
    )


def _free_bytes(folder: Path) -> int:
    """Where the folder is not there yet, of the disk on which it will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


class _Usage:
    """What the files of all jobs take, as it was a moment ago.

    The sum reads every row: 50 ms for 500,000 files on SQLite, 60 ms on PostgreSQL. So it is asked for again only after
    fifty times as long as it took (2.5 s there, a few milliseconds in a small database), and by one thread while the
    others take the old answer. Until then what other processes and this one have written since is not counted: the
    quota may be exceeded by jobs that come in such a moment, as it may by those that run already.
    """

    PATIENCE = 50

    def __init__(self) -> None:
        self._bytes: int | None = None
        self._good_until = 0.0
        self._asking = threading.Lock()

    def bytes(self, session: Session) -> int:
        known = self._bytes
        if known is not None and time.monotonic() < self._good_until:
            return known
        asking = self._asking.acquire(blocking=False)
        # To wait here could be a deadlock: the one who asks may be waiting for the connection that our caller holds.
        if not asking and known is not None:
            return known
        try:
            began = time.monotonic()
            # PostgreSQL adds up bigints to a numeric, which is a Decimal here.
            files, logs = (select(func.coalesce(func.sum(size), 0)) for size in (File.size, Job.log_bytes))
            both = select(files.scalar_subquery() + logs.scalar_subquery())
            self._bytes = found = int(session.execute(both).scalar_one())
            ended = time.monotonic()
            self._good_until = ended + self.PATIENCE * (ended - began)
        finally:
            if asking:
                self._asking.release()
        return found


_usages: WeakKeyDictionary[Engine | Connection, _Usage] = WeakKeyDictionary()


def _usage_of(database: Engine | Connection) -> _Usage:
    return _usages.setdefault(database, _Usage())


def _size(size: int) -> str:
    """A number of bytes, short enough for a sentence."""
    for unit, bytes in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= bytes:
            return f"{size / bytes:,.1f} {unit}"
    return f"{size} bytes"
