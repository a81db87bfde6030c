"""A PostgreSQL that takes connections and says nothing any more: everybody hears so, and it is found again."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url
from starlette.testclient import TestClient

from api.app import build_app
from api.live import readiness
from jobs.database import engine, migrate
from jobs.settings import Settings
from tests.support.relaying import Relay, relay
from tests.support.waiting import HANG_SECONDS, wait_until


@pytest.fixture
def between(empty_postgres: str) -> Iterator[Relay]:
    """What lies between the server and its database."""
    with relay(f"{make_url(empty_postgres).query['host']}/.s.PGSQL.5432") as between:
        yield between


@pytest.fixture
def client(empty_postgres: str, between: Relay, tmp_path: Path) -> Iterator[TestClient]:
    migrate.upgrade(empty_postgres)
    here = make_url(empty_postgres).set(host="127.0.0.1", port=between.port, query={"sslmode": "disable"})
    with TestClient(build_app(Settings(data_dir=tmp_path, database_url=str(here)))) as client:
        yield client


def test_a_database_that_hangs_holds_up_nobody_for_ever(
    client: TestClient, between: Relay, problem_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"mode": "train", "config": {}}
    job = client.post("/jobs", json=body).json()
    more_than_there_are_threads = 60

    with monkeypatch.context() as patch, ThreadPoolExecutor(more_than_there_are_threads) as people:
        # Short ones: nothing is answered meanwhile that a slow machine could answer late.
        for name, seconds in (("CONNECT_SECONDS", 2), ("STATEMENT_SECONDS", 0), ("SILENT_SECONDS", 0.2)):
            patch.setattr(engine, name, seconds)
        patch.setattr(readiness, "ANSWER_SECONDS", 0.1)
        between.stall_after = 0
        asked = [people.submit(client.get, "/jobs") for _ in range(more_than_there_are_threads)]
        asked += [people.submit(client.get, job["urls"]["self"]) for _ in range(10)]
        asked += [people.submit(client.post, "/jobs", json=body), people.submit(client.post, job["urls"]["cancel"])]

        assert client.get("/healthz").status_code == 200
        problem_in(client.get("/readyz"), 503, "database_unavailable")
        for answer in asked:
            problem_in(answer.result(HANG_SECONDS), 503, "database_unavailable")
            assert answer.result().headers["retry-after"] == "2"
    between.stall_after = None

    wait_until(lambda: client.get("/readyz").status_code == 200, "it is ready again")
    wait_until(lambda: client.get(job["urls"]["self"]).status_code == 200, "jobs can be looked at")
    assert client.post("/jobs", json=body).status_code == 201
