"""What browsers are told with every answer."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.app import build_app
from jobs.settings import Settings

TOLD = {
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/jobs", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/static-offline-docs/swagger-ui.css", 200),
        ("GET", "/nothing", 404),
        ("DELETE", "/models", 405),
        ("POST", "/jobs", 413),
        ("GET", "/broken", 500),
    ],
)
def test_no_other_page_may_show_or_load_any_answer(tmp_path: Path, method: str, path: str, status: int) -> None:
    app = build_app(Settings(data_dir=tmp_path, max_body_bytes=1_000))

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.request(method, path, content=b" " * 2_000 if method == "POST" else None)

    assert answer.status_code == status
    assert TOLD.items() <= dict(answer.headers).items()
    (policy,) = answer.headers.get_list("content-security-policy")
    directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert (directives["default-src"], directives["frame-ancestors"]) == ("'none'", "'none'")
    assert ("script-src" in directives) == (path == "/docs")


def test_the_documentation_may_load_what_it_needs_and_from_here_alone(lone_client: TestClient) -> None:
    answer = lone_client.get("/docs")
    directives = dict(one.split(" ", 1) for one in answer.headers["content-security-policy"].split("; "))

    assert re.search(r"<script src=./static-offline-docs", answer.text), "'self'"
    assert "<script>" in answer.text, "'unsafe-inline'"
    assert directives["script-src"] == directives["style-src"] == "'self' 'unsafe-inline'"
    assert directives["connect-src"] == "'self'"
    assert "http" not in answer.headers["content-security-policy"]
