"""One HTTP exchange with the server: an answer, or an error that is a sentence."""

import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from client import answers
from client.answers import Json
from client.errors import BadUrl, NotAServer, Refused, Unreachable
from client.patience import SILENCE_SECONDS, resend_if_lost

EVENT_STREAM = "text/event-stream"
# Far more than any answer has but a file, and less than what a machine notices.
MOST_BYTES = 1 << 26
# The timeout is for the next byte. A whole answer may take so many of them: a byte now and then is none.
TIMEOUTS_FOR_AN_ANSWER = 10
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    reason: str
    headers: httpx2.Headers
    content: bytes


class Http:
    """A connection to one server."""

    def __init__(self, url: str, timeout_seconds: float):
        self.url = url.rstrip("/")
        self.timeout_seconds = timeout_seconds
        try:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise BadUrl(url)
            self._http = httpx2.Client(
                base_url=self.url,
                timeout=timeout_seconds,
                follow_redirects=True,
                # A few compressed bytes may become any number; no answer of ours is.
                headers={"Accept-Encoding": "identity"},
                # A proxy from the environment has no way to this machine's own loopback.
                trust_env=parts.hostname not in LOOPBACK,
            )
        except (ValueError, httpx2.InvalidURL) as error:
            raise BadUrl(url) from error

    def close(self) -> None:
        self._http.close()

    def request_json(
        self,
        method: str,
        path: str,
        *,
        holds: type[answers.Part] | None = None,
        body: object = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """The JSON object in the answer, which is one of a kind if it `holds` one."""
        answer = self.request(method, path, body=body, params=params, headers=headers)
        return self.json_object(answer.content, holds)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        content: Iterable[bytes] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Answer:
        """The whole answer, read to its end. `content` is a body that is no JSON."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        timeout = self.timeout_seconds if timeout_seconds is None else timeout_seconds
        with (
            self._name_transport_errors(),
            self._http.stream(
                method, path, json=body, content=content, params=given, headers=dict(headers or {}), timeout=timeout
            ) as answer,
        ):
            return self._check(self._whole(answer, timeout))

    def post_once(self, path: str, body: Json, key: str | None, holds: type[answers.Part] = answers.Job) -> Json:
        """Make a job, or what it holds, exactly one: whatever is sent again has the same Idempotency-Key."""
        headers = {"Idempotency-Key": str(uuid.uuid4()) if key is None else key}
        return resend_if_lost(lambda: self.request_json("POST", path, holds=holds, body=body, headers=headers))

    def pages(self, path: str, params: Mapping[str, Any], holds: type[answers.Part] | None = None) -> Iterator[Json]:
        """What a list holds; asks for its next page when that is needed."""
        cursor, seen = None, set()
        while True:
            page = self.request_json("GET", path, holds=answers.Page, params={**params, "after": cursor})
            for item in page["data"]:
                yield self.checked(item, holds)
            if not page["has_more"]:
                return
            cursor = page.get("next_cursor")
            if cursor is None or cursor in seen:
                raise NotAServer(self.url, "its list has no end")
            seen.add(cursor)

    @contextmanager
    def stream(
        self, path: str, headers: Mapping[str, str], timeout_seconds: float | None = None
    ) -> Iterator[httpx2.Response]:
        """An answer whose body is still to be read."""
        timeout = self.timeout_seconds if timeout_seconds is None else timeout_seconds
        with (
            self._name_transport_errors(),
            self._http.stream("GET", path, headers=dict(headers), timeout=timeout) as answer,
        ):
            if not answer.is_success and answer.status_code != httpx2.codes.RANGE_NOT_SATISFIABLE:
                self._check(self._whole(answer, timeout))
            yield answer

    def listen(self, path: str, last_event_id: int) -> Iterator[Json]:
        """Server-sent events after this one, as they come, until the stream ends; none if the server has no streams."""
        headers = {"Accept": EVENT_STREAM, "Cache-Control": "no-store", "Last-Event-ID": str(last_event_id)}
        with self.stream(path, headers, max(self.timeout_seconds, SILENCE_SECONDS)) as answer:
            if not answer.headers.get("Content-Type", "").startswith(EVENT_STREAM):
                return
            self._refuse_compressed(answer)
            answer.encoding = "utf-8"  # whatever it says: there is no other for these
            for said in httpx2.EventSource(answer):
                if said.data:
                    yield self.json_object(said.data, answers.Event)

    def json_object(self, text: str | bytes, holds: type[answers.Part] | None = None) -> Json:
        try:
            content = answers.parse(text)
        except ValueError as error:
            raise NotAServer(self.url, f"its answer is no JSON ({error})") from error
        return self.checked(content, holds)

    def checked(self, content: Any, kind: type[answers.Part] | None) -> Json:
        """The same, if it is an object of this kind."""
        if not isinstance(content, dict):
            raise NotAServer(self.url, "its answer is no JSON object")
        if kind is not None and (fault := answers.fault(content, kind)) is not None:
            raise NotAServer(self.url, fault)
        return content

    def _whole(self, answer: httpx2.Response, timeout_seconds: float) -> Answer:
        """The answer, read to its end unless it has none."""
        self._refuse_compressed(answer)
        give_up = time.monotonic() + TIMEOUTS_FOR_AN_ANSWER * timeout_seconds
        content = bytearray()
        for block in answer.iter_raw():
            content += block
            if len(content) > MOST_BYTES:
                raise NotAServer(self.url, f"its answer has more than {MOST_BYTES >> 20} MiB")
            if time.monotonic() > give_up:
                raise Unreachable(self.url, "it took too long")
        return Answer(answer.status_code, answer.reason_phrase, answer.headers, bytes(content))

    def _refuse_compressed(self, answer: httpx2.Response) -> None:
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise NotAServer(self.url, "its answer is compressed, which nobody asked for")

    @contextmanager
    def _name_transport_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TimeoutException as error:
            sent = not isinstance(error, httpx2.ConnectTimeout)
            raise Unreachable(self.url, "it took too long", sent=sent) from error
        except (httpx2.TooManyRedirects, httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise NotAServer(self.url, f"it sends us elsewhere ({str(error).rstrip('.')})") from error
        except httpx2.TransportError as error:
            reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
            raise Unreachable(self.url, reason, sent=not isinstance(error, httpx2.ConnectError)) from error

    def _check(self, answer: Answer) -> Answer:
        # 304 comes only to those who asked for what has changed.
        if 200 <= answer.status < 300 or answer.status == httpx2.codes.NOT_MODIFIED:
            return answer
        try:
            problem = answers.parse(answer.content)
        except ValueError:
            problem = None
        raise Refused(answer.status, problem if isinstance(problem, dict) else {"title": answer.reason})
