"""One HTTP exchange with the server: an answer, or an error that is a sentence."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2

from client.errors import BadUrl, NotAServer, Refused, Unreachable
from client.patience import SILENCE_SECONDS, resend_if_lost

Json = dict[str, Any]

EVENT_STREAM = "text/event-stream"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


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
        body: object = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """The JSON object in the answer."""
        return self.json_object(self.request(method, path, body=body, params=params, headers=headers).content)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> httpx2.Response:
        """The whole answer, read to its end."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        with self._name_transport_errors():
            answer = self._http.request(
                method,
                path,
                json=body,
                params=given,
                headers=dict(headers or {}),
                timeout=self.timeout_seconds if timeout_seconds is None else timeout_seconds,
            )
        return self._check(answer)

    def post_once(self, path: str, body: Json, key: str | None) -> Json:
        """Make a job, exactly one: whatever is sent again has the same Idempotency-Key."""
        headers = {"Idempotency-Key": str(uuid.uuid4()) if key is None else key}
        return resend_if_lost(lambda: self.request_json("POST", path, body=body, headers=headers))

    def pages(self, path: str, params: Mapping[str, Any]) -> Iterator[Json]:
        """What a list holds; asks for its next page when that is needed."""
        cursor = None
        while True:
            page = self.request_json("GET", path, params={**params, "after": cursor})
            yield from page["data"]
            cursor = page.get("next_cursor")
            if not page.get("has_more"):
                return

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
                answer.read()
                self._check(answer)
            yield answer

    def listen(self, path: str, last_event_id: int) -> Iterator[Json]:
        """Server-sent events after this one, as they come, until the stream ends; none if the server has no streams."""
        headers = {"Accept": EVENT_STREAM, "Cache-Control": "no-store", "Last-Event-ID": str(last_event_id)}
        with self.stream(path, headers, max(self.timeout_seconds, SILENCE_SECONDS)) as answer:
            if not answer.headers.get("Content-Type", "").startswith(EVENT_STREAM):
                return
            for said in httpx2.EventSource(answer):
                if said.data:
                    yield self.json_object(said.data)

    def json_object(self, text: str | bytes) -> Json:
        try:
            content = json.loads(text)
        except ValueError as error:
            raise NotAServer(self.url) from error
        if not isinstance(content, dict):
            raise NotAServer(self.url)
        return content

    @contextmanager
    def _name_transport_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TimeoutException as error:
            sent = not isinstance(error, httpx2.ConnectTimeout)
            raise Unreachable(self.url, "it took too long", sent=sent) from error
        except httpx2.TransportError as error:
            reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
            raise Unreachable(self.url, reason, sent=not isinstance(error, httpx2.ConnectError)) from error

    def _check(self, answer: httpx2.Response) -> httpx2.Response:
        # 304 comes only to those who asked for what has changed.
        if answer.is_success or answer.status_code == httpx2.codes.NOT_MODIFIED:
            return answer
        try:
            problem = json.loads(answer.content)
        except ValueError:
            problem = None
        raise Refused(answer.status_code, problem if isinstance(problem, dict) else {"title": answer.reason_phrase})
