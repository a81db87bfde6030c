"""The server's chores: jobs of dead workers come back, and what waits is rung for."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from fastapi import FastAPI
from starlette.testclient import TestClient

from jobs import leases
from jobs.notifier import Notifier
from jobs.upkeep import Upkeep


def test_a_job_of_a_silent_worker_is_queued_again_and_rung_for(
    app: FastAPI, client: TestClient, submit: Callable[..., dict[str, Any]], valkey_url: str
) -> None:
    job = submit()
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with app.state.database.begin() as session:
        leases.claim(session, worker="dead", ttl=timedelta(seconds=30), now=long_ago)
    notifier = Notifier(valkey_url)

    Upkeep(app.state.database, notifier, max_stalls=3).once()

    notifier.close(timeout_seconds=10)
    shown = client.get(job["urls"]["self"]).json()
    assert (shown["status"], shown["attempt"], shown["worker"]) == ("queued", 1, None)
    with redis.Redis.from_url(valkey_url) as broker:
        assert broker.llen("stillhouse:celery") >= 1


def test_a_job_of_a_live_worker_is_left_alone(
    app: FastAPI, client: TestClient, submit: Callable[..., dict[str, Any]], worker: Any
) -> None:
    job = submit()
    worker.claim(job)

    Upkeep(app.state.database, Notifier(None), max_stalls=3).once()

    assert client.get(job["urls"]["self"]).json()["status"] == "running"
