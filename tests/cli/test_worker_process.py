"""The keeper of `kd serve`'s worker: whatever keeps a worker from starting, one is started once it can be."""

import errno
import subprocess
import sys

import pytest

from cli import worker_process
from cli.worker_process import WorkerProcess
from kd.machine import child
from tests.support.waiting import wait_until


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many open files"), OSError(errno.EAGAIN, "no process"), RuntimeError("thread")]
)
def test_a_worker_that_cannot_be_started_now_is_started_later(monkeypatch, capsys, error):
    started: list[subprocess.Popen[bytes]] = []
    refusals = [error] * 3

    def start(*_, **__) -> subprocess.Popen[bytes]:
        if started and refusals:
            raise refusals.pop()
        program = "import sys; sys.stdin.read()" if started else ""  # the first one ends at once
        started.append(subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE))
        return started[-1]

    monkeypatch.setattr(child, "start", start)
    monkeypatch.setattr(worker_process, "PAUSES_SECONDS", (0.01,))

    with WorkerProcess():
        wait_until(lambda: len(started) == 2)
        assert started[1].poll() is None

    assert started[1].poll() == 0, "and goes with us"
    assert capsys.readouterr().err.count("No worker could be started") == 3
