"""What one asks of jobs and workers: what the commands say, and what comes of it."""

import json
import re

import pytest

from jobs.states import State
from jobs.workers import roster
from jobs.workers.needs import Offer
from tests.support.served import FAILURE


@pytest.fixture
def over(client, worker):
    """A job that has failed."""

    def over(**given):
        job_id = client.submit("train", {"epochs": 3, "batch_size": 64}, **given)["id"]
        worker.release(worker.claim(job_id), State.FAILED, error=FAILURE)
        return job_id

    return over


def test_cancel_says_what_will_happen(kd, client, worker):
    waiting, running = client.submit("train")["id"], client.submit("train")["id"]
    worker.claim(running)

    said = kd("cancel", waiting, running).stdout.splitlines()

    assert said == [f"{waiting} is cancelled.", f"{running} will be cancelled in a moment."]


def test_what_is_refused_for_one_job_is_done_to_the_others(kd, client, over):
    waiting = client.submit("train")["id"]

    result = kd("cancel", over(), waiting)

    assert result.exit_code == 1
    assert "is failed, so one cannot cancel it" in result.stderr
    assert "1 of 2 jobs were left as they are" in result.stderr
    assert client.get(waiting)["status"] == "cancelled"


def test_cancel_by_filters_leaves_the_others_alone(kd, client):
    meant = [client.submit("train", labels={"sweep": "a"})["id"] for _ in range(3)]
    other = client.submit("train", labels={"sweep": "b"})["id"]

    said = kd("cancel", "--label", "sweep=a", "--status", "queued", "--all").stdout

    assert "3 jobs are cancelled" in said
    assert {client.get(job)["status"] for job in meant} == {"cancelled"}
    assert client.get(other)["status"] == "queued"
    assert json.loads(kd("cancel", "--label", "sweep=a", "--all", "--json").stdout)["changed"] == 0


def test_pause_and_resume_say_how_a_job_goes_on(kd, client, worker):
    waiting, running = client.submit("train")["id"], client.submit("train")["id"]
    worker.claim(running)

    said = kd("pause", waiting, running).stdout.splitlines()
    assert said == [
        f"{waiting} is paused; `kd resume {waiting}` goes on with it.",
        f"{running} will be paused in a moment.",
    ]
    assert "running, to be paused" in kd("show", running).stdout

    said = kd("resume", waiting, running).stdout.splitlines()
    assert said == [f"{waiting} is queued again.", f"{running} goes on."]


def test_retry_makes_a_new_job_with_the_changes(kd, client, over):
    job_id = over(name="first", labels={"team": "vision"})

    result = kd("retry", job_id, "--set", "config.epochs=5", "--set", "config.batch_size=null", "--priority", "7")

    again = client.get(result.stdout.strip())
    assert (again["parent_job_id"], again["status"], again["priority"]) == (job_id, "queued", 7)
    assert again["spec"] == {"mode": "train", "config": {"epochs": 5}}
    assert again["labels"] == {"team": "vision"}
    assert job_id in kd("show", again["id"]).stdout


def test_retry_uses_what_the_failed_job_suggests(kd, client, worker, over):
    job_id = client.submit("train", {"epochs": 3, "batch_size": 64})["id"]
    failure = {**FAILURE, "suggested_patch": {"config": {"batch_size": 32}}}
    worker.release(worker.claim(job_id), State.FAILED, error=failure)

    again = client.get(kd("retry", job_id, "--suggested", "--set", "config.epochs=4").stdout.strip())

    assert again["spec"]["config"] == {"epochs": 4, "batch_size": 32}
    refused = kd("retry", over(), "--suggested")
    assert refused.exit_code == 1
    assert "suggests no patch" in refused.stderr


def test_change_gives_another_name_other_labels_and_another_priority(kd, client):
    job_id = client.submit("train", name="old", labels={"a": "1"})["id"]

    said = kd("change", job_id, "--name", "new", "--label", "b=2", "--label", "c=", "--priority", "-3").stdout
    job = client.get(job_id)
    assert "another name and labels and priority" in said
    assert (job["name"], job["labels"], job["priority"]) == ("new", {"b": "2", "c": ""}, -3)

    kd("change", job_id, "--name", "", "--label", "")
    job = client.get(job_id)
    assert (job["name"], job["labels"], job["priority"]) == (None, {}, -3)


def test_delete_asks_first(kd, client, over):
    first, second = over(name="precious"), over()

    result = kd("delete", first, second, input="n\n")
    assert result.exit_code == 1
    assert "precious" in result.stdout
    assert client.get(first)["status"] == "failed"

    assert "2 jobs are deleted" in kd("delete", first, second, input="y\n").stdout
    assert kd("show", first).exit_code == 1
    assert "1 job is deleted" in kd("delete", over(), "--yes").stdout


def test_delete_refuses_what_has_not_ended_and_then_deletes_nothing(kd, client, over):
    ended, waiting = over(), client.submit("train")["id"]

    result = kd("delete", ended, waiting, "--yes")

    assert result.exit_code == 1
    assert f"{waiting} is queued; nothing was deleted. `kd cancel {waiting}` comes first." in result.stderr
    assert client.get(ended)["status"] == "failed"


# -- workers ------------------------------------------------------------------------------------------------


@pytest.fixture
def present(server):
    """A worker that says it is there."""
    me = roster.Self(
        "lab:7:ab", "lab", 7, "1.0", Offer(gpus=2, memory_bytes=64_000_000_000, gpu_names=("H100", "H100"))
    )
    with server.db.begin() as session:
        roster.beat(session, me, trouble="The disk is full [of logs].")
    yield me.name
    with server.db.begin() as session:
        roster.leave(session, me.name)


def test_workers_are_listed_with_what_they_have_and_what_ails_them(kd, present):
    line = next(line for line in kd("workers").stdout.splitlines() if line.startswith(present))

    assert re.search(r"lab:7:ab +\w+ +2 +64 GB +\d+ s ago +The disk is full \[of logs\]\.", line)
    assert json.loads(kd("workers", "--json").stdout)[0]["gpu_names"] == ["H100", "H100"]


def test_a_worker_is_drained_and_undrained(kd, client, present):
    assert f"`kd undrain {present}` takes that back" in kd("drain", present).stdout
    assert client.worker(present)["status"] == "drained"

    assert "takes jobs again" in kd("undrain", present).stdout
    assert client.worker(present)["status"] == "idle"
