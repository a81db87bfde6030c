"""Clients that say too much, too little or too slowly: they are refused, and everybody else is answered."""

import contextlib
import http.client
import socket
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from api.http import bounded
from api.http.bounded import MAX_HEAD_BYTES, BoundedProtocol
from tests.support.waiting import HANG_SECONDS, wait_until

ReadAnswer = Callable[[socket.socket], tuple[int, dict[str, Any]]]

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
def connect(port: int) -> Iterator[Callable[[], socket.socket]]:
    with contextlib.ExitStack() as opened:
        yield lambda: opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS))


def is_well(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS)
    connection.request("GET", "/healthz")
    return connection.getresponse().status == 200


def endless(begin: bytes, piece: bytes) -> Iterator[bytes]:
    yield begin
    while True:
        yield piece


@pytest.mark.parametrize(
    "head",
    [
        endless(b"GET /", b"a" * 65_536),
        endless(GET + b"X-A: ", b"a" * 65_536),
        endless(GET, b"X-A: a\r\n" * 8_000),
        endless(GET + b"X-A: a\r\n\r\n" + b"GET /healthz?", b"a" * 65_536),
    ],
    ids=["request line", "header", "headers", "of the second request"],
)
def test_a_head_without_end_is_refused_and_costs_no_memory(
    port: int, connect: Any, read_answer: ReadAnswer, head: Iterator[bytes]
) -> None:
    connection, before, sent = connect(), psutil.Process().memory_info().rss, 0
    # Until it is closed: what has been sent by then is bounded by what sockets hold.
    with contextlib.suppress(ConnectionError):
        for piece in head:
            connection.sendall(piece)
            sent += len(piece)
            assert sent < 300_000_000
    assert psutil.Process().memory_info().rss - before < 20_000_000
    assert is_well(port)


@pytest.mark.parametrize("where", ["?" + "a" * MAX_HEAD_BYTES, ""])
def test_a_head_that_is_too_large_is_told_so(port: int, connect: Any, read_answer: ReadAnswer, where: str) -> None:
    connection = connect()
    connection.sendall(b"GET /healthz%s HTTP/1.1\r\nHost: localhost\r\n" % where.encode())
    if not where:
        connection.sendall(b"X-A: " + b"a" * (MAX_HEAD_BYTES - 20) + b"\r\n")
    connection.sendall(b"\r\n")

    status, problem = read_answer(connection)

    assert (status, problem["code"]) == (431, "head_too_large")
    assert connection.recv(1) == b""


def test_a_head_of_a_reasonable_size_is_read(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS)
    for _ in range(3):
        connection.request("GET", "/healthz", headers={"X-A": "a" * 30_000, "X-B": "b" * 30_000})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"status":"ok"}')


@pytest.mark.parametrize("sent", [b"\x16\x03\x01 TLS\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n"])
def test_what_is_no_http_is_told_so(port: int, connect: Any, read_answer: ReadAnswer, sent: bytes) -> None:
    connection = connect()
    connection.sendall(sent)

    status, problem = read_answer(connection)

    assert (status, problem["code"]) == (400, "not_http")
    assert connection.recv(1) == b""


@pytest.mark.parametrize("begun", [b"", b"GET /hea", GET])
def test_who_does_not_say_what_it_wants_is_not_waited_for(
    port: int, connect: Any, read_answer: ReadAnswer, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(bounded, "HEAD_SECONDS", 0.2)
    connection = connect()
    connection.sendall(begun)

    status, problem = read_answer(connection)

    assert (status, problem["code"]) == (408, "request_timeout")
    assert connection.recv(1) == b""


def test_a_second_request_that_is_never_finished_is_not_waited_for(
    port: int, connect: Any, read_answer: ReadAnswer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect()
    connection.sendall(GET + b"\r\n")
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    monkeypatch.setattr(bounded, "HEAD_SECONDS", 0.2)
    connection.sendall(GET)

    assert read_answer(connection)[0] == 408


@pytest.mark.parametrize("path", [b"/jobs", b"/nothing"])
def test_a_body_that_comes_too_slowly_is_not_waited_for(
    port: int, connect: Any, read_answer: ReadAnswer, monkeypatch: pytest.MonkeyPatch, path: bytes
) -> None:
    monkeypatch.setattr(bounded, "BODY_GRACE_SECONDS", 0.2)
    monkeypatch.setattr(bounded, "CHECK_SECONDS", 0.1)
    connection = connect()
    connection.sendall(POST.replace(b"/jobs", path) + b"Content-Length: 1000\r\n\r\n{")

    status, problem = read_answer(connection)

    if path == b"/jobs":
        assert (status, problem["code"]) == (408, "request_timeout")
    else:
        assert status == 404, "which needs no body; the connection ends all the same"
    assert connection.recv(1) == b""


def test_a_body_that_is_large_but_comes_is_waited_for(port: int, connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "BODY_GRACE_SECONDS", 0.0)
    monkeypatch.setattr(bounded, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(bounded, "BODY_BYTES_A_SECOND", 1)
    job = b'{"mode": "train", "config": {}}' + b" " * 500_000
    connection = connect()
    looked = []
    look = BoundedProtocol._look_at_body
    monkeypatch.setattr(BoundedProtocol, "_look_at_body", lambda self: (look(self), looked.append(self)))
    connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(job) + job[:50_000])
    for start in range(50_000, len(job), 50_000):
        seen = len(looked)
        wait_until(lambda seen=seen: len(looked) > seen)  # it has been asked about its pace, and stays
        connection.sendall(job[start : start + 50_000])

    answer = http.client.HTTPResponse(connection)
    answer.begin()
    assert answer.status == 201


def test_connections_that_ask_for_nothing_make_room_for_those_that_do(
    port: int, connect: Any, read_answer: ReadAnswer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedProtocol, "most", 4)
    half = [connect() for _ in range(12)]
    for connection in half[:4]:
        with contextlib.suppress(ConnectionError):
            connection.sendall(GET)

    assert is_well(port)
    with contextlib.suppress(ConnectionError):
        assert read_answer(half[0])[0] == 408
    last = half[-1]
    last.sendall(GET + b"\r\n")
    answer = http.client.HTTPResponse(last)
    answer.begin()
    assert answer.status == 200, "those that came last are still there"


def test_bodies_that_do_not_come_make_room_and_the_oldest_goes_first(
    port: int, connect: Any, read_answer: ReadAnswer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = []
    for _ in range(4):
        slow.append(connect())
        slow[-1].sendall(POST + b"Content-Length: 1000\r\n\r\n{")
        wait_until(lambda: len(BoundedProtocol._unfinished) == len(slow))
    monkeypatch.setattr(BoundedProtocol, "most", 4)

    assert is_well(port)

    status, problem = read_answer(slow[0])
    assert (status, problem["code"]) == (408, "request_timeout")
    slow[-1].sendall(b" " * 998 + b"}")  # too little for a job, but a body
    answer = http.client.HTTPResponse(slow[-1])
    answer.begin()
    assert answer.status == 422, "those that came last are still there"


def test_who_brings_its_body_in_time_is_not_the_first_to_make_room(
    port: int, connect: Any, read_answer: ReadAnswer, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, slow = connect(), connect()
    for number, (connection, bytes_there) in enumerate(((busy, 900_000), (slow, 1)), 1):
        connection.sendall(POST + b"Content-Length: 999999\r\n\r\n" + b" " * bytes_there)
        wait_until(lambda number=number: len(BoundedProtocol._unfinished) == number)
    # As slow as the machine may be, the one is in time and the other is not.
    monkeypatch.setattr(bounded, "BODY_BYTES_A_SECOND", 1e-3)
    wait_until(lambda: all(not one.flow.read_paused for one in BoundedProtocol._unfinished))
    (late,) = [one for one in BoundedProtocol._unfinished if one._body_bytes <= 1]
    monkeypatch.setattr(late, "_body_bytes", -1)
    monkeypatch.setattr(BoundedProtocol, "most", 2)

    assert is_well(port)

    assert read_answer(slow)[0] == 408


def test_some_files_are_left_for_what_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "most", 0)
    for files, most in ((256, 128), (1_024, 768), (65_536, 10_000)):
        BoundedProtocol.leave_room(files)
        assert BoundedProtocol.most == most
