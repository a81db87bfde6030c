"""Who waits can leave, and be sent away: clients that hang up, and a server that is to end."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import build_app
from jobs.settings import Settings
from tests.support.served import Server, own_server
from tests.support.waiting import HANG_SECONDS, wait_until

__all__ = ["own_server"]

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[FastAPI, tuple[str, int]]]:
    """A server that can be reached over TCP, and be looked into."""
    app = build_app(Settings(data_dir=tmp_path / "data"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield app, listener.getsockname()
        server.should_exit = True
        thread.join()


def test_who_goes_away_makes_room_for_others(listening: Any) -> None:
    app, address = listening
    job = httpx2.post(
        f"http://127.0.0.1:{address[1]}/jobs", json={"mode": "train", "config": {}}, timeout=HANG_SECONDS
    ).json()
    lookout = app.state.lookout
    asks = [("self", "Prefer: wait=60"), ("events", "Accept: text/event-stream")]
    clients = [socket.create_connection(address) for _ in asks]
    for one, (url, header) in zip(clients, asks, strict=True):
        one.sendall(f"GET {job['urls'][url]} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode())
    wait_until(lambda: (lookout.long_polls.taken, lookout.streams.taken) == (1, 1))

    for one in clients:
        one.close()

    wait_until(lambda: (lookout.long_polls.taken, lookout.streams.taken) == (0, 0))


def test_a_server_that_is_to_end_lets_those_who_wait_go(own_server: Server) -> None:
    job = httpx2.post(f"{own_server.url}/jobs", json={"mode": "train", "config": {}}).json()
    ended: list[str] = []

    def wait() -> None:
        with contextlib.suppress(httpx2.ConnectError):  # it came too late to be let in
            httpx2.get(own_server.url + job["urls"]["self"], headers={"Prefer": "wait=60"}, timeout=HANG_SECONDS)
        ended.append("long poll")

    def listen() -> None:
        with httpx2.stream(
            "GET", own_server.url + job["urls"]["events"], headers=STREAM, timeout=HANG_SECONDS
        ) as answer:
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    ready.set()
        ended.append("stream")

    ready = threading.Event()
    threads = [threading.Thread(target=wait), threading.Thread(target=listen)]
    for thread in threads:
        thread.start()
    assert ready.wait(HANG_SECONDS)
    time.sleep(0.3)  # the long poll's request has arrived; if not, it is refused, which ends it too

    code = own_server.end(signal.SIGTERM)
    for thread in threads:
        thread.join()

    assert code == 0
    # Each had a whole answer: whoever is not let go is cut off when uvicorn's patience ends, and raises here.
    assert sorted(ended) == ["long poll", "stream"]
