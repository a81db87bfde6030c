"""A server that answers whatever it is told to: bytes, not HTTP, so that they may be no HTTP at all."""

import contextlib
import json
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Bytes = Iterable[bytes]


def http(content: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """An answer as HTTP has it, to the end of the connection."""
    given = {"Content-Length": str(len(content)), "Content-Type": "application/json"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"HTTP/1.1 {status}\r\n{lines}Connection: close\r\n\r\n".encode("latin-1") + content


def json_http(content: Any) -> bytes:
    return http(json.dumps(content).encode())


class Crooked:
    """`answer` says what a path is answered with; a connection is for one request."""

    def __init__(self, answer: Callable[[str], bytes | Bytes]):
        self.answer = answer
        self.url = ""

    @contextmanager
    def listening(self) -> Iterator["Crooked"]:
        crooked = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):  # who asks has heard enough
                    crooked._handle(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        with Server(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_address[1]}"
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def _handle(self, connection: socketserver.StreamRequestHandler) -> None:
        path, length = connection.rfile.readline().split()[1].decode(), 0
        while (line := connection.rfile.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        connection.rfile.read(length)
        answer = self.answer(path)
        for part in (answer,) if isinstance(answer, bytes) else answer:
            connection.wfile.write(part)
