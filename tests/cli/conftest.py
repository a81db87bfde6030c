"""The server of `tests.support.served`, as fixtures, and the command that speaks to it."""

import pytest
from typer.testing import CliRunner

from cli.main import app


@pytest.fixture
def kd(server):
    """Run a command against the server."""

    def kd(*arguments: str, input: str | None = None):
        return CliRunner(env={"STILLHOUSE_URL": server.url}).invoke(app, list(arguments), input=input)

    return kd
