"""`GET /presets`: which recipes there are, and what each fills in for a job."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from kd.spec import parse

LISTED = ["fast", "balanced", "best"]


@pytest.mark.parametrize("mode", ["train", "guide"])
def test_a_job_with_a_preset_is_the_one_with_all_that_the_preset_says_it_fills_in(
    lone_client: TestClient, mode: str
) -> None:
    job = {"dataset": "digits", "student": "cnn_small"}
    presets = lone_client.get("/presets", params={"mode": mode, **job}).json()["data"]

    assert [preset["name"] for preset in presets] == LISTED
    assert [preset["is_auto"] for preset in presets] == [name == "balanced" for name in LISTED]
    assert [preset["cost"] for preset in presets] == sorted(preset["cost"] for preset in presets)
    for preset in presets:
        short = {"dataset": "digits", "student": {"arch": "cnn_small"}, "recipe": preset["name"]}
        answer = lone_client.post("/jobs", json={"mode": mode, "config": short})
        assert answer.status_code == 201
        assert (
            parse({"mode": mode, "config": preset["config"]}).model_dump(mode="json") == answer.json()["resolved_spec"]
        )


def test_without_a_job_they_are_those_of_a_spec_that_says_nothing(lone_client: TestClient) -> None:
    (balanced,) = [one for one in lone_client.get("/presets").json()["data"] if one["is_auto"]]

    resolved = lone_client.post("/jobs", json={"mode": "train", "config": {}}).json()["resolved_spec"]["config"]

    assert (balanced["config"]["epochs"], balanced["config"]["views"]) == (resolved["epochs"], resolved["views"])


@pytest.mark.parametrize(("field", "words"), [("dataset", "no data set"), ("student", "no model"), ("mode", "'train'")])
def test_a_job_that_there_cannot_be_is_refused(
    lone_client: TestClient, problem_in: Any, field: str, words: str
) -> None:
    (fault,) = problem_in(lone_client.get("/presets", params={field: "cnn_smal"}), 422, "invalid")["errors"]

    assert fault["pointer"] == f"/{field}"
    assert words in fault["message"]
