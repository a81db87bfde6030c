"""5,000 jobs are cancelled by one request while 100 webhooks want to hear of each: everybody else is served."""

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from jobs.database.engine import UNREACHABLE
from jobs.job import get_job
from jobs.queue import leases
from jobs.queue.fence import Claim
from jobs.queue.submit import add_job
from kd.spec import parse
from tests.support.claiming import claim_job
from tests.support.receiving import Receiver
from tests.support.served import Server
from tests.support.waiting import wait_until
from worker.lease import SELF_FENCE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

JOBS, WEBHOOKS, TOLD = 5_000, 100, 200
LEASE, HEARTBEAT_SECONDS = timedelta(seconds=30), 2.0
AFTERWARDS_SECONDS = 20.0


def test_5000_cancels_of_which_100_webhooks_hear(server: Server, stays_well: Any) -> None:
    runs, *_ = submit(server, JOBS + 1)
    with server.db.begin() as session:
        claim = claim_job(session, runs, worker="w1", ttl=LEASE)
        assert claim.job_id == runs
    with Receiver().listening() as receiver, httpx2.Client(base_url=server.url, timeout=300) as http:
        for number in range(WEBHOOKS):
            url = f"{receiver.url()}&number={number}"
            assert http.post("/webhooks", json={"url": url, "events": ["state"]}).status_code == 201
        with stays_well(), lease_is_kept(server, claim):
            began = time.monotonic()
            answer = http.post("/jobs/cancel?status=queued")
            print(f"answered after {time.monotonic() - began:.1f} s")
            assert (answer.status_code, answer.json()["changed"]) == (200, JOBS)
            wait_until(lambda: len(receiver.got) > TOLD, f"{TOLD} messages have come", seconds=600)
            time.sleep(AFTERWARDS_SECONDS)


def submit(server: Server, count: int) -> list[str]:
    """As many jobs; before there is a webhook, and not one request for each."""
    spec, found = parse({"mode": "train", "config": {}}), []
    for first in range(0, count, 500):
        with server.db.begin() as session:
            found += [add_job(session, spec).id for _ in range(first, min(first + 500, count))]
    return found


@contextlib.contextmanager
def lease_is_kept(server: Server, claim: Claim) -> Iterator[None]:
    """What a worker does beside its trainer: no renewal may take so long that it would give its job up."""
    over, took, lost = threading.Event(), [0.0], []

    def renew_again_and_again() -> None:
        renewed = time.monotonic()
        while not over.wait(HEARTBEAT_SECONDS):
            try:
                with server.db.begin() as session:
                    leases.renew(session, claim, ttl=LEASE)
            except UNREACHABLE as error:  # a worker would try again, too
                lost.append(str(error))
                continue
            finally:
                took.append(time.monotonic() - renewed)
            renewed = time.monotonic()

    beating = threading.Thread(target=renew_again_and_again)
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()
    print(f"{len(took)} renewals, at most {max(took):.1f} s apart; {len(lost)} had to be tried again")
    assert max(took) < SELF_FENCE * LEASE.total_seconds(), lost
    with server.db.read() as session:
        assert get_job(session, claim.job_id).lease_owner == "w1"
