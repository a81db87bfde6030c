"""A real receiver of webhooks: an HTTP server on loopback that remembers what it got and answers as it is told."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.support.waiting import HANG_SECONDS


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str, *, at_any_time: bool = False) -> dict[str, Any]:
        """The message, if its signature is right, and its time: that may be any where the sender's clock was wrong."""
        if at_any_time:
            at = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
            if Webhook(secret).sign(self.id, at, self.body.decode()) not in self.headers["webhook-signature"].split():
                raise WebhookVerificationError("No matching signature found")
            return dict(json.loads(self.body))
        return dict(Webhook(secret).verify(self.body, self.headers))


Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Receiver:
    """`answers` are given in this order, then 204 for ever. What is in `hold` waits until it is set."""

    port: int = 0
    answers: list[Answer] = field(default_factory=list)
    got: list[Received] = field(default_factory=list)
    hold: threading.Event | None = None
    tls: ssl.SSLContext | None = None

    def url(self, host: str = "127.0.0.1") -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}/hooks?from=stillhouse"

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.answers.append((status, headers, body))

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length", 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.got.append(Received(handler.path, headers, handler.rfile.read(length)))
        if self.hold is not None:
            self.hold.wait(HANG_SECONDS)
        status, more, body = self.answers.pop(0) if self.answers else (204, {}, b"")
        handler.send_response(status)
        for name, value in more.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    @contextmanager
    def listening(self) -> Iterator["Receiver"]:
        """At the port it had before, if it had one."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.handle(self)

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        server = _Server(("127.0.0.1", self.port), Handler)
        if self.tls is not None:
            server.socket = self.tls.wrap_socket(server.socket, server_side=True)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            if self.hold is not None:
                self.hold.set()
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Senders that hang up early are what some tests are about."""
