"""A database that answers, and takes no more writes: whoever asks is told why, `/readyz` too."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import make_url, text
from starlette.testclient import TestClient

from api.app import build_app
from jobs.database import engine, migrate
from jobs.settings import Settings
from tests.support.waiting import wait_until

BODY = {"mode": "train", "config": {}}


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_database_file_that_cannot_grow_is_told_to_be_full(tmp_path: Path, problem_in: Any) -> None:
    with TestClient(build_app(Settings(data_dir=tmp_path))) as client:
        job = client.post("/jobs", json=BODY).json()
        assert client.get("/readyz").status_code == 200

        with no_file_larger_than((tmp_path / "stillhouse.db").stat().st_size):
            refused = wait_until(lambda: (answer := client.post("/jobs", json=BODY)).status_code != 201 and answer)
            said = problem_in(refused, 507, "no_room")["detail"]
            assert "database" in said
            assert problem_in(client.get("/readyz"), 503, "not_ready")["detail"] == said
            assert client.get(job["urls"]["self"]).status_code == 200

        assert client.get("/readyz").status_code == 200
        assert client.post("/jobs", json=BODY).status_code == 201


END_OTHERS = text(
    "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
)


def test_a_database_that_is_a_standby_now_is_told_to_be_one(
    empty_postgres: str, tmp_path: Path, problem_in: Any
) -> None:
    migrate.upgrade(empty_postgres)
    database = engine.connect(empty_postgres)
    name = make_url(empty_postgres).database
    with TestClient(build_app(Settings(data_dir=tmp_path, database_url=empty_postgres))) as client:
        with database.begin() as connection:
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))  # from now on
        with database.begin() as connection:  # whoever was connected before would not hear of it
            connection.execute(END_OTHERS, {"name": name})

        said = problem_in(client.post("/jobs", json=BODY), 503, "database_read_only")["detail"]
        assert problem_in(client.get("/readyz"), 503, "not_ready")["detail"] == said
    database.dispose()
