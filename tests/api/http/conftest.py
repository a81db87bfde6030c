"""The server on a real socket, as `kd serve` starts it."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from api.http import browsers
from api.http.bounded import BoundedProtocol
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def port(lone_app: FastAPI) -> Iterator[int]:
    config = uvicorn.Config(lone_app, host="127.0.0.1", port=0, http=BoundedProtocol, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def read_answer() -> Callable[[socket.socket], tuple[int, dict[str, Any]]]:
    """The status and the problem that came over a socket."""

    def read_answer(connection: socket.socket) -> tuple[int, dict[str, Any]]:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.headers["content-type"] == "application/problem+json"
        assert all(answer.headers[name] == value for name, value in browsers.HEADERS.items())
        return answer.status, json.loads(answer.read())

    return read_answer
