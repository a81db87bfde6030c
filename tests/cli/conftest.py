"""The server of `tests.support.served`, as fixtures, and the command that speaks to it."""

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.support.served import client as client
from tests.support.served import own_server as own_server
from tests.support.served import server as server
from tests.support.served import server_with_worker as server_with_worker
from tests.support.served import worker as worker


@pytest.fixture
def kd(server):
    """Run a command against the server."""

    def kd(*arguments: str, input: str | None = None):
        return CliRunner(env={"STILLHOUSE_URL": server.url}).invoke(app, list(arguments), input=input)

    return kd
