"""A user's and a worker's hand on the database, each call one transaction."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from jobs.envelope import Envelope
from jobs.files.retention import NewFile
from jobs.job import get_job
from jobs.log.events import events_after
from jobs.queue import leases, recording, submit
from jobs.queue.fence import Claim
from jobs.queue.recording import Published
from jobs.queue.rescue import rescue_expired
from jobs.tables import Delivery, FileKind, Job
from jobs.webhooks import deliveries, fan_out, subscriptions
from kd.spec import parse
from tests.support.claiming import claim_job

HOOK_URL = "https://hooks.example/stillhouse"


@pytest.fixture
def add(db, NOON: datetime) -> Callable[..., str]:
    """Queue a job; returns its id."""

    def add(mode: str = "train", *, now: datetime = NOON, parent: str | None = None, **envelope: object) -> str:
        spec = parse({"mode": mode, "config": {}})
        with db.begin() as session:
            return submit.add_job(session, spec, envelope=Envelope(**envelope), parent=parent, now=now).id

    return add


@pytest.fixture
def claim(db, NOON: datetime, TTL: timedelta) -> Callable[..., Claim | None]:
    def claim(worker: str = "w1", *, now: datetime = NOON, ttl: timedelta = TTL, job_id: str | None = None):
        with db.begin() as session:
            if job_id is not None:
                return claim_job(session, job_id, worker=worker, ttl=ttl, now=now)
            return leases.claim(session, worker=worker, ttl=ttl, now=now)

    return claim


@pytest.fixture
def job(db) -> Callable[[str], Job]:
    def job(job_id: str) -> Job:
        with db.read() as session:
            return get_job(session, job_id)

    return job


@pytest.fixture
def rescue(db) -> Callable[..., list]:
    def rescue(now: datetime, max_stalls: int = 3) -> list:
        with db.begin() as session:
            return rescue_expired(session, max_stalls=max_stalls, now=now)

    return rescue


@pytest.fixture
def publish(db) -> Callable[..., Published]:
    """A checkpoint at this step of a thousand: a resume file, and a student unless told otherwise."""

    def publish(claim: Claim, step: int, *, best: bool = False, student: bool = True, **facts: object) -> Published:
        files = [a_file(claim, FileKind.RESUME, f"resume-{step}.pt")]
        if student:
            files.append(a_file(claim, FileKind.STUDENT, f"student-{step}.safetensors"))
        told = {
            "phase": "student",
            "epoch": step // 10,
            "metrics": {"top1": 0.5},
            "fraction": step / 1_000,
            "files": files,
        }
        with db.begin() as session:
            return recording.publish(session, claim, step=step, best=best, **told | facts)

    return publish


def a_file(claim: Claim, kind: FileKind, name: str) -> NewFile:
    return NewFile(kind, name, f"jobs/{claim.job_id}/attempt-{claim.attempt}/{name}", size=3, sha256="ab" * 32)


@pytest.fixture
def new_file() -> Callable[..., NewFile]:
    return a_file


@pytest.fixture
def events(db) -> Callable[[str], list[tuple[str, dict]]]:
    def events(job_id: str) -> list[tuple[str, dict]]:
        with db.read() as session:
            return [(event.type, event.data) for event in events_after(session, job_id, 0, 10_000)]

    return events


# -- webhooks ---------------------------------------------------------------------------------------------


@pytest.fixture
def hook(db, NOON: datetime) -> Callable[..., str]:
    """Add a webhook; returns its id."""

    def hook(*events: str, label: str | None = None, now: datetime = NOON) -> str:
        with db.begin() as session:
            return subscriptions.add(session, HOOK_URL, events, label, now=now)[0].id

    return hook


@pytest.fixture
def tell(db) -> Callable[[], None]:
    """Make the deliveries of all that waits in the outbox."""

    def tell() -> None:
        more = True
        while more:
            with db.begin() as session:
                more = fan_out.fan_out(session)

    return tell


@pytest.fixture
def log(db, tell) -> Callable[..., list[Delivery]]:
    """All deliveries of a webhook, in the order in which they were added."""

    def log(webhook_id: str, **which: object) -> list[Delivery]:
        tell()
        with db.read() as session:
            return subscriptions.deliveries(session, webhook_id, limit=1000, **which).items[::-1]

    return log


@pytest.fixture
def take(db, tell, NOON: datetime) -> Callable[..., deliveries.Claim | None]:
    def take(now: datetime = NOON, **which: object) -> deliveries.Claim | None:
        tell()
        with db.begin() as session:
            return deliveries.claim(session, now=now, **which)

    return take


@pytest.fixture
def fail(db, NOON: datetime) -> Callable[..., bool]:
    def fail(claim: deliveries.Claim, status: int | None = 500, now: datetime = NOON) -> bool:
        with db.begin() as session:
            return deliveries.fail(session, claim, f"the receiver answered {status}", status, now=now)

    return fail


@pytest.fixture
def succeed(db, NOON: datetime) -> Callable[..., bool]:
    def succeed(claim: deliveries.Claim, now: datetime = NOON) -> bool:
        with db.begin() as session:
            return deliveries.succeed(session, claim, 204, now=now)

    return succeed
