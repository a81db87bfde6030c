"""POST /jobs: what every kind of bad input is told, and that none does harm."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzz
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.api.jobs.bad_bodies import BAD_BODIES, NOT_JSON

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(("body", "pointer", "words"), BAD_BODIES, ids=lambda value: str(value)[:60])
def test_a_wrong_field_is_refused_with_its_place_and_the_reason(
    lone_client: TestClient, problem_in: Any, body: Any, pointer: str, words: str
) -> None:
    answer = lone_client.post("/jobs", content=json.dumps(body), headers=JSON)

    problem = problem_in(answer, 422, "invalid")
    assert [(fault["in"], fault["pointer"]) for fault in problem["errors"]] == [("body", pointer)]
    assert words in problem["errors"][0]["message"]
    assert words in problem["detail"]


def test_batches_that_the_data_set_cannot_fill_are_refused(lone_client: TestClient, problem_in: Any) -> None:
    config = {"dataset": "digits", "batch_size": 8192, "gradient_accumulation": 1000}

    problem = problem_in(lone_client.post("/jobs", json={"mode": "train", "config": config}), 422, "invalid")

    assert "gradient_accumulation asks for 2000 images in a batch, two for each piece" in problem["detail"]


def test_every_problem_is_named_at_once(lone_client: TestClient, problem_in: Any) -> None:
    config = {"epochs": 0, "views": "some", "seed": -1, "student": {"arch": "mpl"}}

    problem = problem_in(lone_client.post("/jobs", json={"mode": "train", "config": config, "nam": "x"}), 422)

    pointers = {fault["pointer"] for fault in problem["errors"]}
    assert pointers == {"/config/epochs", "/config/views", "/config/seed", "/config/student/arch", "/nam"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused_where_it_stands(
    lone_client: TestClient, problem_in: Any, number: str
) -> None:
    body = '{"mode": "train", "config": {"optimizer": {"lr": ' + number + "}}}"

    problem = problem_in(lone_client.post("/jobs", content=body, headers=JSON), 422)

    assert problem["errors"][0]["pointer"] == "/config/optimizer/lr"


@pytest.mark.parametrize(("body", "words"), NOT_JSON, ids=lambda value: str(value)[:40])
def test_what_is_not_json_is_refused_with_the_position(
    lone_client: TestClient, problem_in: Any, body: bytes, words: str
) -> None:
    answer = lone_client.post("/jobs", content=body, headers=JSON)

    problem = problem_in(answer, 400, "not_json")
    assert problem["errors"][0]["pointer"] == ""
    assert words in problem["detail"]


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"]
)
def test_another_content_type_is_refused(lone_client: TestClient, problem_in: Any, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}

    answer = lone_client.post("/jobs", content=b'{"mode": "train", "config": {}}', headers=headers)

    problem = problem_in(answer, 415, "wrong_content_type")
    assert "application/json" in problem["detail"]


def test_bad_input_stores_nothing(client: TestClient) -> None:
    for body, _, _ in BAD_BODIES:
        assert client.post("/jobs", content=json.dumps(body), headers=JSON).status_code == 422
    for raw, _ in NOT_JSON:
        assert client.post("/jobs", content=raw, headers=JSON).status_code == 400

    assert client.get("/jobs").json()["data"] == []


def test_a_flood_of_unknown_fields_gets_a_short_answer(lone_client: TestClient, problem_in: Any) -> None:
    body = {"mode": "train", "config": {f"k{n}": 0 for n in range(50_000)}}

    answer = lone_client.post("/jobs", json=body)

    assert problem_in(answer, 422)["errors"][-1]["message"] == "has 49950 more problems"
    assert len(answer.content) < 50_000


# -- fuzz -------------------------------------------------------------------------------------------------

NAMES = ["mode", "config", "name", "labels", "priority", "epochs", "teacher", "student", "arch", "views", "rounds"]
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.sampled_from(["train", "guide"])
)
KEYS = st.sampled_from(NAMES) | st.text(max_size=10)
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=20
)
ALMOST_JOBS = st.builds(
    lambda mode, config, more: {**more, "mode": mode, "config": config},
    st.sampled_from(["train", "guide", "other"]),
    st.dictionaries(KEYS, ANY_JSON, max_size=5),
    st.dictionaries(KEYS, ANY_JSON, max_size=3),
)


@fuzz(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=ALMOST_JOBS | ANY_JSON)
def test_no_json_at_all_breaks_the_server(lone_client: TestClient, body: Any) -> None:
    answer = lone_client.post("/jobs", content=json.dumps(body), headers=JSON)

    assert answer.status_code in (201, 400, 422)
    if answer.status_code == 422:
        assert answer.json()["errors"]


@fuzz(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200))
def test_no_bytes_at_all_break_the_server(lone_client: TestClient, body: bytes) -> None:
    answer = lone_client.post("/jobs", content=body, headers=JSON)

    assert answer.status_code in (400, 422)
