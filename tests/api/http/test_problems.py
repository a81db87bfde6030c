"""Every error is a problem: also the router's, the server's own, and those of a database that went away."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from starlette.testclient import TestClient

from api.app import build_app
from jobs.settings import Settings


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/jobs/", "/jobs/a/b/c", "/static-offline-docs/nothing.js", "/%00", "//"]
)
def test_an_unknown_path_is_a_problem(lone_client: TestClient, problem_in: Any, path: str) -> None:
    problem_in(lone_client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/jobs", "GET, HEAD, POST, DELETE"),
        ("PUT", "/jobs/job_01J00000000000000000000000", "GET, HEAD, PATCH, DELETE"),
        ("GET", "/jobs/job_01J00000000000000000000000/cancel", "POST"),
        ("POST", "/jobs/job_01J00000000000000000000000/checkpoints/best/download", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("BREW", "/models", "GET, HEAD"),
        ("HEAD", "/jobs/job_01J00000000000000000000000/cancel", "POST"),
        ("DELETE", "/static-offline-docs/favicon.png", "GET, HEAD"),
    ],
)
def test_another_method_is_told_the_ones_that_there_are(
    lone_client: TestClient, problem_in: Any, method: str, path: str, allowed: str
) -> None:
    answer = lone_client.request(method, path)

    if method != "HEAD":
        problem_in(answer, 405, "method_not_allowed")
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_a_request_keeps_its_id_if_that_is_fit_to_log(lone_client: TestClient, problem_in: Any) -> None:
    assert lone_client.get("/healthz", headers={"X-Request-ID": "a.b-C_1"}).headers["x-request-id"] == "a.b-C_1"
    for unfit in ("", "a b", "<script>", "x" * 65):
        answer = lone_client.get("/nothing", headers={"X-Request-ID": unfit})
        assert problem_in(answer, 404)["request_id"] != unfit
    assert lone_client.get("/healthz").headers["x-request-id"] != lone_client.get("/healthz").headers["x-request-id"]


@pytest.mark.parametrize("path", ["/jobs/job_01J00000000000000000000000", "/healthz", "/models", "/schemas/train"])
def test_a_query_that_nobody_reads_is_refused(lone_client: TestClient, problem_in: Any, path: str) -> None:
    problem = problem_in(lone_client.get(f"{path}?limit=1"), 422, "invalid")

    assert problem["errors"] == [{"in": "query", "pointer": "/limit", "message": "takes no query parameters"}]


@pytest.mark.parametrize("query", ["label=a&label=b", "limit=1&limit=2", "q=x&q=x", "status=failed&q=x&q=y"])
def test_a_parameter_is_not_given_twice(lone_client: TestClient, problem_in: Any, query: str) -> None:
    problem = problem_in(lone_client.get(f"/jobs?{query}"), 422, "invalid")

    twice = "/" + query.rpartition("&")[2].partition("=")[0]
    assert problem["errors"] == [{"in": "query", "pointer": twice, "message": "can be given only once"}]
    assert lone_client.get("/jobs?status=failed&status=queued").status_code == 200  # a list may be


CROSS_SITE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://elsewhere.example"},
    {"Origin": "null"},
    {"Origin": "http://testserver:81"},
]


@pytest.mark.parametrize("headers", CROSS_SITE)
@pytest.mark.parametrize(("method", "path"), [("POST", "/jobs/cancel?all=true"), ("DELETE", "/jobs?all=true")])
def test_a_page_of_another_site_changes_nothing(
    lone_client: TestClient, problem_in: Any, method: str, path: str, headers: dict[str, str]
) -> None:
    job = lone_client.post("/jobs", json={"mode": "train", "config": {}}).json()

    problem_in(lone_client.request(method, path, headers=headers), 403, "cross_site")

    assert lone_client.get(job["urls"]["self"], headers=headers).json()["status"] == "queued"


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://testserver"}]
)
def test_our_own_page_may_change_things(lone_client: TestClient, headers: dict[str, str]) -> None:
    assert lone_client.post("/jobs", json={"mode": "train", "config": {}}, headers=headers).status_code == 201


def test_an_unforeseen_error_says_no_more_than_its_id_and_its_log_no_more_than_where(
    tmp_path: Path, problem_in: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    app = build_app(Settings(data_dir=tmp_path))

    @app.get("/broken")
    def broken(request: Request) -> None:
        authorization, much = request.headers["authorization"], ["local"] * 10_000
        raise RuntimeError(f"the password is hunter2, {len(authorization)} and {len(much)}")

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/broken", headers={"Authorization": "Bearer sesame", "Cookie": "key=sesame"})
    problem = problem_in(answer, 500, "internal")
    said = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (logged,) = [line for line in said if line["event"] == "internal"]

    assert "hunter2" not in str(problem)
    assert logged["request_id"] == problem["request_id"]
    assert "in broken" in logged["exception"]
    assert "sesame" not in str(said)
    assert "local" not in str(said)
    assert len(str(said)) < 20_000


def test_a_database_that_is_away_is_a_problem_that_passes(tmp_path: Path, problem_in: Any) -> None:
    app = build_app(Settings(data_dir=tmp_path, database_url="postgresql://nobody@127.0.0.1:1/nothing"))

    with TestClient(app) as client:
        assert client.get("/healthz").status_code == 200
        for answer in (
            client.get("/readyz"),
            client.get("/jobs"),
            client.post("/jobs", json={"mode": "train", "config": {}}),
        ):
            problem_in(answer, 503, "database_unavailable")
            assert answer.headers["retry-after"] == "2"
            assert "nobody" not in answer.text
