"""POST /jobs with another job's teacher: taken when it is there, waited for when it may come, else refused in words."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from jobs.doorbell.notifier import Notifier
from jobs.states import State
from jobs.upkeep import Upkeep

NOBODY = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"

Refusal = Callable[..., str]


@pytest.fixture
def refusal(client: TestClient, problem_in: Any) -> Refusal:
    """Why a submission with this teacher is refused."""

    def refusal(teacher: dict[str, Any], **config: Any) -> str:
        answer = client.post("/jobs", json={"mode": "train", "config": {**config, "teacher": teacher}})
        (fault,) = problem_in(answer, 422, "invalid")["errors"]
        assert (fault["in"], fault["pointer"]) == ("body", "/config/teacher/job")
        return str(fault["message"])

    return refusal


def test_a_job_may_take_the_teacher_of_one_that_has_it_although_that_one_still_runs(
    submit: Any, worker: Any, client: TestClient
) -> None:
    first = submit()
    worker.publish_artifact(worker.claim(first), "teacher.safetensors", b"weights")

    second = submit(config={"teacher": {"job": first["id"]}})

    assert second["resolved_spec"]["config"]["teacher"] == {"job": first["id"], "role": "teacher"}
    assert second["parent_job_id"] is None


def test_a_job_may_be_taught_by_the_best_student_of_one_that_is_over(
    submit: Any, worker: Any, refusal: Refusal
) -> None:
    first = submit()
    claim = worker.claim(first)
    worker.publish(claim, b"student", step=1)
    wanted = {"job": first["id"], "role": "student"}

    worker.release(claim, State.SUCCEEDED)
    second = submit("guide", {"teacher": wanted})

    assert second["waiting"]["reason"] == "no_worker"
    assert second["resolved_spec"]["config"]["teacher"] == wanted


@pytest.fixture
def settle(app: FastAPI) -> Callable[[], None]:
    """What servers and workers do on the side every two seconds."""
    return Upkeep(app.state.database, Notifier(None), app.state.settings).run_once


def test_a_job_whose_teacher_is_still_to_come_waits_for_it_and_says_so(
    submit: Any, worker: Any, client: TestClient, settle: Callable[[], None]
) -> None:
    first = submit()
    second = submit(config={"teacher": {"job": first["id"]}}, limits={"max_queue_seconds": 1e8})
    settle()
    waiting = client.get(second["urls"]["self"]).json()

    worker.publish_artifact(worker.claim(first), "teacher.safetensors", b"weights")
    settle()

    assert waiting["waiting"] == {
        "position": None,
        "reason": "waits_for_job",
        "message": f"It waits for {first['id']}, which is still to have its teacher.",
        "retry_at": None,
        "after": first["id"],
    }
    freed = client.get(second["urls"]["self"]).json()
    assert (freed["status"], freed["waiting"]["position"], freed["waiting"]["after"]) == ("queued", 1, None)
    assert worker.claim(second).teachers["teacher"].path.startswith(f"jobs/{first['id']}/")


def test_a_chain_of_assistants_goes_from_student_to_student(
    submit: Any, worker: Any, client: TestClient, settle: Callable[[], None]
) -> None:
    chain = [submit()]
    for _ in range(2):
        chain.append(submit(config={"teacher": {"job": chain[-1]["id"], "role": "student"}}))

    for job, waits in itertools.pairwise(chain):
        claim = worker.claim(job)
        worker.publish_artifact(claim, "teacher.safetensors", b"weights")
        worker.publish(claim, b"student", step=1)
        settle()
        assert client.get(waits["urls"]["self"]).json()["waiting"]["after"] == job["id"], "it learns on"
        worker.release(claim, State.SUCCEEDED)
        settle()

    assert worker.claim(chain[-1]).teachers["teacher"].path.startswith(f"jobs/{chain[-2]['id']}/")


@pytest.mark.parametrize("end", ["failed", "cancelled", "deleted"])
def test_whoever_waits_for_a_teacher_that_will_not_come_ends_and_says_so(
    submit: Any, worker: Any, client: TestClient, settle: Callable[[], None], problem_in: Any, end: str
) -> None:
    first = submit()
    second = submit(config={"teacher": {"job": first["id"], "role": "student"}})
    third = submit(config={"teacher": {"job": second["id"]}})
    claim = worker.claim(first)
    worker.publish(claim, b"a student that has not learnt out", step=1)
    worker.release(claim, State.FAILED if end == "failed" else State.CANCELLED)
    if end == "deleted":
        problem_in(client.delete(first["urls"]["self"]), 409, "in_use")

    settle()
    settle()

    shown = client.get(second["urls"]["self"]).json()
    words = "failed" if end == "failed" else "was cancelled"
    assert (shown["status"], shown["error"]["code"]) == ("failed", "teacher_never_came")
    assert shown["error"]["message"] == f"Job {first['id']} {words} before its student had learnt out."
    assert client.get(third["urls"]["self"]).json()["error"]["code"] == "teacher_never_came"
    last = client.get(second["urls"]["events"]).json()["data"][-1]
    assert (last["data"]["state"], last["data"]["error"]["code"]) == ("failed", "teacher_never_came")
    assert client.delete(first["urls"]["self"]).status_code == 204


def test_who_waits_may_be_paused_cancelled_and_wait_while_the_other_job_is_paused(
    submit: Any, worker: Any, client: TestClient, settle: Callable[[], None]
) -> None:
    first = submit()
    second, third = (submit(config={"teacher": {"job": first["id"]}}) for _ in range(2))
    for job in (first, second):
        client.post(job["urls"]["pause"])
    client.post(third["urls"]["cancel"])
    settle()

    for job in (first, second):
        assert client.post(job["urls"]["resume"]).json()["status"] == "queued"
    settle()
    still = client.get(second["urls"]["self"]).json()
    worker.publish_artifact(worker.claim(first), "teacher.safetensors", b"weights")
    settle()

    assert still["waiting"]["after"] == first["id"]
    assert client.get(second["urls"]["self"]).json()["waiting"]["position"] == 1
    assert client.get(third["urls"]["self"]).json()["status"] == "cancelled"


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_job_that_ended_without_one_has_none_to_give(
    submit: Any, worker: Any, client: TestClient, refusal: Refusal, role: str
) -> None:
    failed, cancelled = submit(), submit()
    worker.release(worker.claim(failed), State.FAILED)
    client.post(f"/jobs/{cancelled['id']}/cancel")

    assert refusal({"job": failed["id"], "role": role}) == f"failed without a {role} to take over"
    assert refusal({"job": cancelled["id"], "role": role}) == f"was cancelled without a {role} to take over"


def test_a_job_that_does_not_exist_has_no_teacher(refusal: Refusal, client: TestClient) -> None:
    assert refusal({"job": NOBODY}) == "does not exist"
    assert client.get("/jobs").json()["data"] == []


def test_a_teacher_of_other_data_is_refused(submit: Any, worker: Any, refusal: Refusal) -> None:
    first = submit(config={"dataset": "digits"})
    worker.publish_artifact(worker.claim(first), "teacher.safetensors", b"weights")

    assert refusal({"job": first["id"]}, dataset="mnist5k") == "learnt from digits, but this run is on mnist5k"


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_teacher_that_lacks_what_the_objective_compares_is_refused(
    submit: Any, worker: Any, refusal: Refusal, role: str
) -> None:
    """Also one that its own job has taken over from another."""
    odd = "torchvision/squeezenet1_1"
    first = submit(config={"teacher": {"arch": odd}, "student": {"arch": odd}})
    claim = worker.claim(first)
    worker.publish_artifact(claim, "teacher.safetensors", b"weights")
    worker.publish(claim, b"student", step=1)
    worker.release(claim, State.SUCCEEDED)
    second = submit(config={"teacher": {"job": first["id"], "role": role}})
    worker.publish_artifact(worker.claim(second), "teacher.safetensors", b"weights")

    for lender in ({"job": first["id"], "role": role}, {"job": second["id"]}):
        why = refusal(lender, objective={"method": "rkd"})
        assert why.startswith("has a " + lender.get("role", "teacher") + " that does not suit the objective")
        assert f"that of the teacher, {odd}, is a convolution: take another teacher" in why


@pytest.mark.parametrize(
    ("teacher", "pointer", "words"),
    [
        ({"job": "job_1"}, "/config/teacher/job", "is no id of a job"),
        ({"job": 7}, "/config/teacher/job", "should be a string, not 7"),
        ({"job": "../../etc/passwd"}, "/config/teacher/job", "is no id of a job"),
        ({"job": NOBODY, "role": "control"}, "/config/teacher/role", "should be 'teacher', 'student', 'teacher.1'"),
        ({"job": NOBODY, "arch": "cnn"}, "/config/teacher/arch", "there is no such field; there are job, role"),
        ({"jobs": NOBODY}, "/config/teacher/jobs", "there is no such field; there are arch, epochs"),
    ],
    ids=str,
)
def test_what_names_no_teacher_is_refused_where_it_stands(
    lone_client: TestClient, problem_in: Any, teacher: dict[str, Any], pointer: str, words: str
) -> None:
    answer = lone_client.post("/jobs", json={"mode": "train", "config": {"teacher": teacher}})

    (fault,) = problem_in(answer, 422, "invalid")["errors"]
    assert fault["pointer"] == pointer
    assert words in fault["message"]


# -- a committee ---------------------------------------------------------------------------------------------------


@pytest.fixture
def taught(submit: Any, worker: Any) -> Callable[..., str]:
    """A job that is over, with teachers of these contents."""

    def taught(*contents: bytes, **config: Any) -> str:
        committee = {"committee": [{} for _ in contents]} if len(contents) > 1 else {}
        job = submit(config={"teacher": committee, **config})
        claim = worker.claim(job)
        for number, content in enumerate(contents, 1):
            name = f"teacher.{number}.safetensors" if committee else "teacher.safetensors"
            worker.publish_artifact(claim, name, content)
        worker.release(claim, State.SUCCEEDED)
        return str(job["id"])

    return taught


def test_a_committee_may_have_teachers_of_several_jobs_which_stay_until_it_is_over(
    submit: Any, worker: Any, client: TestClient, problem_in: Any, taught: Any
) -> None:
    one, other = taught(b"one"), taught(b"two", b"three")
    members = [{"job": one}, {}, {"job": other, "role": "teacher.2"}]

    job = submit(config={"teacher": {"committee": members}})
    refused = problem_in(client.delete(f"/jobs/{other}"), 409, "in_use")
    every = client.delete("/jobs", params={"status": "succeeded"}).json()
    claim = worker.claim(job)
    worker.release(claim, State.SUCCEEDED)

    assert job["id"] in refused["detail"]
    assert every["changed"] == 0, "both are lent"
    assert {role: stored.path.rpartition("/")[2] for role, stored in claim.teachers.items()} == {
        "teacher.1": "teacher.safetensors", "teacher.3": "teacher.2.safetensors",
    }  # fmt: skip
    assert [client.delete(f"/jobs/{lender}").status_code for lender in (one, other)] == [204, 204]


def test_a_committee_waits_for_one_member_after_another_until_all_have_come(
    submit: Any, worker: Any, client: TestClient, settle: Callable[[], None], taught: Any
) -> None:
    there, (first, second) = taught(b"there"), (submit(), submit(config={"teacher": {"committee": [{}, {}]}}))
    members = [{"job": there}, {"job": first["id"], "role": "student"}, {"job": second["id"], "role": "teacher.2"}]
    job = submit(config={"teacher": {"committee": members}}, limits={"max_queue_seconds": 1e8})

    def waits_for() -> str | None:
        settle()
        return client.get(job["urls"]["self"]).json()["waiting"]["after"]

    assert waits_for() == first["id"]
    claims = worker.claim(first), worker.claim(second)
    worker.publish_artifact(claims[0], "teacher.safetensors", b"weights")
    assert waits_for() == first["id"], "it is the student that is wanted"
    worker.publish(claims[0], b"student", step=1)
    worker.release(claims[0], State.SUCCEEDED)
    assert waits_for() == second["id"]
    worker.publish_artifact(claims[1], "teacher.1.safetensors", b"one")
    assert waits_for() == second["id"]
    worker.publish_artifact(claims[1], "teacher.2.safetensors", b"two")
    assert waits_for() is None

    assert set(worker.claim(job).teachers) == {"teacher.1", "teacher.2", "teacher.3"}


def test_a_committee_of_which_one_will_not_come_ends_and_says_which(
    submit: Any, worker: Any, client: TestClient, settle: Callable[[], None]
) -> None:
    first, second = submit(), submit()
    job = submit(config={"teacher": {"committee": [{"job": first["id"]}, {}, {"job": second["id"]}]}})
    worker.release(worker.claim(second), State.FAILED)
    worker.publish_artifact(worker.claim(first), "teacher.safetensors", b"weights")

    settle()

    error = client.get(job["urls"]["self"]).json()["error"]
    assert (error["code"], error["message"]) == (
        "teacher_never_came",
        f"Job {second['id']} failed without a teacher to take over.",
    )


def test_what_a_committees_member_is_decides_whether_it_suits_an_objective(
    submit: Any, worker: Any, refusal: Refusal
) -> None:
    odd = "torchvision/squeezenet1_1"
    lender = submit(config={"teacher": {"committee": [{}, {"arch": odd}]}})
    claim = worker.claim(lender)
    for number in (1, 2):
        worker.publish_artifact(claim, f"teacher.{number}.safetensors", b"weights %d" % number)
    wanted = {"job": lender["id"], "role": "teacher.2"}

    submit(config={"teacher": {**wanted, "role": "teacher.1"}, "objective": {"method": "rkd"}})

    assert f"that of the teacher, {odd}, is a convolution" in refusal(wanted, objective={"method": "rkd"})


def test_every_member_that_does_not_fit_is_refused_where_it_stands(
    client: TestClient, problem_in: Any, taught: Any
) -> None:
    one, same, several, digits = (
        taught(b"one"),
        taught(b"one"),
        taught(b"two", b"three"),
        taught(b"x", dataset="digits"),
    )
    members = [
        {"job": one},
        {"job": same},
        {"job": several},
        {"job": several, "role": "teacher.3"},
        {"job": one, "role": "teacher.1"},
        {"job": digits},
        {"job": NOBODY},
    ]
    config = {"teacher": {"committee": members}}

    errors = problem_in(client.post("/jobs", json={"mode": "train", "config": config}), 422, "invalid")["errors"]

    here = "/config/teacher/committee"
    assert {fault["pointer"]: fault["message"] for fault in errors} == {
        f"{here}/1/job": f"has the very model of {here}/0; a committee gains by members that differ",
        f"{here}/2/job": "was taught by a committee: name one of it with a role, teacher.1 to teacher.2",
        f"{here}/3/job": "has no teacher.3: it was taught by a committee of 2",
        f"{here}/4/job": "has no teacher.1: it was taught by one teacher, which has the role teacher",
        f"{here}/5/job": "learnt from digits, but this run is on mnist5k",
        f"{here}/6/job": "does not exist",
    }
