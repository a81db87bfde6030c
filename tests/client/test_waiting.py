"""Waiting and listening: the server says when there is something new, and may be old, slow or gone for a while."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from client import Client
from client.errors import StillRunning
from jobs.states import State
from tests.support.relaying import relay
from tests.support.served import FAILURE
from tests.support.waiting import HANG_SECONDS, wait_until

NO_TAGS = {b"etag:": b"xtag:", b"ETag:": b"xTag:"}
NO_STREAMS = {b"text/event-stream": b"application/json "}


@pytest.fixture
def at_once() -> Iterator[Executor]:
    """Does things while the test does others."""
    with ThreadPoolExecutor() as executor:
        yield executor


def test_waiting_costs_a_request_when_something_changes_and_not_at_every_turn(client, server):
    job = client.submit("train")
    with relay(server.url) as network, Client(network.url) as far:
        with pytest.raises(StillRunning, match="is still queued"):
            far.wait(job["id"], timeout=1.5, poll=0.01)

        assert len(network.requests) <= 3


def test_a_change_ends_the_waiting_long_before_the_longest_poll(client, server, at_once):
    job = client.submit("train")
    with relay(server.url) as network, Client(network.url) as far:
        waiting = at_once.submit(far.wait, job["id"], timeout=HANG_SECONDS, poll=0.01)
        wait_until(lambda: len(network.requests) == 2)  # this one is being held

        client.cancel(job["id"])

        assert waiting.result()["status"] == "cancelled"


def test_waiting_works_with_servers_that_tag_nothing(client, server, at_once):
    job = client.submit("train")
    with relay(server.url, swap=NO_TAGS) as network, Client(network.url) as far:
        waiting = at_once.submit(far.wait, job["id"], timeout=HANG_SECONDS, poll=0.01)
        wait_until(lambda: len(network.requests) >= 5)

        client.cancel(job["id"])

        assert waiting.result()["status"] == "cancelled"


def test_waiting_survives_a_connection_that_breaks(client, server, at_once):
    job = client.submit("train")
    with relay(server.url) as network, Client(network.url) as far:
        waiting = at_once.submit(far.wait, job["id"], timeout=HANG_SECONDS, poll=0.01)
        wait_until(lambda: len(network.requests) >= 2)

        network.break_all()
        client.cancel(job["id"])

        assert waiting.result()["status"] == "cancelled"


def test_time_is_up_also_when_nobody_answers_any_more(client, server, at_once):
    job = client.submit("train")
    with relay(server.url) as network, Client(network.url) as far:
        waiting = at_once.submit(far.wait, job["id"], timeout=2, poll=0.01)
        wait_until(lambda: len(network.requests) >= 2 or waiting.done())
        network.losses = 1_000
        network.break_all()

        with pytest.raises(StillRunning, match="is still queued after 2 seconds"):
            waiting.result()


def test_a_paused_job_is_waited_for(client, worker, at_once):
    job = client.submit("train")["id"]
    client.pause(job)
    with pytest.raises(StillRunning, match="is still paused"):
        client.wait(job, timeout=0.1)
    waiting = at_once.submit(client.wait, job, timeout=HANG_SECONDS, poll=0.01)

    client.resume(job)
    worker.release(worker.claim(job), State.FAILED, error=FAILURE)

    assert waiting.result()["status"] == "failed"


@pytest.mark.parametrize("swap", [{}, NO_STREAMS], ids=["streams", "no streams"])
def test_following_misses_nothing_and_repeats_nothing_when_connections_break(client, server, worker, swap):
    job = client.submit("train")["id"]
    claim = worker.claim(job)
    heard = []
    with relay(server.url, swap=swap) as network, Client(network.url) as far:
        for event in far.events(job, follow=True, poll=0.01):
            heard.append(event)
            if event["type"] == "noted" and event["data"]["code"] == "five":
                worker.release(claim, State.FAILED, error=FAILURE)
            elif event["type"] in ("claimed", "noted"):
                network.break_all()
                code = {"claimed": "one", "one": "two", "two": "three", "three": "four", "four": "five"}
                worker.say(claim, "noted", code=code[event["data"].get("code", "claimed")], message="news")

    assert [event["seq"] for event in heard] == list(range(1, len(heard) + 1))
    assert [event["data"]["code"] for event in heard if event["type"] == "noted"] == [
        "one", "two", "three", "four", "five",
    ]  # fmt: skip
    assert heard[-1]["data"]["state"] == "failed"
