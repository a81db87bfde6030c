"""A real server with few files, and somebody who looks the whole time whether it still answers."""

import http.client
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from kd.machine import open_files
from tests.support.served import Server

FILES = 1_024
ANSWERS_WITHIN_SECONDS = 1.0
MORE_MEMORY = 150_000_000


@pytest.fixture(scope="module", autouse=True)
def _as_many_connections_as_an_attacker_has() -> None:
    open_files.raise_limit()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data", files=FILES)
    server.start()
    assert psutil.Process(server.process.pid).rlimit(resource.RLIMIT_NOFILE) == (FILES, FILES)
    yield server
    assert server.end() == 0


class Watch:
    """Asks for /healthz on a new connection each time."""

    def __init__(self, server: Server):
        self.port, self.process = server.port, psutil.Process(server.process.pid)
        self.asked, self.longest = 0, 0.0
        self.failures: list[str] = []
        self.at_rest = self.most = self.process.memory_info().rss

    def look(self) -> None:
        began = time.monotonic()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            connection.request("GET", "/healthz")
            if (status := connection.getresponse().status) != 200:
                self.failures.append(str(status))
            connection.close()
        except OSError as error:
            self.failures.append(repr(error))
        self.asked, self.longest = self.asked + 1, max(self.longest, time.monotonic() - began)
        self.most = max(self.most, self.process.memory_info().rss)


@pytest.fixture
def stays_well(server: Server) -> Callable[[], object]:
    """While the block lasts the server answers within a second, and takes no more memory than it may."""

    @contextmanager
    def stays_well() -> Iterator[Watch]:
        watch, over = Watch(server), threading.Event()

        def look_again_and_again() -> None:
            while not over.wait(0.05):
                watch.look()

        looking = threading.Thread(target=look_again_and_again)
        looking.start()
        try:
            yield watch
        finally:
            over.set()
            looking.join()
        more = watch.most - watch.at_rest
        print(f"{watch.asked} answers, the longest after {watch.longest:.3f} s; {more / 1e6:.0f} MB more memory")
        assert watch.failures == []
        assert watch.asked > 10
        assert watch.longest < ANSWERS_WITHIN_SECONDS
        assert more < MORE_MEMORY

    return stays_well
