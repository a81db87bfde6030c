"""A relay between a client and a server that does what networks do: lose an answer, refuse, leave out a header."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Relay:
    """Passes bytes on, in both directions, and what it `swap`s as something else of the same length."""

    def __init__(self, to: str, swap: Mapping[bytes, bytes]):
        """`to` is a URL, or the path of a socket."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._to, self._swap = urlsplit(to), dict(swap)
        self._open: set[socket.socket] = set()
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.losses = 0
        """So many answers are lost: the server has given them, and the connection breaks."""
        self.refusals = 0
        """So many connections end with a 503 before the server hears of them."""
        self.stall_after: int | None = None
        """After so many bytes a connection brings no more, for as long as this is set."""
        self.stalled = threading.Event()
        self.requests: list[bytes] = []
        """The first lines of those that came."""

    def serve(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, suppress(OSError), self._connect() as server:
            self._open |= {client, server}
            passing_on = threading.Thread(target=self._pass_on, args=(client, server), daemon=True)
            passing_on.start()
            passed = 0
            try:
                while answer := server.recv(65_536):
                    if self.losses:
                        self.losses -= 1
                        break
                    while self.stall_after is not None and passed >= self.stall_after:
                        self.stalled.set()
                        time.sleep(0.002)
                    client.sendall(self._swapped(answer))
                    passed += len(answer)
            finally:
                self._break(client, server)
                passing_on.join()

    def _connect(self) -> socket.socket:
        if self._to.scheme:
            return socket.create_connection((self._to.hostname, self._to.port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._to.path)
        return server

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while request := client.recv(65_536):
                self.requests.append(request.partition(b"\r\n")[0])
                if self.refusals:
                    self.refusals -= 1
                    client.sendall(UNAVAILABLE)
                    break
                server.sendall(self._swapped(request))
        self._break(client, server)

    def _swapped(self, content: bytes) -> bytes:
        for this, that in self._swap.items():
            assert len(this) == len(that)
            content = content.replace(this, that)
        return content

    def _break(self, *sockets: socket.socket) -> None:
        for one in sockets:
            self._open.discard(one)
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def break_all(self) -> None:
        """Every connection that is open now."""
        self._break(*list(self._open))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_all()


@contextmanager
def relay(to: str, swap: Mapping[bytes, bytes] | None = None) -> Iterator[Relay]:
    between = Relay(to, swap or {})
    thread = threading.Thread(target=between.serve, daemon=True)
    thread.start()
    try:
        yield between
    finally:
        between.close()
        thread.join()
