"""POST /jobs/validate: what POST /jobs would answer, and what would come of it, without a job."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from kd.data.dataset import load_dataset

NOBODY = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"


def ask(client: TestClient, config: dict[str, Any], mode: str = "train") -> Any:
    return client.post("/jobs/validate", json={"mode": mode, "config": config})


@pytest.mark.parametrize("mode", ["train", "guide"])
def test_it_resolves_a_spec_as_a_submission_does_and_makes_no_job(client: TestClient, mode: str) -> None:
    config = {"dataset": "digits", "student": {"arch": "cnn_small"}}

    foreseen = ask(client, config, mode)
    listed = client.get("/jobs").json()["data"]
    job = client.post("/jobs", json={"mode": mode, "config": config}).json()

    assert foreseen.status_code == 200
    assert foreseen.json()["resolved_spec"] == job["resolved_spec"]
    assert foreseen.json()["waits_for"] is None
    assert listed == []


@pytest.mark.parametrize(
    "config",
    [
        {"epochs": 0},
        {"dataset": "packed/none"},
        {"teacher": {"job": NOBODY}},
        {"teacher": {"labels": "ab" * 16}},
        {"teacher": {"upload": "tch_" + "ab" * 14}},
    ],
)
def test_what_would_be_refused_is_refused_with_the_same_answer(
    lone_client: TestClient, problem_in: Any, config: dict[str, Any]
) -> None:
    foreseen = problem_in(ask(lone_client, config), 422, "invalid")
    refused = problem_in(lone_client.post("/jobs", json={"mode": "train", "config": config}), 422, "invalid")

    assert foreseen["errors"] == refused["errors"]


def test_it_tells_what_would_be_shown_labelled_and_written(lone_client: TestClient, tmp_path: Any) -> None:
    learn_from = len(load_dataset("digits", tmp_path, 0.1).train.labels)
    config = {"dataset": "digits", "seeds": 2, "epochs": 5, "views": 3, "teacher": {"epochs": 4}}

    told = ask(lone_client, config).json()
    paired = ask(lone_client, config | {"objective": {"method": "cross_view"}}).json()
    guided = ask(lone_client, {"dataset": "digits", "epochs": 5, "rounds": {"epochs": 2, "views": 1}}, "guide").json()

    assert abs(told["images"] - learn_from) <= 10, "of each class a share is cut off, to the nearest image"
    images = told["images"]
    assert told["images_shown"] == {"teacher": 4 * images, "student": 10 * images, "control": 10 * images}
    assert (told["images_labelled"], told["label_table_bytes"]) == (3 * images, 3 * images * 10 * 2)
    assert (paired["images_shown"]["student"], paired["images_labelled"]) == (20 * images, 6 * images)
    assert (guided["images_labelled"], guided["label_table_bytes"]) == (3 * images, None)


def test_a_job_that_would_wait_says_for_which(lone_client: TestClient) -> None:
    config = {"dataset": "digits"}
    first = lone_client.post("/jobs", json={"mode": "train", "config": config}).json()["id"]

    assert ask(lone_client, config | {"teacher": {"job": first}}).json()["waits_for"] == first
