"""Watching a job: its phases, its end, its exit code; a server that goes away and comes back."""

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from client import Client
from jobs.states import State
from jobs.workers import roster
from jobs.workers.roster import Self
from tests.support.offers import ENOUGH
from tests.support.served import FAILURE, KD, RESULT, Worker
from tests.support.waiting import HANG_SECONDS, wait_until


@pytest.fixture
def watch(tmp_path):
    """`kd watch` in a process of its own; what it says goes to a file that can be read meanwhile."""
    watching = []

    class Watching:
        def __init__(self, server, job_id, *options):
            self.said = tmp_path / "said"
            self.process = subprocess.Popen(
                [*KD, "watch", job_id, *options],
                env={**os.environ, "STILLHOUSE_URL": server.url},
                stdout=self.said.open("w"),
                stderr=subprocess.STDOUT,
            )
            watching.append(self)

        def until(self, words):
            wait_until(
                lambda: words in self.said.read_text(), lambda: f"it says {words!r}, but {self.said.read_text()}"
            )

        def end(self):
            return self.process.wait(HANG_SECONDS), self.said.read_text()

    yield Watching
    for one in watching:
        one.process.kill()


def evaluated(worker, claim, phase, epoch, top1):
    worker.say(claim, "evaluated", phase=phase, step=epoch, epoch=epoch, split="validation", metrics={"top1": top1})


def test_a_job_is_followed_through_its_phases_to_its_result(client, server, worker, watch):
    job_id = client.submit("train", {"dataset": "digits"})["id"]
    watching = watch(server, job_id)
    claim = worker.claim(job_id)
    worker.say(claim, "started", mode="train", device="cpu", precision="fp32", torch="2", resumed_from_step=0)
    worker.say(claim, "phase", phase="teacher", epochs=2, facts={})
    evaluated(worker, claim, "teacher", 1, 0.9)
    evaluated(worker, claim, "teacher", 2, 0.8)
    worker.record(
        claim,
        phase="teacher",
        progress={"fraction": 0.4, "phase": "teacher", "epoch": 2, "epochs": 2, "images_per_second": 12_300.0},
    )
    watching.until("40 %  teacher 2/2  80.00 %  12,300 images/s")
    worker.say(claim, "phase", phase="labelling", epochs=0, facts={"images": 1_295, "views": 4})
    worker.say(claim, "phase", phase="student", epochs=2, facts={})
    evaluated(worker, claim, "student", 1, 0.85)
    worker.say(claim, "noted", code="verdict", message="Distillation was worth it.")
    worker.say(claim, "finished", step=9, metrics={}, seconds={})
    worker.publish(claim, bytes(19_712))
    worker.publish_artifact(claim, "teacher.safetensors", bytes(548_000))
    worker.release(claim, State.SUCCEEDED, result=RESULT)

    code, said = watching.end()

    assert code == 0
    assert "teacher    90.00 % on validation, the highest of 2 epochs" in said
    assert "labelling  4 views of 1,295 images" in said
    assert "student    85.00 % on validation, the highest of 1 epoch" in said
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line}
    assert rows["teacher"] == ["cnn", "95.00", "%", "135,674", "548", "kB", "1:01"]
    assert rows["student"] == ["mlp", "93.00", "%", "4,810", "19.7", "kB", "0:10"]
    assert rows["control"] == ["mlp", "91.50", "%", "4,810", "19.7", "kB", "0:09"]
    assert "gain +1.50 points; 1:22 in all" in said
    assert "Distillation was worth it." in said


def test_a_failed_job_ends_with_its_reason_and_exit_code_1(client, server, worker, watch):
    job_id = client.submit("train")["id"]
    worker.release(worker.claim(job_id), State.FAILED, error=FAILURE)

    code, said = watch(server, job_id).end()

    assert code == 1
    assert "The job failed: The loss is not finite." in said
    assert "Use a smaller rate." in said


def test_a_job_that_waits_or_is_paused_says_so_and_is_followed_on(client, server, worker, watch):
    job_id = client.submit("train")["id"]
    watching = watch(server, job_id)
    watching.until("waiting: place ")

    client.pause(job_id)
    watching.until(f"paused; `kd resume {job_id}` goes on from its last checkpoint")
    client.resume(job_id)
    worker.release(worker.claim(job_id), State.FAILED, error={**FAILURE, "retryable": True})

    code, said = watching.end()
    assert code == 1
    assert f"`kd retry {job_id}` tries again." in said


def test_a_crash_is_told_of_with_its_reason_and_the_time_of_the_next_attempt(client, server, worker, watch):
    with server.db.begin() as session:  # one that is not lost, however long this takes
        roster.beat(session, Self("w1", "host", 7, "1.0", ENOUGH), now=datetime.now(UTC) + timedelta(hours=1))
    job_id = client.submit("train")["id"]
    watching = watch(server, job_id)

    worker.crash(worker.claim(job_id), FAILURE, pause=timedelta(minutes=10))
    watching.until("Attempt 1 ended: The loss is not finite.")
    watching.until("waiting: Its last attempt crashed without progress; it is tried again at ")

    waiting = client.get(job_id)["waiting"]
    assert (waiting["reason"], waiting["position"]) == ("backing_off", None)
    told = [event["data"].get("retry_at") for event in client.events(job_id)]
    assert datetime.fromisoformat(told[-1]) == datetime.fromisoformat(waiting["retry_at"])


def test_json_is_the_finished_job_and_nothing_else(client, server, watch):
    job_id = client.submit("train")["id"]
    client.cancel(job_id)

    code, said = watch(server, job_id, "--json").end()

    assert code == 1
    assert json.loads(said)["status"] == "cancelled"


def test_a_restart_of_the_server_is_waited_for(own_server, watch):
    with Client(own_server.url) as client:
        job_id = client.submit("train")["id"]
    claim = Worker(own_server).claim(job_id)
    Worker(own_server).record(claim, phase="teacher", progress={"fraction": 0.1, "phase": "teacher"})
    watching = watch(own_server, job_id)
    watching.until("10 %")

    own_server.end(by=9)
    watching.until("does not answer; trying again")
    own_server.start()
    watching.until("The server is back.")
    Worker(own_server).release(claim, State.FAILED, error=FAILURE)

    code, said = watching.end()
    assert code == 1
    assert said.count("does not answer") == 1
