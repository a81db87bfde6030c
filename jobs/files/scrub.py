"""Files that nobody has asked for in a long while are read now and then: a disk that fails is best known of early.

Whoever reads a file to use it checks it then; this is for the others. Nothing is changed or deleted here: what can be
done about a damaged file is for its owner to say, and a copy may exist elsewhere.
"""

import contextlib
import hashlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import select

from jobs.database.engine import Sessions
from jobs.errors import FileGone
from jobs.files import layout, store
from jobs.pace import rest
from jobs.tables import File

log = structlog.get_logger()

ROUND_BYTES = 2 * 2**30
"""About what one round reads; the next one goes on after it."""
BATCH = 100
CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Scrubbed:
    files: int
    bytes: int
    damaged: tuple[str, ...]
    """Their paths, as rows hold them."""


def scrub(db: Sessions, data_dir: Path, *, stop: threading.Event | None = None) -> Scrubbed:
    """Read files of jobs from where the last round ended, and name those that are not what was written.

    With `stop` it takes its time, and ends early once that is set.
    """
    damaged: list[str] = []
    mark, after, files, read = data_dir / layout.SCRUBBED, "", 0, 0
    with contextlib.suppress(OSError, UnicodeDecodeError):
        after = mark.read_text()
    while read < ROUND_BYTES:
        with db.read() as session:
            found = select(File.id, File.job_id, File.path, File.sha256).where(File.id > after).order_by(File.id)
            rows = session.execute(found.limit(BATCH)).all()
        if not rows:
            after = ""  # the next round begins at the first
            break
        for file_id, job_id, path, sha256 in rows:
            size, is_whole, is_over = _read(data_dir, path, sha256, stop)
            if is_over:
                return Scrubbed(files, read, tuple(damaged))
            if not is_whole:
                log.error("file_damaged", job=job_id, path=path)
                damaged.append(path)
            after, files, read = file_id, files + 1, read + size
            if read >= ROUND_BYTES:
                break
    with contextlib.suppress(OSError):  # a full disk: the next round begins where this one did
        mark.write_text(after)
    return Scrubbed(files, read, tuple(damaged))


def _read(data_dir: Path, path: str, sha256: str, stop: threading.Event | None) -> tuple[int, bool, bool]:
    """The size of a file, whether it is what was written, and whether `stop` came first."""
    digest, size = hashlib.sha256(), 0
    try:
        there, _ = store.open_file(data_dir, path)
        with there.open("rb", buffering=0) as file:
            while True:
                began = time.monotonic()
                if not (chunk := file.read(CHUNK_BYTES)):
                    return size, digest.hexdigest() == sha256, False
                digest.update(chunk)
                size += len(chunk)
                if rest(stop, began):
                    return size, True, True
    except (FileGone, FileNotFoundError):  # superseded a moment ago
        return size, True, False
    except OSError:  # which is what a failing disk says
        return size, False, False
