"""Files that clients bring in parts, to be made data sets of: each waits in a folder until it is whole, and used.

`uploads/<id>/` holds `.upload.json`, what was said of the file, and the file, as far as it is there. The id says what
the file is, so who was interrupted brings it again, and is told how much of it is there.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.errors import NoSuchUpload, PartMisplaced
from jobs.files import layout
from kd.disk import BLOCK_BYTES, atomic, sync
from kd.spec.ingest import FILE_ID

MANIFEST = ".upload.json"
"""A name that no file of a client has: theirs begin with a letter or a digit, or with `_`."""

ABANDONED_SECONDS = 24 * 3600.0
"""Of a file that nobody brings on, and no job wants."""


class Announced(BaseModel):
    """What a client says of a file before it brings it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=200, description="as sentences call it")]
    size: Annotated[int, Field(ge=1, description="bytes")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="of all of it")]


class Upload(BaseModel):
    """A file that is there, or on its way."""

    model_config = ConfigDict(frozen=True)

    id: str
    said: Announced
    created_at: datetime


def announce(data_dir: Path, said: Announced) -> tuple[Upload, bool]:
    """Make room for a file; whether it is new."""
    digest = hashlib.sha256(said.model_dump_json().encode()).hexdigest()
    upload_id = f"upl_{digest[:28]}"
    with contextlib.suppress(NoSuchUpload):
        return read(data_dir, upload_id), False
    upload = Upload(id=upload_id, said=said, created_at=datetime.now(UTC))
    with atomic(_folder(data_dir, upload_id) / MANIFEST) as file:
        file.write(upload.model_dump_json().encode())
    return upload, True


def read(data_dir: Path, upload_id: str) -> Upload:
    """What was said of a file. Raises `NoSuchUpload`."""
    if not is_id(upload_id):
        raise NoSuchUpload(upload_id[:100])
    try:
        return Upload.model_validate_json((_folder(data_dir, upload_id) / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError) as error:
        raise NoSuchUpload(upload_id) from error


def received(data_dir: Path, upload: Upload) -> int:
    """How many bytes of it are there."""
    with contextlib.suppress(FileNotFoundError):
        return path(data_dir, upload).stat().st_size
    return 0


def append(data_dir: Path, upload: Upload, offset: int, part: IO[bytes], size: int) -> int:
    """Add a part that begins at `offset`. Returns how many bytes are there now.

    Raises `PartMisplaced` where it does not begin at the end of what is there, or goes beyond the end of the file.
    """
    with open(path(data_dir, upload), "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two clients may bring the same file
        there = os.fstat(file.fileno()).st_size
        if offset != there or there + size > upload.said.size:
            raise PartMisplaced(upload.id, there, upload.said.size)
        shutil.copyfileobj(part, file, BLOCK_BYTES)
        file.flush()
        if there + size == upload.said.size:
            sync(file)
    return there + size


def path(data_dir: Path, upload: Upload) -> Path:
    """Where the file is, under a name like its own, which says what kind of file it is."""
    stem, ending = os.path.splitext(re.sub(r"[^A-Za-z0-9._-]+", "-", upload.said.name).lstrip(".-"))
    return _folder(data_dir, upload.id) / f"{stem[:100] or 'file'}{ending[:20]}"


def remove(data_dir: Path, upload_id: str) -> None:
    """Raises `NoSuchUpload`."""
    read(data_dir, upload_id)
    _folder(data_dir, upload_id).joinpath(MANIFEST).unlink(missing_ok=True)  # first, so that nobody finds half of it
    shutil.rmtree(_folder(data_dir, upload_id), ignore_errors=True)


def abandoned(data_dir: Path, older_than_seconds: float = ABANDONED_SECONDS) -> Iterator[str]:
    """The ids of those that nobody has touched for so long."""
    for folder in untouched((data_dir / layout.UPLOADS).glob("upl_*"), older_than_seconds):
        yield folder.name


def untouched(folders: Iterable[Path], older_than_seconds: float = ABANDONED_SECONDS) -> Iterator[Path]:
    """Those in which nothing has been written for so long."""
    before = time.time() - older_than_seconds
    for folder in folders:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if max(each.stat().st_mtime for each in (folder, *folder.iterdir())) < before:
                yield folder


def is_id(text: str) -> bool:
    """Whether a file may have this id."""
    return re.fullmatch(FILE_ID, text) is not None


def _folder(data_dir: Path, upload_id: str) -> Path:
    return data_dir / layout.UPLOADS / upload_id
