"""A job is made exactly once, whatever becomes of the request and its answer."""

import pytest

from client import Client
from client.errors import Refused, Unreachable
from jobs.states import State
from tests.support.relaying import relay
from tests.support.served import FAILURE


@pytest.mark.parametrize("trouble", ["losses", "refusals"])
def test_a_submit_whose_answer_is_lost_makes_one_job(client, server, trouble):
    with relay(server.url) as network, Client(network.url) as far:
        setattr(network, trouble, 2)

        job = far.submit("train", labels={"once": trouble})

        assert getattr(network, trouble) == 0
    assert [found["id"] for found in client.list(label=f"once={trouble}")] == [job["id"]]


def test_a_retry_whose_answer_is_lost_makes_one_job(client, server, worker):
    job = client.submit("train", labels={"once": "retry"})
    worker.release(worker.claim(job["id"]), State.FAILED, error=FAILURE)
    with relay(server.url) as network, Client(network.url) as far:
        network.losses = 1

        again = far.retry(job["id"])

    assert again["parent_job_id"] == job["id"]
    assert [found["id"] for found in client.list(label="once=retry")] == [again["id"], job["id"]]


def test_a_network_that_loses_every_answer_is_said_after_a_few_tries(server, monkeypatch):
    monkeypatch.setattr("client.patience.RETRY_PAUSES_SECONDS", (0.0, 0.0))
    with relay(server.url) as network, Client(network.url) as far:
        network.losses = 100

        with pytest.raises(Unreachable):
            far.submit("train")

        assert network.losses == 97


def test_a_key_of_ones_own_spans_clients_and_belongs_to_one_request(client):
    first = client.submit("train", {"epochs": 2}, idempotency_key="nightly-2026-01-15")

    assert client.submit("train", {"epochs": 2}, idempotency_key="nightly-2026-01-15")["id"] == first["id"]
    with pytest.raises(Refused, match="Take a new key") as refused:
        client.submit("train", {"epochs": 3}, idempotency_key="nightly-2026-01-15")
    assert refused.value.status == 422


def test_two_submits_that_say_the_same_are_two_jobs(client):
    assert client.submit("train")["id"] != client.submit("train")["id"]
