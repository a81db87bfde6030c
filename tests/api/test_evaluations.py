"""POST /teachers/{id}/evaluate: a job of light work says how good a teacher is, before it teaches."""

from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from jobs.files import layout
from jobs.settings import Settings
from kd.data.packing import Chunk, pack
from kd.data.parts import TRAIN, VALIDATION
from tests.support.models.onnx_files import linear

BINARY = {"Content-Type": "application/octet-stream"}
NOBODY = "tch_" + "ab" * 14


def bring(client: TestClient, **query: str) -> dict[str, Any]:
    file = linear().SerializeToString()
    answer = client.post("/teachers", params={"name": "mine", "pixels": "unit", **query}, content=file, headers=BINARY)
    return dict(answer.json())


def test_an_evaluation_is_a_job_beside_the_distillations_and_the_same_one_is_asked_for_once(client: TestClient) -> None:
    teacher = bring(client)

    made = client.post(teacher["urls"]["evaluate"], json={"dataset": "digits"})
    again = client.post(teacher["urls"]["evaluate"], json={"dataset": "digits", "splits": ["test", "validation"]})
    other = client.post(teacher["urls"]["evaluate"], json={"dataset": "digits", "splits": ["train"]})

    job = made.json()
    assert (made.status_code, again.status_code, other.status_code) == (202, 200, 202)
    assert made.headers["location"] == job["urls"]["self"] == again.json()["urls"]["self"]
    assert (job["mode"], job["status"]) == ("evaluate", "queued")
    given = {"dataset": "digits", "teacher": {"upload": teacher["id"]}}
    assert job["spec"] == {"mode": "evaluate", "config": given}
    defaults = {"splits": ["validation", "test"], "images": 2_000, "validation_fraction": 0.1, "input_size": None}
    assert job["resolved_spec"]["config"] == given | defaults
    assert client.get("/jobs").json()["data"] == []
    listed = client.get("/jobs", params={"mode": "evaluate"}).json()["data"]
    assert [one["id"] for one in listed] == [other.json()["id"], job["id"]]
    client.post(job["urls"]["cancel"])
    assert client.post(teacher["urls"]["evaluate"], json={"dataset": "digits"}).status_code == 202


def test_its_teacher_and_its_images_stay_until_it_has_ended(
    client: TestClient, settings: Settings, problem_in: Any
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    pack(settings.data_dir / layout.DATASETS, "packed/ten", [Chunk(images, np.arange(60) % 10)])
    teacher = bring(client)
    job = client.post(teacher["urls"]["evaluate"], json={"dataset": "packed/ten"}).json()

    teacher_stays = problem_in(client.delete(teacher["urls"]["self"]), 409, "teacher_in_use")
    images_stay = problem_in(client.delete("/datasets/packed/ten"), 409, "dataset_in_use")
    client.post(job["urls"]["cancel"])

    assert job["id"] in teacher_stays["detail"]
    assert job["id"] in images_stay["detail"]
    assert client.delete("/datasets/packed/ten").status_code == 204
    assert client.delete(teacher["urls"]["self"]).status_code == 204
    problem_in(client.post(teacher["urls"]["evaluate"], json={"dataset": "digits"}), 404, "teacher_not_found")
    retried = problem_in(client.post(job["urls"]["retry"], json={}), 422, "invalid")
    assert f"POST /teachers/{teacher['id']}/evaluate once more" in retried["detail"]


@pytest.mark.parametrize(
    ("body", "pointer", "why"),
    [
        ({}, "/dataset", "is missing"),
        ({"dataset": "digit"}, "/dataset", "the nearest are digits"),
        ({"dataset": "packed/none"}, "/dataset", "no packed one at all"),
        ({"dataset": "digits", "splits": []}, "/splits", "should have at least 1 item, not 0"),
        ({"dataset": "digits", "splits": ["test", "test"]}, "/splits", "names a split twice"),
        ({"dataset": "digits", "splits": ["tests"]}, "/splits/0", "should be 'train', 'validation' or 'test'"),
        ({"dataset": "digits", "images": 0}, "/images", "greater than or equal to 1"),
        ({"dataset": "cifar100", "images": 1_000_000}, "/images", "may be at most 335,544 where there are 100 classes"),
        ({"dataset": "digits", "input_size": 4}, "/input_size", "greater than or equal to 8"),
        ({"dataset": "digits", "teacher": {"upload": NOBODY}}, "/teacher", "there is no such field"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_its_place(
    lone_client: TestClient, problem_in: Any, body: dict[str, Any], pointer: str, why: str
) -> None:
    teacher = bring(lone_client)

    problem = problem_in(lone_client.post(teacher["urls"]["evaluate"], json=body), 422, "invalid")

    assert problem["errors"][0]["pointer"] == pointer
    assert why in problem["errors"][0]["message"]
    assert lone_client.get("/jobs", params={"mode": "evaluate"}).json()["data"] == []


def test_a_teacher_of_other_classes_is_refused_before_it_waits(
    lone_client: TestClient, settings: Settings, problem_in: Any
) -> None:
    named = bring(lone_client, classes='["cat", "dog"]')

    problem = problem_in(lone_client.post(named["urls"]["evaluate"], json={"dataset": "digits"}), 422, "invalid")

    assert problem["errors"][0]["message"] == "does not suit this teacher, which knows 2 classes, and digits has 10"
    nobody = f"/teachers/{NOBODY}/evaluate"
    problem_in(lone_client.post(nobody, json={"dataset": "digits"}), 404, "teacher_not_found")
    problem_in(lone_client.post("/teachers/..%2f/evaluate", json={"dataset": "digits"}), 404)


def test_a_fraction_for_validation_is_refused_where_the_data_set_has_its_own(
    client: TestClient, settings: Settings, problem_in: Any
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    split = np.where(np.arange(60) < 20, VALIDATION, TRAIN).astype(np.uint8)
    pack(settings.data_dir / layout.DATASETS, "packed/ten", [Chunk(images, np.arange(60) % 10, split)])
    here = bring(client)["urls"]["evaluate"]

    problem = problem_in(client.post(here, json={"dataset": "packed/ten", "validation_fraction": 0.2}), 422, "invalid")

    assert problem["errors"][0]["pointer"] == "/validation_fraction"
    usual = {"dataset": "packed/ten", "validation_fraction": 0.1}
    assert client.post(here, json=usual).status_code == 202, "as POST /jobs takes it"


def test_without_room_for_its_report_none_is_begun(lone_client: TestClient, problem_in: Any, monkeypatch: Any) -> None:
    teacher = bring(lone_client)
    monkeypatch.setattr("jobs.files.quota.trouble", lambda settings: "The disk is full.")

    problem_in(lone_client.post(teacher["urls"]["evaluate"], json={"dataset": "digits"}), 507, "no_room")


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_light_work_lends_no_model(client: TestClient, problem_in: Any, role: str) -> None:
    evaluation = client.post(bring(client)["urls"]["evaluate"], json={"dataset": "digits"}).json()

    for config in (
        {"teacher": {"job": evaluation["id"], "role": role}},
        {"student": {"start": {"job": evaluation["id"], "role": role}}},
    ):
        problem = problem_in(
            client.post("/jobs", json={"mode": "train", "config": {"dataset": "digits"} | config}), 422, "invalid"
        )
        assert problem["errors"][0]["message"] == "trains nobody: its mode is evaluate"
