"""A real server on a real database, on both of them; and a worker's hand to give jobs a past."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import Response
from starlette.testclient import TestClient

from api.app import build_app
from api.live import readiness
from jobs import upkeep
from jobs.endings import Ending
from jobs.files import layout
from jobs.files.retention import NewFile
from jobs.queue import leases, recording
from jobs.queue.fence import Claim
from jobs.settings import Settings
from jobs.states import State
from jobs.tables import FileKind
from kd.data.packed_facts import PackedFacts
from tests.support.claiming import claim_job
from tests.support.waiting import HANG_SECONDS

TTL = timedelta(seconds=30)

readiness.ANSWER_SECONDS = HANG_SECONDS  # how long a look at the database takes is the machine's affair


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=database_url)


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return build_app(settings)


@pytest.fixture
def client(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    # What a server does on the side, tests do where they are about it: else it is done between any two of their lines.
    monkeypatch.setattr(upkeep, "EVERY_SECONDS", HANG_SECONDS)
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="module")
def lone_app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """A server of the module's own on SQLite, for what has nothing to do with databases."""
    return build_app(Settings(data_dir=tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def lone_client(lone_app: FastAPI) -> Iterator[TestClient]:
    with TestClient(lone_app) as client:
        yield client


@pytest.fixture
def submit(client: TestClient) -> Callable[..., dict[str, Any]]:
    def submit(mode: str = "train", config: dict[str, Any] | None = None, **envelope: Any) -> dict[str, Any]:
        answer = client.post("/jobs", json={"mode": mode, "config": config or {}, **envelope})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    return submit


@dataclass
class Worker:
    """Does to a job what a worker does, through the same doors."""

    app: FastAPI

    def claim(self, job: dict[str, Any]) -> Claim:
        with self.app.state.database.begin() as session:
            return claim_job(session, job["id"], worker="w1", ttl=TTL)

    def record(self, claim: Claim, **said: Any) -> None:
        with self.app.state.database.begin() as session:
            recording.record(session, claim, **said)

    def expect(self, claim: Claim, estimate: dict[str, Any]) -> None:
        with self.app.state.database.begin() as session:
            recording.expect(session, claim, estimate)

    def write(self, claim: Claim, kind: FileKind, name: str, content: bytes, stored_as: str | None = None) -> NewFile:
        data_dir = self.app.state.settings.data_dir
        path = layout.attempt_folder(data_dir, claim.job_id, claim.attempt) / (stored_as or name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        return NewFile(kind, name, str(path.relative_to(data_dir)), len(content), sha256)

    def publish(self, claim: Claim, content: bytes, *, step: int, best: bool = True) -> str:
        """A checkpoint with this student."""
        student = self.write(claim, FileKind.STUDENT, "student.safetensors", content, f"student-{step}.safetensors")
        resume = self.write(claim, FileKind.RESUME, "resume.pt", b"resume", f"resume-{step}.pt")
        with self.app.state.database.begin() as session:
            published = recording.publish(
                session,
                claim,
                phase="student",
                step=step,
                epoch=1,
                best=best,
                metrics={"student.validation.top1": 0.9},
                fraction=step / 1_000,
                files=[student, resume],
            )
        return published.checkpoint_id

    def publish_artifact(self, claim: Claim, name: str, content: bytes) -> None:
        file = self.write(claim, FileKind.ARTIFACT, name, content)
        with self.app.state.database.begin() as session:
            recording.publish_file(session, claim, file)

    def release(self, claim: Claim, state: State, error: dict[str, Any] | None = None, **outcome: Any) -> None:
        with self.app.state.database.begin() as session:
            leases.release(session, claim, state, error=error and Ending.read(error), **outcome)


@pytest.fixture
def worker(app: FastAPI, client: TestClient) -> Worker:
    return Worker(app)


@pytest.fixture(scope="module")
def lone_worker(lone_app: FastAPI, lone_client: TestClient) -> Worker:
    return Worker(lone_app)


@pytest.fixture(scope="session")
def problem_in() -> Callable[..., dict[str, Any]]:
    """What every error must look like, as one assertion."""

    def problem_in(answer: Response, status: int, code: str | None = None) -> dict[str, Any]:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = answer.json()
        assert problem["type"] == "about:blank"
        assert problem["title"]
        assert problem["status"] == status
        assert problem["detail"]
        assert problem["request_id"] == answer.headers["x-request-id"] != ""
        assert code is None or problem["code"] == code
        return problem

    return problem_in


@pytest.fixture
def packed(lone_app: FastAPI) -> Iterator[Callable[..., None]]:
    """Puts what a packed data set says of itself where the server looks for it."""
    folder = lone_app.state.settings.data_dir / "datasets" / "packed"

    def pack(
        name: str, side: int, *, channels: int = 3, validation: int = 0, train: int = 10, classes: int = 2
    ) -> None:
        facts = PackedFacts(
            classes=("cat", "dog", *(f"kind {number}" for number in range(2, classes)))[:classes],
            shape=(channels, side, side),
            train=train,
            validation=validation,
            test=0,
            mean=(0.5,) * channels,
            std=(0.2,) * channels,
            images_sha256="0" * 64,
            labels_sha256="0" * 64,
        )
        (folder / name).mkdir(parents=True)
        (folder / name / "facts.json").write_text(facts.model_dump_json())

    yield pack
    shutil.rmtree(folder, ignore_errors=True)
