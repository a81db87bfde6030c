"""POST /jobs with another job's teacher: taken when it is there, refused in words when it is not."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs.states import State

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

    early = refusal(wanted)
    worker.release(claim, State.SUCCEEDED)
    second = submit("guide", {"teacher": wanted})

    assert early == "is running and has no finished student yet: wait until its status is succeeded"
    assert second["resolved_spec"]["config"]["teacher"] == wanted


def test_a_teacher_that_is_not_there_yet_is_refused_with_what_to_wait_for(
    submit: Any, worker: Any, refusal: Refusal
) -> None:
    first = submit()

    waiting = refusal({"job": first["id"]})
    worker.claim(first)
    running = refusal({"job": first["id"]})

    assert waiting == "is queued and has no finished teacher yet: wait until its artifacts list teacher.safetensors"
    assert running.startswith("is running and has no finished teacher yet")


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
        ({"job": NOBODY, "role": "control"}, "/config/teacher/role", "should be 'teacher' or 'student'"),
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
