"""A server that cannot have its own files for now says that, and not that the request was wrong."""

import errno
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

PUSHED = {"Content-Type": "application/octet-stream"}
NO_TABLE = "ab" * 16
NO_TEACHER = "tch_" + "ab" * 14


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> Any:
    """From now on files of this name cannot be read, for this reason."""

    def trouble(name: str, number: int) -> None:
        read = Path.read_bytes

        def fail(path: Path) -> bytes:
            if path.name.endswith(name):
                raise OSError(number, "not now", str(path))
            return read(path)

        monkeypatch.setattr(Path, "read_bytes", fail)

    return trouble


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
@pytest.mark.parametrize(
    ("method", "url", "config"),
    [
        ("POST", "/jobs", {"dataset": "packed/pets"}),
        ("POST", "/jobs/validate", {"dataset": "packed/pets"}),
        ("GET", "/presets?dataset=packed/pets", None),
        ("GET", "/datasets", None),
        ("POST", "/jobs", {"dataset": "packed/pets", "teacher": {"upload": NO_TEACHER}}),
    ],
)
def test_facts_that_cannot_be_read_for_now_are_the_servers_trouble(
    lone_client: TestClient, lone_app: FastAPI, packed: Any, problem_in: Any, trouble: Any, number: int, method: str,
    url: str, config: dict[str, Any] | None,
) -> None:  # fmt: skip
    packed("pets", 32)
    trouble("facts.json", number)

    answer = lone_client.request(method, url, json=None if config is None else {"mode": "train", "config": config})

    problem = problem_in(answer, 503, "files_unavailable")
    assert "cannot be read or written now; try again" in problem["detail"]
    assert answer.headers["retry-after"]
    assert str(lone_app.state.settings.data_dir) not in answer.text


def test_facts_that_nobody_may_read_are_told_as_they_are(
    lone_client: TestClient, packed: Any, problem_in: Any, trouble: Any
) -> None:
    packed("pets", 32)
    trouble("facts.json", errno.EACCES)

    answer = lone_client.post("/jobs", json={"mode": "train", "config": {"dataset": "packed/pets"}})

    assert "not now" in problem_in(answer, 422, "invalid")["detail"]


def test_a_disk_that_is_full_while_a_file_comes_is_no_room(
    lone_client: TestClient, problem_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kd.teachers.uploads.atomic", full)

    answer = lone_client.post("/teachers", params={"name": "x", "pixels": "unit"}, content=b"\x08\x0a", headers=PUSHED)

    assert problem_in(answer, 507, "no_room")["detail"] == "The disk is full."
