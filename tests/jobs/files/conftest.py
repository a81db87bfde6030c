"""A data folder, what is written into it, and the collector of its garbage."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from jobs.files import garbage, layout
from jobs.files.garbage import Collected
from jobs.tables import File
from tests.jobs.files.leaving import OLD, grow_old


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    return data


@pytest.fixture
def write(data) -> Callable[..., Path]:
    """A file in an attempt's folder, written long ago."""

    def write(job_id: str, attempt: int, name: str, *, age: float = OLD, content: bytes = b"abc") -> Path:
        path = layout.attempt_folder(data, job_id, attempt) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        grow_old(path, data, age)
        return path

    return write


@pytest.fixture
def collect(db, data) -> Callable[..., Collected]:
    def collect(**changes: object) -> Collected:
        return garbage.collect(db, data, **changes)

    return collect


@pytest.fixture
def named(db) -> Callable[[], set[str]]:
    """The paths that rows hold."""

    def named() -> set[str]:
        with db.read() as session:
            return set(session.execute(select(File.path)).scalars())

    return named
