"""Bodies are bounded on a real socket: the answer comes early, the connection never hangs, nothing is stored."""

import http.client
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support.waiting import HANG_SECONDS

LIMIT = 1_000_000
POST = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

ReadAnswer = Callable[[socket.socket], tuple[int, dict[str, Any]]]


def test_a_body_that_says_it_is_too_large_is_refused_unread(port: int, read_answer: ReadAnswer) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS) as connection:
        connection.sendall(POST + b"Content-Length: 10000000\r\n\r\n")

        status, problem = read_answer(connection)  # of the body not a byte has been sent

        assert (status, problem["code"]) == (413, "body_too_large")
        assert str(LIMIT) in problem["detail"]
        assert connection.recv(1) == b"", "the server closes a connection that it cannot use any more"


def test_a_chunked_body_without_end_is_refused_at_the_limit(port: int, read_answer: ReadAnswer) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(LIMIT // 10_000 + 1):
            connection.sendall(b"2710\r\n" + b" " * 10_000 + b"\r\n")

        status, problem = read_answer(connection)

        assert (status, problem["code"]) == (413, "body_too_large")
        assert connection.recv(1) == b""


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_writes_everything_before_it_reads_sees_the_answer(port: int, chunked: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS)
    body = b'{"mode": "train", "name": "' + b"x" * 10_000_000 + b'"}'

    content = (body[start : start + 100_000] for start in range(0, len(body), 100_000)) if chunked else body
    connection.request("POST", "/jobs", content, {"Content-Type": "application/json"}, encode_chunked=chunked)
    answer = connection.getresponse()

    assert answer.status == 413
    assert json.loads(answer.read())["code"] == "body_too_large"


def test_a_body_at_the_limit_is_read(port: int) -> None:
    job = b'{"mode": "train", "config": {}}'
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS)

    connection.request("POST", "/jobs", job + b" " * (LIMIT - len(job)), {"Content-Type": "application/json"})

    assert connection.getresponse().status == 201


def test_a_large_body_where_none_is_read_breaks_nothing(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS)
    for path, status in (("/healthz", 405), ("/nothing", 404), ("/jobs", 415)):
        connection.request("POST", path, iter([b"x" * 100_000] * 5), encode_chunked=True)
        answer = connection.getresponse()
        assert answer.status == status
        assert json.loads(answer.read())["status"] == status


def test_too_large_a_body_stores_nothing(client: TestClient, problem_in: Any) -> None:
    body = json.dumps({"mode": "train", "config": {}, "name": "x" * 10_000_000}).encode()

    for content in (body, iter([body])):
        problem_in(client.post("/jobs", content=content, headers={"Content-Type": "application/json"}), 413)

    assert client.get("/jobs").json()["data"] == []
