"""A process that is stopped at its terminal stops between its writes: nobody waits for a lock that it holds."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys

import psutil
import pytest

from jobs.database import migrate
from tests.support.waiting import wait_until

WRITER = """
import sys
from sqlalchemy import text
from jobs import logs
from jobs.database.engine import Sessions, connect
from jobs.signals import suspend_between_writes

logs.configure("WARNING")
db = Sessions(connect(sys.argv[1]))
suspend_between_writes(db)
for line in sys.stdin:
    with db.begin() as session:
        session.execute(text("DELETE FROM jobs"))
        print("writes", flush=True)
        sys.stdin.readline()
    print("has written", flush=True)
"""


@pytest.fixture
def writer(tmp_path):
    database = tmp_path / "a.db"
    migrate.upgrade(f"sqlite:///{database}")
    command = [sys.executable, "-c", WRITER, f"sqlite:///{database}"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
    )
    process.database = database
    yield process
    process.kill()
    process.communicate()


def test_ctrl_z_amid_a_write_lets_it_end_first_and_leaves_no_lock_behind(writer):
    def stopped() -> bool:
        return psutil.Process(writer.pid).status() == psutil.STATUS_STOPPED

    for _ in range(2):
        writer.stdin.write("write\n")
        assert writer.stdout.readline() == "writes\n"
        os.kill(writer.pid, signal.SIGTSTP)
        writer.stdin.write("now commit\n")
        wait_until(stopped)

        with contextlib.closing(sqlite3.connect(writer.database, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
        os.kill(writer.pid, signal.SIGCONT)
        assert writer.stdout.readline() == "has written\n"
    assert writer.poll() is None
