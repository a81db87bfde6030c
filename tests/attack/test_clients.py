"""Clients that mean harm, each more than the server has room for: everybody else is answered all the same."""

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from client import Client
from tests.support.served import Server

pytestmark = pytest.mark.slow

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
HOLD_SECONDS = 15
MEGABYTE = 10**6


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


@contextlib.contextmanager
def connections(server: Server, count: int, begin: bytes) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as opened:
        clients = []
        for _ in range(count):
            clients.append(opened.enter_context(connect(server)))
            with contextlib.suppress(ConnectionError):
                clients[-1].sendall(begin)
        yield clients


@pytest.mark.parametrize(
    ("begin", "piece"),
    [(GET + b"X-A: ", b"a" * MEGABYTE), (GET, b"X-A: a\r\n" * (MEGABYTE // 8)), (b"GET /", b"a" * MEGABYTE)],
    ids=["one header", "small headers", "request line"],
)
def test_a_head_of_300_megabytes(server: Server, stays_well: Any, begin: bytes, piece: bytes) -> None:
    with stays_well() as watch:
        for _ in range(5):
            with connect(server) as connection, contextlib.suppress(ConnectionError):
                connection.sendall(begin)
                for _ in range(300):
                    connection.sendall(piece)
        while watch.asked <= 10:
            time.sleep(0.05)


@pytest.mark.parametrize("begin", [b"", GET, POST], ids=["that say nothing", "half a request", "half a body"])
def test_1100_connections_under_1024_files(server: Server, stays_well: Any, begin: bytes) -> None:
    with stays_well(), connections(server, 1_100, begin):
        time.sleep(HOLD_SECONDS)


def test_500_bodies_that_come_byte_by_byte(server: Server, stays_well: Any) -> None:
    with stays_well(), connections(server, 500, POST) as clients:
        for _ in range(HOLD_SECONDS):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.sendall(b" ")
            time.sleep(1)


def test_100_streams_that_nobody_reads_while_labels_change_600_times(server: Server, stays_well: Any) -> None:
    with Client(server.url) as client:
        job_id = client.submit("train")["id"]
    stream = f"GET /jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode()
    with stays_well(), connections(server, 100, stream), httpx2.Client(base_url=server.url, timeout=60) as http:
        for number in range(600):
            labels = {f"k{key}": chr(97 + number % 26) * 250 for key in range(32)}
            assert http.patch(f"/jobs/{job_id}", json={"labels": labels}).status_code == 200
        time.sleep(5)
