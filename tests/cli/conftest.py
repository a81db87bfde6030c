"""The server of `tests.support.served`, as fixtures, and the command that speaks to it."""

import threading
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from cli.main import app
from jobs.settings import Settings
from tests.support.offers import ENOUGH
from tests.support.served import Server
from tests.support.served import client as client
from tests.support.served import own_server as own_server
from tests.support.served import server as server
from tests.support.served import server_with_worker as server_with_worker
from tests.support.served import worker as worker
from worker.loop import light_work
from worker.reserve import Trainers
from worker.worker import Worker


@pytest.fixture
def kd(server):
    """Run a command against the server."""

    def kd(*arguments: str, input: str | None = None):
        return CliRunner(env={"STILLHOUSE_URL": server.url}).invoke(app, list(arguments), input=input)

    return kd


@pytest.fixture
def helped(server: Server) -> Iterator[Server]:
    """The server, with a worker in this process that does its light work."""
    settings = Settings(data_dir=server.data)
    worker = Worker("w1", server.db, settings, Trainers(keep_one_warm=False), threading.Event(), ENOUGH)
    with light_work(worker, poll_seconds=0.05):
        yield server
