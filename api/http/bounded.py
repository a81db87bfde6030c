"""HTTP for clients of whom nothing is known: bounded heads, bounded connections, deadlines for heads and bodies.

Uvicorn reads whatever comes, for as long as it comes. One header of 300 MB, or as many connections that never say what
they want as there are files, and nobody else is answered.
"""

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import ClassVar

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http import browsers

MAX_HEAD_BYTES = 65_536
"""Of the request line and all headers: as much as other servers take."""
HEAD_SECONDS = 10.0
"""From the opening of a connection, or the first byte of the next request, to the end of the headers."""
BODY_GRACE_SECONDS = 20.0
BODY_BYTES_A_SECOND = 1_000
"""What a body must bring on average once the grace is over; a client that we hold back is not slow."""
CHECK_SECONDS = 2.0

# Files that are not connections: the database's, the log, what is downloaded, sockets of webhooks.
OTHER_FILES = 256
MOST_CONNECTIONS = 10_000

TO_BROWSERS = "".join(f"{name}: {value}\r\n" for name, value in browsers.HEADERS.items()).encode()

log = structlog.get_logger()


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Beyond `most` of them, the one that has longest asked for nothing is closed, or, where all ask,
    the one whose body has longest been late."""

    most: ClassVar[int] = MOST_CONNECTIONS
    _asked_for_nothing: ClassVar[dict["BoundedProtocol", None]] = {}
    """Connections without a request, in the order in which they came to be so."""
    _unfinished: ClassVar[dict["BoundedProtocol", None]] = {}
    """Connections whose request is not whole yet, in the order in which their heads came."""

    _refused = False
    _reads_head = False
    _reads_body = False
    _head_bytes = 0
    _body_bytes = 0
    _body_began = 0.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            idle = next(iter(self._asked_for_nothing), None) or self._least_promising()
            if idle is None:
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections", "Try again in a moment.")
                return
            idle._refuse(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "Others needed this connection.")
        self._asked_for_nothing[self] = None
        self._give(HEAD_SECONDS, self._give_up_on_head)

    def connection_lost(self, exc: Exception | None) -> None:
        self._asked_for_nothing.pop(self, None)
        self._unfinished.pop(self, None)
        self._settle()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        began_before = self._reads_head
        super().data_received(data)
        if self._refused:
            return
        if self._reads_head:
            # Where the head began within these bytes is not known, and need not be.
            self._head_bytes += len(data) if began_before else 0
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
            elif self._deadline is None:
                self._give(HEAD_SECONDS, self._give_up_on_head)
        elif self._reads_body and self._deadline is None:
            self._give(BODY_GRACE_SECONDS, self._look_at_body)

    # -- what the parser finds -----------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, "not_http", "This is not HTTP/1.1 as the server understands it.")

    def on_message_begin(self) -> None:
        self._reads_head, self._head_bytes, self._body_bytes = True, 0, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._reads_head, self._reads_body = False, True
        self._settle()
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refuse_head()
            return
        self._asked_for_nothing.pop(self, None)
        self._unfinished[self], self._body_began = None, self.loop.time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._reads_body = False
        self._unfinished.pop(self, None)
        self._settle()
        if not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self._asked_for_nothing[self] = None

    @classmethod
    def leave_room(cls, files: int) -> None:
        """So many files may be open: connections must not take them all."""
        cls.most = min(max(files - OTHER_FILES, files // 2), MOST_CONNECTIONS)

    # -- deadlines and refusals ----------------------------------------------------------------------------------

    def _give(self, seconds: float, then: Callable[[], None]) -> None:
        self._deadline = self.loop.call_later(seconds, then)

    def _settle(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up_on_head(self) -> None:
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", f"No request came within {HEAD_SECONDS:g} seconds.")

    def _look_at_body(self) -> None:
        if self._is_in_time(BODY_GRACE_SECONDS):
            self._give(CHECK_SECONDS, self._look_at_body)
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The body came too slowly.")

    def _is_in_time(self, grace_seconds: float) -> bool:
        """Whether the body has brought what it must by now."""
        late = self.loop.time() - self._body_began - grace_seconds
        return self.flow.read_paused or self._body_bytes >= late * BODY_BYTES_A_SECOND

    @classmethod
    def _least_promising(cls) -> "BoundedProtocol | None":
        """Of those whose request is not whole the oldest that is late, without any grace; or else the oldest."""
        late = (one for one in cls._unfinished if not one._is_in_time(0))
        return next(late, None) or next(iter(cls._unfinished), None)

    def _refuse_head(self) -> None:
        detail = f"The request line and the headers are larger than {MAX_HEAD_BYTES} bytes together."
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail)

    def _refuse(self, status: HTTPStatus, code: str, detail: str) -> None:
        """A last word, unless an answer is under way or was given, and the end of the connection."""
        self._refused = True
        self._settle()
        self._asked_for_nothing.pop(self, None)
        self._unfinished.pop(self, None)
        if self.transport.is_closing():
            return
        log.warning("connection_refused", code=code, client=self.client and self.client[0], recurs=True)
        if (
            self.cycle is None
            or not self.cycle.response_started
            or (self.cycle.response_complete and not self._reads_body)
        ):
            problem = {"type": "about:blank", "title": status.phrase, "status": status, "code": code, "detail": detail}
            body = json.dumps(problem).encode()
            self.transport.write(
                b"HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"
                b"%sConnection: close\r\n\r\n%s" % (status, status.phrase.encode(), len(body), TO_BROWSERS, body)
            )
        self.transport.close()
