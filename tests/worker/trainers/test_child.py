"""The trainer as the worker's child: warm or fresh, with a log of its own, and never without its worker."""

import os
import signal
import subprocess
import sys

from kd.events import Advanced, Ready
from tests.support.trainers import alive
from tests.support.waiting import HANG_SECONDS, wait_until
from worker.child import Child, Order
from worker.reserve import Trainers


def test_a_warm_trainer_is_taken_and_a_dead_one_is_not():
    trainers = Trainers(keep_one_warm=True)
    trainers.warm_up()
    assert isinstance(trainers._reserve.next_event(60), Ready)
    warm = trainers._reserve.pid
    taken = trainers.take()
    trainers.warm_up()
    os.killpg(trainers._reserve.pid, signal.SIGKILL)
    wait_until(lambda: not trainers._reserve.alive)
    fresh = trainers.take()

    assert taken.pid == warm
    assert fresh.alive
    for child in (taken, fresh):
        child.kill()


PARENT = """
import sys, time
from worker.child import Child, Order
child = Child()
child.start(Order({spec!r}, {out!r}, None, {data!r}, {labels!r}, {log!r}))
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_trainer_dies_with_the_worker_that_started_it(tmp_path, long):
    names = {name: str(tmp_path / name) for name in ("out", "data", "labels", "log")}
    code = PARENT.format(spec=long().model_dump(mode="json"), **names)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    child = int(parent.stdout.readline())
    wait_until(lambda: (tmp_path / "out").exists())

    parent.kill()
    parent.wait()

    wait_until(lambda: not alive(child))


def test_a_trainer_says_that_it_gets_further_where_it_has_nothing_else_to_say(tmp_path, long, stage, monkeypatch):
    monkeypatch.setenv("PROGRESS_IS_SAID_EVERY_SECONDS", "0.001")
    names = {name: str(tmp_path / name) for name in ("out", "data_folder", "label_folder", "log")}
    child = Child()
    child.start(Order(spec=long().model_dump(mode="json"), resume=None, **names))

    said = iter(lambda: child.next_event(HANG_SECONDS), None)

    assert any(isinstance(event, Advanced) for event in said)
    child.kill()


def test_what_a_trainer_prints_goes_to_its_log_and_not_among_the_events(tmp_path, tiny):
    child = Child()
    names = {name: str(tmp_path / name) for name in ("out", "data_folder", "label_folder", "log")}

    child.start(Order(spec={"mode": "nonsense"}, resume=None, **names))
    ready, failed = child.next_event(HANG_SECONDS), child.next_event(HANG_SECONDS)

    assert isinstance(ready, Ready)
    assert failed.code == "bad_spec"
    assert child.next_event(HANG_SECONDS) is None
    child.kill_after(HANG_SECONDS)
    assert child.exit_code == 1
    assert "Traceback" in (tmp_path / "log").read_text()
