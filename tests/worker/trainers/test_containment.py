"""Whatever a trainer does, it does to itself alone: what it starts ends with it, and the worker takes the next job."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from jobs.queue import requests
from jobs.states import State
from kd.events import Ready, Stopped
from kd.machine import cgroups
from tests.support.databases import ON_ONE_DATABASE
from tests.support.offers import ENOUGH
from tests.support.waiting import HANG_SECONDS, wait_until
from worker import descendants
from worker.child import Child, Order
from worker.loop import work
from worker.reserve import Trainers
from worker.worker import Worker

# Python runs this when it starts. In a trainer it waits in a thread for files that tell it what to do.
UNRULY = """
import os, pathlib, subprocess, sys, threading, time

here = pathlib.Path(__file__).parent

def misbehave():
    if not pathlib.Path("/proc/self/cmdline").read_bytes().endswith(b"worker.trainer\\0"):
        return
    grandchild = subprocess.Popen(["sleep", "1000"], start_new_session=True, stdin=subprocess.DEVNULL)
    (here / f"grandchild-{grandchild.pid}").touch()
    hoard = []
    while True:
        if (here / "crash").exists():
            import ctypes
            ctypes.string_at(0)
        if (here / "grow").exists() and len(hoard) < 40:
            hoard.append(bytearray(os.urandom(1)) * 50_000_000)
        time.sleep(0.02)

threading.Thread(target=misbehave, daemon=True).start()
"""


class Unruly:
    """What is asked of every trainer from now on, and what they have started."""

    def __init__(self, folder: Path):
        self.folder = folder

    def do(self, what: str) -> None:
        (self.folder / what).touch()

    def behave(self) -> None:
        for what in ("crash", "grow"):
            (self.folder / what).unlink(missing_ok=True)

    def grandchildren(self) -> list[psutil.Process]:
        pids = [int(file.name.split("-")[1]) for file in self.folder.glob("grandchild-*")]
        found = []
        for pid in pids:
            try:
                process = psutil.Process(pid)
                if process.name() == "sleep" and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def unruly(tmp_path: Path, monkeypatch) -> Unruly:
    folder = tmp_path / "unruly"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(UNRULY)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return Unruly(folder)


@ON_ONE_DATABASE
def test_what_a_trainer_has_started_ends_with_it_when_it_is_cancelled(unruly, worker, submit, wait_for, long, db):
    job_id = submit(long())
    wait_for(job_id, lambda job: job.phase == "teacher")
    wait_until(unruly.grandchildren)

    with db.begin() as session:
        requests.cancel(session, job_id)
    wait_for(job_id)

    wait_until(lambda: not unruly.grandchildren())


@ON_ONE_DATABASE
def test_what_a_trainer_has_started_ends_when_it_crashes_by_itself(unruly, worker, submit, wait_for, long):
    unruly.do("crash")
    poison = wait_for(submit(long()))

    assert (poison.state, poison.attempt) == (State.FAILED, 3), "each attempt crashed without a checkpoint"
    assert poison.error["code"] == "crashed"
    assert "SIGSEGV" in poison.error["message"]
    wait_until(lambda: not unruly.grandchildren())


PARENT = """
import sys, time
from worker.child import Child, Order
child = Child()
child.start(Order({spec!r}, {out!r}, None, {data!r}, {labels!r}, {log!r}))
print(child.pid, flush=True)
time.sleep(600)
"""


def test_what_a_trainer_has_started_ends_when_its_worker_is_killed(unruly, tmp_path, long):
    names = {name: str(tmp_path / name) for name in ("out", "data", "labels", "log")}
    code = PARENT.format(spec=long().model_dump(mode="json"), **names)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    trainer = psutil.Process(int(parent.stdout.readline()))
    wait_until(lambda: (tmp_path / "out").exists() and unruly.grandchildren())

    parent.kill()
    parent.wait()

    wait_until(lambda: not unruly.grandchildren())
    wait_until(lambda: not trainer.is_running() or trainer.status() == psutil.STATUS_ZOMBIE)


@ON_ONE_DATABASE
def test_a_trainer_that_takes_more_memory_than_it_may_is_ended_and_told_what_to_change(
    unruly, worker, submit, wait_for, tiny, long
):
    unruly.do("grow")
    job = wait_for(submit(long(resources={"memory_gb": 1.2})))
    unruly.behave()

    assert (job.state, job.error["code"], job.attempt) == (State.FAILED, "out_of_memory", 1)
    assert "may take 1.20 GB" in job.error["message"]
    assert job.error["suggested_patch"]["config"]
    assert wait_for(submit(tiny(resources={"memory_gb": 1.2}))).state is State.SUCCEEDED


SHARED = """
import os, sys, time
hoard = bytearray(os.urandom(1)) * 200_000_000
for _ in range(2):
    if os.fork() == 0:
        time.sleep(1000)
print("ready", flush=True)
time.sleep(1000)
"""


def test_memory_that_processes_share_counts_once_before_anybody_is_ended_for_it():
    mark = descendants.new_mark()
    family = subprocess.Popen(
        [sys.executable, "-c", SHARED], env=os.environ | {descendants.MARK: mark}, stdout=subprocess.PIPE
    )
    family.stdout.readline()

    seen = descendants.Descendants(mark)
    at_first_sight, looked_at_closely = seen.memory_bytes(doubt_beyond=10**12), seen.memory_bytes(doubt_beyond=10**8)
    descendants.kill(mark)
    family.wait()

    assert at_first_sight > 500e6
    assert 200e6 <= looked_at_closely < 300e6


def test_only_the_marked_are_ended():
    ours, theirs = descendants.new_mark(), descendants.new_mark()
    sleepers = [
        subprocess.Popen(["sleep", "1000"], env=os.environ | {descendants.MARK: mark}, start_new_session=True)
        for mark in (ours, ours, theirs)
    ]

    descendants.kill(ours)

    assert [sleeper.wait(HANG_SECONDS) for sleeper in sleepers[:2]] == [-9, -9]
    assert sleepers[2].poll() is None
    sleepers[2].kill()
    sleepers[2].wait()


def test_a_trainer_has_no_credentials_and_the_kernel_would_take_it_before_the_worker(monkeypatch):
    monkeypatch.setenv("STILLHOUSE_DATABASE_URL", "postgresql://user:secret@host/name")
    child = Child()  # also one that waits for an order
    assert isinstance(child.next_event(HANG_SECONDS), Ready)

    def adjustment(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    environment, ours, its = psutil.Process(child.pid).environ(), adjustment(os.getpid()), adjustment(child.pid)
    child.kill()

    assert not [name for name in environment if name.startswith("STILLHOUSE_")]
    assert its == 500 > ours


# -- what the kernel counts --------------------------------------------------------------------------------------


@pytest.fixture
def counted(tmp_path) -> Callable[[str, str, str], int]:
    def counted(line: str, file: str, content: str) -> int:
        proc, groups = tmp_path / "proc", tmp_path / "cgroup"
        (proc / "self").mkdir(parents=True)
        (proc / "self" / "cgroup").write_text(line)
        (proc / "vmstat").write_text("pgfault 7\noom_kill 3\n")
        if file:
            (groups / file).parent.mkdir(parents=True)
            (groups / file).write_text(content)
        return cgroups.oom_kills(proc, groups)

    return counted


@pytest.mark.parametrize(
    ("line", "file", "content", "kills"),
    [
        ("0::/a/b\n", "a/b/memory.events", "low 0\noom 2\noom_kill 5\n", 5),
        ("0::/a/b\n", "a/memory.events", "oom_kill 4\n", 4),
        ("5:memory:/c\n", "memory/c/memory.oom_control", "oom_kill_disable 0\noom_kill 6\n", 6),
        ("0::/\n", "", "", 3),
    ],
)
def test_kills_for_want_of_memory_are_counted_where_the_kernel_counts_them(counted, line, file, content, kills):
    assert counted(line, file, content) == kills


def test_a_trainer_that_still_loads_torch_ends_with_its_worker():
    child = Child()  # the worker of this one is gone as soon as its stdin is closed
    trainer = psutil.Process(child.pid)

    child._process.stdin.close()

    wait_until(lambda: not child.alive)
    assert child.next_event(HANG_SECONDS) is None, "it ended before it was ready"
    child.kill_after(HANG_SECONDS)
    assert child.exit_code == 0
    assert not trainer.is_running()


def test_an_order_and_a_request_to_stop_that_come_together_are_both_heard(tmp_path, long):
    names = {name: str(tmp_path / name) for name in ("out", "data_folder", "label_folder", "log")}
    child = Child()
    child.start(Order(spec=long().model_dump(mode="json"), resume=None, **names))
    child.ask_to_stop()

    said = list(iter(lambda: child.next_event(HANG_SECONDS), None))

    child.kill_after(HANG_SECONDS)
    assert child.exit_code == 0
    assert [type(said[0]), type(said[-1])] == [Ready, Stopped]


def test_a_trainer_that_nobody_can_listen_to_is_no_trainer(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OSError, match="can't start new thread"):
        Child()

    assert not [one for one in psutil.Process().children() if "worker.trainer" in one.cmdline()]


@ON_ONE_DATABASE
def test_a_worker_goes_on_to_look_for_work_when_it_gets_no_trainer_in_reserve(db, settings, submit, wait_for, tiny):
    tried = threading.Event()

    class Unlucky(Trainers):
        def warm_up(self):
            tried.set()
            raise RuntimeError("can't start new thread")

    worker = Worker("unlucky", db, settings, Unlucky(keep_one_warm=True), threading.Event(), ENOUGH)
    thread = threading.Thread(target=work, args=(worker, 0.05, threading.Lock()))
    thread.start()
    assert tried.wait(HANG_SECONDS), "it has looked for work and found none"

    job = wait_for(submit(tiny()))
    worker.stopping.set()
    thread.join(HANG_SECONDS)

    assert job.state is State.SUCCEEDED, job.error
