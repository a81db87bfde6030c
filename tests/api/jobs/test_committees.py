"""POST /jobs with teachers of several jobs: all are waited for, all are kept, each is refused where it stands."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs.states import State

NOBODY = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"


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
    submit: Any, worker: Any, refusal: Callable[..., str]
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
