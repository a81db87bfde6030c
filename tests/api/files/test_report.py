"""The report as one asks for it: JSON, a page that can do nothing, a model card."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs.states import State

Submit = Callable[..., dict[str, Any]]

CONTENT = {
    "report.json": b'{"gain": 0.01}',
    "report.html": b"<!doctype html><p>caf\xc3\xa9",
    "model-card.md": b"# card",
}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.fixture
def url(client: TestClient, submit: Submit, worker: Any) -> str:
    job = submit()
    claim = worker.claim(job)
    for name, content in CONTENT.items():
        worker.publish_artifact(claim, name, content)
    return str(job["urls"]["report"])


@pytest.mark.parametrize(
    ("query", "accept", "name", "media_type"),
    [
        ("", "*/*", "report.json", "application/json"),
        ("", BROWSER, "report.html", "text/html; charset=utf-8"),
        ("", "text/markdown", "model-card.md", "text/markdown; charset=utf-8"),
        ("?format=html", "application/json", "report.html", "text/html; charset=utf-8"),
        ("?format=json", BROWSER, "report.json", "application/json"),
        ("?format=card", "*/*", "model-card.md", "text/markdown; charset=utf-8"),
    ],
)
def test_a_report_comes_in_the_form_that_is_asked_for(
    client: TestClient, url: str, query: str, accept: str, name: str, media_type: str
) -> None:
    answer = client.get(url + query, headers={"Accept": accept})

    assert (answer.status_code, answer.content) == (200, CONTENT[name])
    assert answer.headers["content-type"] == media_type
    assert answer.headers["etag"] == f'"{hashlib.sha256(CONTENT[name]).hexdigest()}"'
    assert answer.headers["content-disposition"] == f'inline; filename="{url.split("/")[2]}-{name}"'
    assert answer.headers["vary"] == "Accept"
    again = client.get(url + query, headers={"Accept": accept, "If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.headers["vary"]) == (304, "Accept")
    part = client.get(url + query, headers={"Accept": accept, "Range": "bytes=0-2"})
    assert (part.status_code, part.content) == (206, CONTENT[name][:3])


def test_what_a_user_wrote_into_a_page_can_do_nothing(client: TestClient, url: str) -> None:
    """Whichever way the page is asked for."""
    for way in (f"{url}?format=html", url.replace("/report", "/artifacts/report.html")):
        policy = client.get(way).headers["content-security-policy"].split("; ")

        directives = {name: sources for name, _, sources in (one.partition(" ") for one in policy)}
        assert directives == {
            "default-src": "'none'",
            "style-src": "'unsafe-inline'",
            "img-src": "data:",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
            "sandbox": "",
        }


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (None, "has no report yet: it is running"),
        (State.FAILED, "has no report: it ended as failed"),
        (State.SUCCEEDED, "has no report any more"),
    ],
)
def test_where_there_is_no_report_it_is_said_why(
    client: TestClient, submit: Submit, worker: Any, problem_in: Any, ending: State | None, words: str
) -> None:
    job = submit()
    claim = worker.claim(job)
    if ending is not None:
        error = {"code": "diverged", "message": "m", "hint": "h", "retryable": False}
        worker.release(claim, ending, error if ending is State.FAILED else None)

    problem = problem_in(client.get(job["urls"]["report"]), 404, "report_not_found")

    assert words in problem["detail"]


def test_a_job_of_an_earlier_version_has_its_report_as_json(
    client: TestClient, submit: Submit, worker: Any, problem_in: Any
) -> None:
    job = submit()
    worker.publish_artifact(worker.claim(job), "report.json", b"{}")

    problem = problem_in(client.get(job["urls"]["report"], params={"format": "html"}), 404, "report_not_found")

    assert "earlier version" in problem["detail"]
    assert client.get(job["urls"]["report"]).json() == {}


def test_other_forms_and_other_jobs_are_refused(client: TestClient, url: str, problem_in: Any) -> None:
    problem_in(client.get(f"{url}?format=pdf"), 422)
    problem_in(client.get(f"{url}?theme=dark"), 422)
    problem_in(client.get("/jobs/job_01J00000000000000000000000/report"), 404, "job_not_found")
