"""The API is killed between what it wrote down and what it was about to say."""

import uuid

import httpx2
import pytest

from tests.faults.place import QUICK
from tests.support.deployed import TINY
from tests.support.waiting import HANG_SECONDS


def test_a_job_whose_api_was_killed_before_it_rang_starts_all_the_same(place):
    place.on.api.kill()
    place.on.start_api(dies_before_it_rings=True)
    label = uuid.uuid4().hex

    with pytest.raises(httpx2.TransportError):  # not by the client, which would ask again
        ask(place, label)
    assert place.on.api.wait() == -9
    place.on.start_api()

    (job,) = place.on.client.list(label=f"test={label}")
    place.on.wait_for(job["id"], lambda job: job["started_at"], "starts though nobody rang for it")


@pytest.mark.slow
def test_whoever_asks_again_with_the_same_key_because_the_api_was_killed_gets_the_one_job(place):
    place.on.api.kill()
    place.on.start_api(dies_before_it_rings=True)
    label, key = uuid.uuid4().hex, str(uuid.uuid4())

    with pytest.raises(httpx2.TransportError):
        ask(place, label, key)
    place.on.api.wait()
    place.on.start_api()
    answers = [ask(place, label, key) for _ in range(3)]

    (job,) = place.on.client.list(label=f"test={label}")
    assert {answer.json()["id"] for answer in answers} == {job["id"]}


def ask(place, label: str, key: str | None = None) -> httpx2.Response:
    body = {"mode": "train", "config": TINY | QUICK, "labels": {"test": label}}
    headers = {} if key is None else {"Idempotency-Key": key}
    return httpx2.post(f"{place.on.url}/jobs", json=body, headers=headers, trust_env=False, timeout=HANG_SECONDS)
