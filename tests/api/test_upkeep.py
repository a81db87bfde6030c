"""The server's chores: jobs of dead workers come back, what waits is rung for, and what nobody needs is deleted."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from fastapi import FastAPI
from starlette.testclient import TestClient

from jobs.doorbell.notifier import Notifier
from jobs.queue import leases
from jobs.states import State
from jobs.tables import FileKind
from jobs.upkeep import Upkeep
from jobs.workers import roster
from jobs.workers.needs import Offer
from tests.support.waiting import HANG_SECONDS


def test_a_job_of_a_silent_worker_is_queued_again_and_rung_for(
    app: FastAPI, client: TestClient, submit: Callable[..., dict[str, Any]], valkey_url: str
) -> None:
    job = submit()
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with app.state.database.begin() as session:
        leases.claim(session, worker="dead", ttl=timedelta(seconds=30), now=long_ago)
    notifier = Notifier(valkey_url)

    Upkeep(app.state.database, notifier, app.state.settings).run_once()

    notifier.close(timeout_seconds=HANG_SECONDS)
    shown = client.get(job["urls"]["self"]).json()
    assert (shown["status"], shown["attempt"], shown["worker"]) == ("queued", 1, None)
    with redis.Redis.from_url(valkey_url) as broker:
        assert broker.llen("stillhouse:celery") >= 1


def test_what_waits_is_rung_for_when_a_worker_is_idle_and_not_for_days_on_end_when_none_is(
    app: FastAPI, submit: Callable[..., dict[str, Any]], valkey_url: str
) -> None:
    submit()
    rung = []

    for is_there in (False, True):
        if is_there:
            with app.state.database.begin() as session:
                roster.beat(session, roster.Self("w1", "host", 7, "1.0", Offer(gpus=0, memory_bytes=10**9)))
        notifier = Notifier(valkey_url)
        Upkeep(app.state.database, notifier, app.state.settings).run_once()
        notifier.close(timeout_seconds=HANG_SECONDS)
        with redis.Redis.from_url(valkey_url) as broker:
            rung.append(broker.llen("stillhouse:celery"))

    assert rung == [0, 1]


def test_a_job_of_a_live_worker_is_left_alone(
    app: FastAPI, client: TestClient, submit: Callable[..., dict[str, Any]], worker: Any
) -> None:
    job = submit()
    worker.claim(job)

    Upkeep(app.state.database, Notifier(None), app.state.settings).run_once()

    assert client.get(job["urls"]["self"]).json()["status"] == "running"


def test_files_that_nobody_needs_are_deleted_also_when_the_log_of_deliveries_cannot_be_cut(
    app: FastAPI,
    client: TestClient,
    submit: Callable[..., dict[str, Any]],
    worker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_slow(session: object) -> int:
        raise TimeoutError

    monkeypatch.setattr("jobs.webhooks.deliveries.forget_old", too_slow)
    claim = worker.claim(submit())
    worker.publish(claim, b"weights", step=1)
    student = worker.write(claim, FileKind.STUDENT, "student.safetensors", b"never published")
    worker.release(claim, State.FAILED)
    path = app.state.settings.data_dir / student.path
    os.utime(path, (0, 0))

    with pytest.raises(TimeoutError):
        Upkeep(app.state.database, Notifier(None), app.state.settings).collect()

    assert not path.exists()
    assert client.get(f"/jobs/{claim.job_id}/checkpoints/best/download").content == b"weights"
