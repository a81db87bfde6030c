"""`kd serve`: where it listens, what it refuses, and the worker that lives exactly as long as it does."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from cli.main import app
from client import Client
from tests.support.served import KD
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def serve(*options: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run([*KD, "serve", *options], cwd=cwd, env=env, capture_output=True, text=True)


def test_a_port_in_use_is_one_sentence_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])

        said = CliRunner().invoke(app, ["serve", "--port", port])

    assert said.exit_code == 1
    assert said.stderr == f"Cannot listen on 127.0.0.1:{port}: address already in use. --port 0 takes a free port.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_that_others_can_reach_is_refused_without_a_word_of_consent(tmp_path, monkeypatch, host):
    monkeypatch.chdir(tmp_path)

    said = CliRunner().invoke(app, ["serve", "--host", host, "--port", "0"])

    assert said.exit_code == 2
    assert "--allow-unauthenticated" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_setting_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    said = CliRunner(env={"STILLHOUSE_LEASE_SECONDS": "soon"}).invoke(app, ["serve", "--port", "0"])

    assert said.exit_code == 1
    assert "STILLHOUSE_LEASE_SECONDS" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_database_that_cannot_be_used_is_named_without_its_password(tmp_path):
    url = "postgresql://someone:secret@127.0.0.1:1/nowhere"

    said = serve("--port", "0", cwd=tmp_path, STILLHOUSE_DATABASE_URL=url)

    assert said.returncode == 1
    assert "127.0.0.1:1/nowhere cannot be used" in said.stderr
    assert "secret" not in said.stderr
    assert "Traceback" not in said.stderr


def test_a_database_of_a_newer_version_is_not_touched(own_server, tmp_path):
    own_server.end()
    with own_server.db.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'from-the-future'"))

    said = serve("--port", "0", "--data", str(own_server.data), cwd=tmp_path)

    assert said.returncode == 1
    assert "newer version of Stillhouse" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_fresh_folder_becomes_a_server_that_takes_jobs(server):
    with Client(server.url) as client:
        assert client.is_ready()
        assert client.submit("train")["status"] == "queued"


def test_a_server_that_is_stopped_by_ctrl_z_looks_after_its_locks_first_and_goes_on(own_server):
    own_server.process.send_signal(signal.SIGTSTP)
    wait_until(lambda: psutil.Process(own_server.process.pid).status() == psutil.STATUS_STOPPED)
    assert "suspending" in own_server.err.read_text()

    own_server.process.send_signal(signal.SIGCONT)
    with Client(own_server.url) as client:
        assert client.is_ready()


# -- the worker beside it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_worker_ends_with_the_server_however_that_ends(server_with_worker, how):
    worker = pid_of_worker(server_with_worker)
    assert is_alive(worker)

    code = server_with_worker.end(by=how)

    wait_until(lambda: not is_alive(worker))
    assert code == (-signal.SIGKILL if how is signal.SIGKILL else 0), "in peace, if it is asked to"


def test_a_worker_that_dies_is_started_again(server_with_worker):
    first = pid_of_worker(server_with_worker)

    os.kill(first, signal.SIGKILL)

    server_with_worker.wait_for(server_with_worker.err, r"The worker ended \(signal 9\); starting another in 1 s")
    server_with_worker.wait_for(server_with_worker.err, r"(?s)worker_started.*worker_started")
    second = pid_of_worker(server_with_worker)
    assert second != first
    assert is_alive(second)


def pid_of_worker(server) -> int:
    """The newest worker's: it says its name, host:pid:random, when it starts."""
    server.wait_for(server.err, "worker_started")
    return int(re.findall(r'"worker": "[^"]*:(\d+):\w+"[^\n]*worker_started', server.err.read_text())[-1])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
