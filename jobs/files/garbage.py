"""Files that nobody will ever ask for: left by an API, a worker or a trainer that was killed at a bad moment.

Why this never takes a file from somebody who needs it:

- A job's row is committed before its folder is made, and only a worker that holds attempt n of the job makes rows for
  files in the folder of attempt n, in a transaction fenced by (n, running). So we look at the folders first, and at the
  rows after that. A folder that we saw and whose job has no row belongs to a job that was deleted. An attempt that is
  over by the rows can never be resumed: its number is used up, its files get no more rows, and those that no row names
  now will never be named. What a running attempt has, or one that began after we looked, we do not touch.
- A reader gets the path from a row, or has the file open, and then keeps it although its name goes.
- Of what no row names, what is younger than the grace time stays nevertheless, as do logs: they have no rows.
- Collectors may meet: what one has deleted is gone for the other, and a folder goes only when it is empty.
- A database that is not the one of this data folder must not empty it. So a folder without a row is believed to be a
  deleted job's only if it says so (`store.delete_jobs` renames it first), or if the database knows an older job.
"""

import contextlib
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from jobs.database.engine import Sessions
from jobs.files import layout, store
from jobs.files.store import Entry
from jobs.pace import rest
from jobs.states import State
from jobs.tables import File, Job
from kd.labels import cache
from kd.teachers import uploads as teachers

GRACE_SECONDS = 3600.0
DRAFT_GRACE_SECONDS = 24 * 3600.0
"""Of drafts of label tables, with which another run of the same teacher may go on; and of teachers on their way in."""

BATCH = 100


@dataclass(frozen=True)
class Collected:
    """What was deleted. `unknown` folders were left, although the database knows no job of theirs."""

    files: int = 0
    bytes: int = 0
    unknown: int = 0

    def __add__(self, other: "Collected") -> "Collected":
        return Collected(self.files + other.files, self.bytes + other.bytes, self.unknown + other.unknown)


def is_due(data_dir: Path, every_seconds: float) -> bool:
    """Whether it is time again: of the processes that share a data folder one is enough. True starts the time anew."""
    mark = data_dir / layout.GARBAGE_COLLECTED
    with contextlib.suppress(FileNotFoundError):
        if 0 <= time.time() - mark.stat().st_mtime < every_seconds:
            return False
    with contextlib.suppress(OSError):  # a full disk is no reason not to clean up
        mark.touch()
    return True


def collect(
    db: Sessions,
    data_dir: Path,
    *,
    older_than_seconds: float = GRACE_SECONDS,
    drafts_older_than_seconds: float = DRAFT_GRACE_SECONDS,
    stop: threading.Event | None = None,
) -> Collected:
    """Delete what no row names in the folders of jobs, and abandoned drafts of label tables and teachers.

    With `stop` it takes its time, and ends early once that is set.
    """
    total, folders = Collected(), store.list_jobs(data_dir)
    for first in range(0, len(folders), BATCH):
        began = time.monotonic()
        before = time.time() - older_than_seconds
        total += _collect_jobs(db, data_dir, folders[first : first + BATCH], before=before)
        if rest(stop, began):
            return total
    drafts = cache.collect(data_dir / layout.LABELS, older_than_seconds=drafts_older_than_seconds)
    drafts |= teachers.collect(data_dir / layout.TEACHERS, older_than_seconds=drafts_older_than_seconds)
    return total + Collected(len(drafts), sum(drafts.values()))


def _collect_jobs(db: Sessions, data_dir: Path, folders: Collection[str], *, before: float) -> Collected:
    seen = {name: store.list_job(data_dir, name) for name in folders}
    # Only now the rows: see above.
    with db.read() as session:
        oldest = session.execute(select(func.min(Job.id))).scalar_one()
        found = session.execute(select(Job.id, Job.state, Job.attempt).where(Job.id.in_(folders))).all()
        named = set(session.execute(select(File.path).where(File.job_id.in_(folders))).scalars())
    jobs = {job_id: (state, attempt) for job_id, state, attempt in found}

    total = Collected()
    for name, things in seen.items():
        if name.startswith(layout.DELETED):
            total += _delete(data_dir, things, things)
        elif name in jobs:
            total += _delete(data_dir, things, _unused(things, *jobs[name], named=named, before=before))
        elif oldest is not None and oldest < name:
            total += _delete(data_dir, things, [thing for thing in things if thing.facts.st_mtime < before])
        else:
            total += Collected(unknown=1)
    return total


def _unused(
    things: Iterable[Entry], state: State, attempt: int, *, named: Collection[str], before: float
) -> Iterator[Entry]:
    """What attempts that are over have left without a row. Links and the like are not ours: they stay."""
    last_over = attempt - 1 if state is State.RUNNING else attempt
    for thing in things:
        attempt_of = layout.attempt_of(thing.path[2]) if len(thing.path) > 2 else None
        if attempt_of is None or attempt_of > last_over or thing.facts.st_mtime >= before:
            continue
        if thing.is_folder or (
            thing.is_file and "/".join(thing.path) not in named and not layout.is_log(thing.path[-1])
        ):
            yield thing


def _delete(data_dir: Path, things: Iterable[Entry], unused: Iterable[Entry]) -> Collected:
    """Delete what is unused; of folders only those in which nothing stays."""
    going = {thing.path for thing in unused}
    occupied: set[tuple[str, ...]] = set()
    count = size = 0
    for thing in things:
        goes = thing.path in going and thing.path not in occupied and store.delete_entry(data_dir, thing)
        if not goes:
            occupied.add(thing.path[:-1])
        elif thing.is_file:
            count, size = count + 1, size + thing.facts.st_size
    return Collected(count, size)
