"""Real servers with few files, and somebody who looks the whole time whether one still answers; whole deployments."""

import http.client
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs.database import migrate
from kd.machine import open_files
from tests.support import compose
from tests.support.deployed import KINDS, Deployment
from tests.support.served import Server
from tests.support.servers import Broker, Database, free_port

FILES = 1_024
ANSWERS_WITHIN_SECONDS = 1.0
# A machine on which others are at work may take so many times as long as it does when nobody attacks.
TIMES_AS_AT_REST = 10
LOOKS_AT_REST = 40
MORE_MEMORY = 150_000_000


@pytest.fixture(scope="module", autouse=True)
def _as_many_connections_as_an_attacker_has() -> None:
    open_files.raise_limit()


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """On SQLite as `kd serve` starts it, on PostgreSQL and Valkey by the command of the compose file."""
    server = Server(tmp_path / "data", files=FILES, environment={"STILLHOUSE_WEBHOOK_HOSTS": "127.0.0.1"})
    with ExitStack() as around:
        if request.param == "production":
            database, broker, server.port = Database(), Broker(), free_port()
            around.callback(database.close)
            broker.start()
            around.callback(broker.kill)
            migrate.upgrade(database.url)
            server.command = compose.command_of("api", server.port)
            server.environment |= {
                "STILLHOUSE_DATABASE_URL": database.url,
                "STILLHOUSE_BROKER_URL": broker.url,
                "STILLHOUSE_DATA_DIR": str(server.data),
            }
        server.start()
        assert psutil.Process(server.process.pid).rlimit(resource.RLIMIT_NOFILE) == (FILES, FILES)
        yield server
        assert server.end() == 0
        server.db.kw["bind"].dispose()


class Watch:
    """Asks for /healthz on a new connection each time."""

    def __init__(self, server: Server):
        self.port, self.process = server.port, psutil.Process(server.process.pid)
        self.asked, self.longest, self.most = 0, 0.0, 0
        self.failures: list[str] = []
        for _ in range(LOOKS_AT_REST):
            self.look()
        self.may_take = max(ANSWERS_WITHIN_SECONDS, TIMES_AS_AT_REST * self.longest)
        self.asked, self.longest = 0, 0.0
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
        print(
            f"{watch.asked} answers, the longest after {watch.longest:.3f} s of {watch.may_take:.1f}; "
            f"{more / 1e6:.0f} MB more memory"
        )
        assert watch.failures == []
        assert watch.asked > 10
        assert watch.longest < watch.may_take
        assert more < MORE_MEMORY

    return stays_well


# -- with workers -------------------------------------------------------------------------------------------------

LASTING = {"epochs": 150, "control": False}


class Attacked(Deployment):
    """A deployment whose clocks can be set, and what its jobs come to when nobody does."""

    def outcome(self, job_id: str) -> tuple[str, dict[str, Any]]:
        """Of a job that must succeed: all that does not depend on the machine's speed."""
        job = self.wait_for_end(job_id, seconds=600)
        assert job["status"] == "succeeded", job["error"]
        of_the_test = {name: value for name, value in job["result"]["metrics"].items() if ".test." in name}
        return self.client.checkpoint(job_id)["sha256"], of_the_test

    def in_training(self, **config: Any) -> str:
        job_id = self.submit(**LASTING | config)
        self.wait_for_training(job_id)
        return job_id


@pytest.fixture(scope="module", params=KINDS)
def attacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    settings = {"STILLHOUSE_WEBHOOK_HOSTS": "127.0.0.1"}
    deployment = Attacked(request.param, tmp_path_factory.mktemp(request.param), settings, with_clocks=True)
    try:
        deployment.start(workers=1)
        yield deployment
    finally:
        deployment.close()


@pytest.fixture(scope="module")
def undisturbed(attacked: Attacked) -> tuple[str, dict[str, Any]]:
    """What `LASTING` comes to in peace."""
    return attacked.outcome(attacked.submit(**LASTING))
