"""Architectures of the operator's own: what is installed is listed and taken by name, and nobody's code is run."""

import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support.models.installed import install

REFUSES = "raise AssertionError('the server has imported it')"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", {"tiny": "tiny"}, REFUSES)))


@pytest.mark.usefixtures("installed")
def test_an_installed_model_is_listed_with_its_package(lone_client: TestClient) -> None:
    models = {model["name"]: model for model in lone_client.get("/models").json()["data"]}

    assert models["own/tiny"]["family"] == "own"
    assert models["own/tiny"]["package"] == "tiny-models 1.2"
    assert models["own/tiny"]["parameters"] is None
    assert models["cnn"]["package"] is None


@pytest.mark.usefixtures("installed")
def test_a_job_may_name_it_and_the_server_does_not_import_it(
    lone_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "tiny_models", raising=False)  # another test may have imported its own
    config = {"student": {"arch": "own/tiny"}, "teacher": {"arch": "own/tiny"}}

    answer = lone_client.post("/jobs", json={"mode": "train", "config": config})

    assert answer.status_code == 201
    resolved = lone_client.get(f"/jobs/{answer.json()['id']}").json()["resolved_spec"]["config"]
    assert resolved["student"]["arch"] == resolved["teacher"]["arch"] == "own/tiny"
    assert "tiny_models" not in sys.modules


@pytest.mark.usefixtures("installed")
def test_a_job_lends_a_teacher_that_came_with_its_weights(lone_client: TestClient, lone_worker: Any) -> None:
    config: dict[str, Any] = {"teacher": {"as_built": "own/tiny"}, "student": {"arch": "cnn"}}
    first = lone_client.post("/jobs", json={"mode": "train", "config": config}).json()
    lone_worker.publish_artifact(lone_worker.claim(first), "teacher.safetensors", b"weights")

    config["teacher"] = {"job": first["id"]}
    taken = lone_client.post("/jobs", json={"mode": "train", "config": config})
    config["objective"] = {"method": "fitnet"}
    refused = lone_client.post("/jobs", json={"mode": "guide", "config": config})

    assert taken.status_code == 201
    assert "own/tiny, is one of your own, whose stages nobody knows" in refused.text


def test_one_that_is_not_installed_is_refused_and_told_how_it_would_be(
    lone_client: TestClient, problem_in: Any
) -> None:
    answer = lone_client.post("/jobs", json={"mode": "train", "config": {"student": {"arch": "own/tiny"}}})

    (error,) = problem_in(answer, 422, "invalid")["errors"]
    assert error["pointer"] == "/config/student/arch"
    assert "an installed package registers them, by entry points of the group stillhouse.models" in error["message"]
