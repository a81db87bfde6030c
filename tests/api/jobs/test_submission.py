"""POST /jobs: what is accepted, and how it is shown."""

import codecs
import json

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from kd.spec import parse

JSON = {"Content-Type": "application/json"}


def test_a_submitted_job_is_queued_with_every_default_visible(client: TestClient) -> None:
    answer = client.post("/jobs", json={"mode": "train", "config": {}})

    job = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert job["status"] == "queued"
    assert job["spec"] == {"mode": "train", "config": {}}
    assert job["resolved_spec"]["config"]["teacher"]["arch"] == "cnn"
    assert job["created_at"].endswith("Z")
    assert client.get(answer.headers["location"]).json() == job


def test_both_modes_are_accepted(client: TestClient) -> None:
    for mode in ("train", "guide"):
        answer = client.post("/jobs", json={"mode": mode, "config": {}})
        assert (answer.status_code, answer.json()["mode"]) == (201, mode)


def test_the_envelope_is_kept_apart_from_the_spec(client: TestClient) -> None:
    envelope = {"name": "naïve 日本", "labels": {"team": "vision", "a/b": ""}, "priority": 7}

    job = client.post("/jobs", json={"mode": "guide", "config": {"epochs": 3}, **envelope}).json()

    assert {key: job[key] for key in envelope} == envelope
    assert job["spec"] == {"mode": "guide", "config": {"epochs": 3}}
    assert set(job["resolved_spec"]) == {"mode", "config"}


def test_settings_at_their_defaults_may_be_said_where_they_do_nothing(lone_client: TestClient) -> None:
    first = lone_client.post("/jobs", json={"mode": "guide", "config": {"optimizer": {"name": "adamw"}}}).json()

    again = lone_client.post("/jobs", json=first["resolved_spec"])

    assert again.status_code == 201
    assert again.json()["resolved_spec"] == first["resolved_spec"]


def test_what_was_accepted_by_a_version_before_is_read_all_the_same() -> None:
    waits = {"mode": "train", "config": {"optimizer": {"name": "adamw", "momentum": 0.5}, "schedule": {"gamma": 0.5}}}

    with pytest.raises(ValidationError):
        parse(waits)
    assert parse(waits, accepted=True).config.optimizer.momentum == 0.5


def test_a_body_may_begin_with_the_mark_that_windows_editors_leave(lone_client: TestClient) -> None:
    body = codecs.BOM_UTF8 + json.dumps({"mode": "train", "config": {}}).encode()

    assert lone_client.post("/jobs", content=body, headers=JSON).status_code == 201
