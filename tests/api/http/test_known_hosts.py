"""Only who knows the server by its name is answered: a page whose name leads here by DNS is not."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import build_app
from jobs.settings import Settings


@pytest.fixture(scope="module")
def named_client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("data")
    app = build_app(Settings(data_dir=folder, allowed_hosts="kd.example.org, 10.0.0.0/8,fd00::1"))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "kd.localhost",
        "127.0.0.1:8000",
        "127.3.4.5",
        "[::1]:8000",
        "kd.example.org",
        "KD.example.org.:443",
        "10.1.2.3:80",
        "[fd00::1]",
    ],
)
def test_a_name_of_this_machine_or_one_that_was_allowed_is_answered(named_client: TestClient, host: str) -> None:
    assert named_client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/jobs", "/docs", "/openapi.json", "/static-offline-docs/favicon.png"])
@pytest.mark.parametrize("host", ["rebound.example", "kd.example.org.rebound.example", "11.0.0.1", "localhost.example"])
def test_another_name_is_refused_whatever_it_asks_for(
    named_client: TestClient, problem_in: Any, host: str, path: str
) -> None:
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}

    problem = problem_in(named_client.get(path, headers=headers), 421, "host_unknown")

    assert "STILLHOUSE_ALLOWED_HOSTS" in problem["detail"]
    problem_in(named_client.request("DELETE", "/jobs?all=true", headers=headers), 421, "host_unknown")


@pytest.mark.parametrize("host", ["", "http://[", "a b", "localhost:port", "local\x7fhost", "user@localhost", "a/b"])
def test_a_host_that_is_none_is_refused(named_client: TestClient, problem_in: Any, host: str) -> None:
    problem_in(named_client.get("/healthz", headers={"Host": host}), 400, "host_unclear")


def test_two_hosts_are_refused(named_client: TestClient, problem_in: Any) -> None:
    two = [("Host", "127.0.0.1"), ("Host", "127.0.0.1")]

    problem_in(named_client.get("/healthz", headers=two), 400, "host_unclear")
