"""One HTTP exchange with the server: an answer, or an error that is a sentence."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2

from client.errors import BadUrl, NotAServer, Refused, Unreachable

Json = dict[str, Any]

# For how long those who wait bear a server that does not answer: time for a restart.
PATIENCE_SECONDS = 60.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Http:
    """A connection to one server."""

    def __init__(self, url: str, timeout_seconds: float):
        self.url = url.rstrip("/")
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

    def json(self, method: str, path: str, *, body: object = None, params: Mapping[str, Any] | None = None) -> Json:
        """The JSON object in the answer."""
        answer = self.answer(method, path, body=body, params=params)
        try:
            content = answer.json()
        except ValueError as error:
            raise NotAServer(self.url) from error
        if not isinstance(content, dict):
            raise NotAServer(self.url)
        return content

    def answer(
        self, method: str, path: str, *, body: object = None, params: Mapping[str, Any] | None = None
    ) -> httpx2.Response:
        """The whole answer, read to its end."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        with self._reached():
            answer = self._http.request(method, path, json=body, params=given)
        return self._accepted(answer)

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
        """An answer whose body is still to be read."""
        with self._reached(), self._http.stream("GET", path, headers=dict(headers)) as answer:
            if not answer.is_success and answer.status_code != httpx2.codes.RANGE_NOT_SATISFIABLE:
                answer.read()
                self._accepted(answer)
            yield answer

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TimeoutException as error:
            raise Unreachable(self.url, "it took too long") from error
        except httpx2.TransportError as error:
            reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
            raise Unreachable(self.url, reason) from error

    def _accepted(self, answer: httpx2.Response) -> httpx2.Response:
        if answer.is_success:
            return answer
        try:
            problem = json.loads(answer.content)
        except ValueError:
            problem = None
        raise Refused(answer.status_code, problem if isinstance(problem, dict) else {"title": answer.reason_phrase})
