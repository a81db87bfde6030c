"""The server of `served.py`, as fixtures, and the command that speaks to it."""

import pytest
from served import client as client
from served import own_server as own_server
from served import server as server
from served import server_with_worker as server_with_worker
from served import worker as worker
from typer.testing import CliRunner

from cli.main import app


@pytest.fixture
def kd(server):
    """Run a command against the server."""

    def kd(*arguments: str, input: str | None = None):
        return CliRunner(env={"STILLHOUSE_URL": server.url}).invoke(app, list(arguments), input=input)

    return kd
