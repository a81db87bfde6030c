"""POST /jobs with another job's teacher: taken when it is there, waited for when it may come, else refused in words."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs.states import State

NOBODY = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"

Refusal = Callable[..., str]


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
        "message": f"It waits for {first['id']}, which is still to have the model that it lends.",
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


def test_a_teacher_that_sees_images_of_another_size_is_refused(submit: Any, worker: Any, refusal: Refusal) -> None:
    first = submit(config={"input_size": 16})
    worker.publish_artifact(worker.claim(first), "teacher.safetensors", b"weights")

    why = "has models that see 16×16 pixels, and those of this run see 24×24"
    assert refusal({"job": first["id"]}, input_size=24) == why
    assert submit(config={"input_size": 16, "teacher": {"job": first["id"]}})["status"] == "queued"


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
        ({"jobs": NOBODY}, "/config/teacher/jobs", "there is no such field; there are arch, start, epochs"),
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
