"""However a server answers, a call of the client ends in a ClientError: one sentence that steers no terminal."""

import gzip
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from client import Client, ClientError, download, http, patience
from client.errors import MOST_CHARACTERS, NotAServer, Refused, Unreachable
from kd.printable import unprintable
from tests.support.faults.crooked import Crooked, json_http
from tests.support.faults.crooked import http as answered

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egpj.exe\U000e0041"

CALLS: dict[str, Callable[[Client, Path], Any]] = {
    "submit": lambda client, _: client.submit("train"),
    "retry": lambda client, _: client.retry("j"),
    "cancel": lambda client, _: client.cancel("j"),
    "pause": lambda client, _: client.pause("j"),
    "resume": lambda client, _: client.resume("j"),
    "change": lambda client, _: client.change("j", name="x"),
    "cancel_all": lambda client, _: client.cancel_all(everything=True),
    "delete_all": lambda client, _: client.delete_all(everything=True),
    "get": lambda client, _: client.get("j"),
    "list": lambda client, _: list(client.list()),
    "wait": lambda client, _: client.wait("j"),
    "events": lambda client, _: list(client.events("j")),
    "follow": lambda client, _: list(client.events("j", follow=True)),
    "metrics": lambda client, _: client.metrics("j"),
    "checkpoints": lambda client, _: list(client.checkpoints("j")),
    "checkpoint": lambda client, _: client.checkpoint("j"),
    "artifacts": lambda client, _: list(client.artifacts("j")),
    "download": lambda client, folder: client.download("j", to=folder),
    "download_artifact": lambda client, folder: client.download_artifact("j", "report.json", to=folder),
    "report": lambda client, _: client.report("j"),
    "label_tables": lambda client, _: list(client.label_tables()),
    "label_table": lambda client, _: client.label_table("t"),
    "push_labels": lambda client, _: client.push_labels(__file__, "digits", content="logits"),
    "datasets": lambda client, _: list(client.datasets()),
    "presets": lambda client, _: list(client.presets()),
    "workers": lambda client, _: list(client.workers()),
    "worker": lambda client, _: client.worker("w"),
    "drain": lambda client, _: client.drain("w"),
    "undrain": lambda client, _: client.undrain("w"),
}
# What they answer with may be any text, any object, or nothing.
LOOSE: dict[str, Callable[[Client, Path], Any]] = {
    "logs": lambda client, _: client.logs("j"),
    "delete": lambda client, _: client.delete("j"),
    "delete_label_table": lambda client, _: client.delete_label_table("t"),
}
ANY_OBJECT = {"metrics", "label_table", "report"}


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For servers that are being restarted: these are not."""
    for module in (patience, download):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(patience, "RETRY_PAUSES_SECONDS", ())


def said_by(call: Callable[[Client, Path], Any], client: Client, folder: Path) -> str:
    with pytest.raises(ClientError) as caught:
        call(client, folder)
    sentence = str(caught.value)
    assert all(unprintable(line) is None for line in sentence.split("\n"))
    assert len(sentence) <= MOST_CHARACTERS + 1
    return sentence


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (answered(b""), "its answer is no JSON"),
        (answered(b"<html>Sign in to the proxy</html>", Content_Type="text/html"), "its answer is no JSON"),
        (answered(b"<html>", "502 Bad Gateway", Content_Type="text/html"), "Bad Gateway"),
        (answered(b"[" * 10_000), "its answer is no JSON"),
        (answered(b'{"a":' * 10_000), "its answer is no JSON"),
        (answered(b'{"id": NaN}'), "its answer is no JSON"),
        (answered(b'{"id": %s}' % (b"1" * 5_000)), "its answer is no JSON"),
        (answered(rb'{"id": "\ud800"}'), "its answer is no JSON"),
        (answered(b"\xff\xfe{\x00}\x00"), "its answer is no JSON"),
        (answered(b"[]"), "its answer is no JSON object"),
        (answered(b"null"), "its answer is no JSON object"),
        (answered(b'"text"'), "its answer is no JSON object"),
        (answered(gzip.compress(bytes(10_000_000)), Content_Encoding="gzip"), "its answer is compressed"),
        (answered(b"{}", Content_Encoding="gzip, br, x"), "its answer is compressed"),
        (answered(b"{}", Content_Length="1000"), "No answer from"),
        (answered(b"{}", Content_Length="-1"), "No answer from"),
        (answered(b"{}", Content_Length="two"), "No answer from"),
        (answered(b"zz\r\n", Content_Length="", Transfer_Encoding="chunked"), "No answer from"),
        (answered(b"\x1b", X="\x1b[2J"), ""),
        (answered(b"\x1b", "404 \x1b[2J"), ""),
        (answered(b"\x1b", "999 Odd"), ""),
        (answered(b"{}", "304 Not Modified", Content_Length=""), ""),
        (answered(b"", "307 Temporary Redirect", Location="/again"), "it sends us elsewhere"),
        (answered(b"", "302 Found", Location="ftp://example.org/"), "it sends us elsewhere"),
        (answered(b"", "302 Found", Location="http://[::1"), "No answer from"),
        (answered(b"", "302 Found", Location="http://xn--a\u00fc\xad.example:99999/"), ""),
        (answered(b"", "302 Found"), ""),
        (b"", "No answer from"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "No answer from"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "No answer from"),
        *(
            (answered(json.dumps(problem).encode(), "422 Unprocessable Content"), "")
            for problem in (
                {"detail": HOSTILE, "code": HOSTILE},
                {"errors": [{"pointer": HOSTILE, "message": HOSTILE}]},
                {"errors": 5, "detail": {}, "title": [], "code": 7},
                {"errors": [5, None, {"pointer": {}}, {}]},
                {"errors": [{"message": "x" * 10_000}] * 9},
                {"detail": "x" * 100_000},
                [],
            )
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_is_none_ends_in_a_sentence(tmp_path: Path, answer: bytes, words: str) -> None:
    with Crooked(lambda _: answer).listening() as server, Client(server.url) as client:
        for call in CALLS.values():
            assert words in said_by(call, client, tmp_path)
        for call in LOOSE.values():
            with suppress(ClientError):
                call(client, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        *({}, {"data": 5}, {"data": [5], "has_more": False}, {"data": [{}], "has_more": False}),
        *({"data": [], "has_more": True}, {"data": [], "has_more": True, "next_cursor": "again"}),
        *({"data": None, "id": None, "status": {}, "is_terminal": "no", "changed": "all"}, {"has_more": "x"}),
        {"id": "ckpt", "file": "student.safetensors", "size": 5, "sha256": "../../../../etc/passwd"},
        {"id": "ckpt", "file": "student.safetensors", "size": -5, "sha256": "0" * 64},
        {"id": "ckpt", "file": "student.safetensors", "size": 10**30, "sha256": "0" * 64},
        {"id": "ckpt", "file": "student.safetensors", "size": "5", "sha256": "0" * 64 + "\n"},
    ],
)
def test_an_object_of_another_kind_is_refused_with_what_is_wrong(tmp_path: Path, content: dict[str, Any]) -> None:
    calls = [call for name, call in CALLS.items() if name not in ANY_OBJECT | {"label_tables"}]

    with Crooked(lambda _: json_http(content)).listening() as server, Client(server.url) as client:
        for call in calls:
            assert "is not a Stillhouse server" in said_by(call, client, tmp_path)
    assert list(tmp_path.iterdir()) == []


def endless(begin: bytes, again: bytes, pause_seconds: float = 0.0) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + begin
    for _ in itertools.count():
        yield again
        time.sleep(pause_seconds)


@pytest.mark.parametrize("name", ["get", "list", "submit", "follow"])
def test_an_answer_without_an_end_is_read_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 1 << 20)

    with Crooked(lambda _: endless(b"{", b" " * 65_536)).listening() as server, Client(server.url) as client:
        assert "its answer has more than 1 MiB" in said_by(CALLS[name], client, tmp_path)


def test_an_answer_that_drips_is_waited_for_ten_times_the_timeout(tmp_path: Path) -> None:
    with (
        Crooked(lambda _: endless(b"{", b" ", 0.01)).listening() as server,
        Client(server.url, timeout=0.1) as client,
        pytest.raises(Unreachable, match="it took too long"),
    ):
        client.get("j")


def test_a_refusal_can_be_read_as_the_server_said_it(tmp_path: Path) -> None:
    problem = {"code": "invalid", "detail": "Read it.", "errors": [{"pointer": "/name", "message": HOSTILE}]}

    with (
        Crooked(lambda _: answered(json.dumps(problem).encode(), "422 No")).listening() as server,
        Client(server.url) as client,
        pytest.raises(Refused) as refused,
    ):
        client.get("j")

    assert refused.value.problem == problem
    assert refused.value.errors[0].message == HOSTILE
    assert "\\x1b[2J" in str(refused.value)


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"[" * 10_000 + b"\n\n",
        b"data: {}\n\n",
        b'data: {"seq": "1", "type": "state", "attempt": 1, "data": {}}\n\n',
        b'data: {"seq": 1, "type": "noted", "attempt": 1, "data": {"code": 5}}\n\n',
    ],
)
def test_a_stream_of_something_else_is_no_stream_of_events(stream: bytes) -> None:
    with Crooked(lambda _: answered(stream, Content_Type="text/event-stream; charset=rot13")).listening() as server:
        far = http.Http(server.url, 5.0)
        with pytest.raises(NotAServer):
            list(far.listen("/jobs/j/events", 0))
        far.close()
