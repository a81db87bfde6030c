"""Jobs with a past, for what is done to jobs that are there; why some are refused; what goes on without being asked."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from jobs.doorbell.notifier import Notifier
from jobs.states import State
from jobs.upkeep import Upkeep


@pytest.fixture
def ended(submit: Any, worker: Any) -> Any:
    """A job that has failed."""

    def ended(state: State = State.FAILED, **envelope: Any) -> dict[str, Any]:
        job = submit(**envelope)
        worker.release(worker.claim(job), state)
        return dict(job)

    return ended


@pytest.fixture
def refusal(client: TestClient, problem_in: Any) -> Callable[..., str]:
    """Why a submission with this teacher is refused."""

    def refusal(teacher: dict[str, Any], **config: Any) -> str:
        answer = client.post("/jobs", json={"mode": "train", "config": {**config, "teacher": teacher}})
        (fault,) = problem_in(answer, 422, "invalid")["errors"]
        assert (fault["in"], fault["pointer"]) == ("body", "/config/teacher/job")
        return str(fault["message"])

    return refusal


@pytest.fixture
def settle(app: FastAPI) -> Callable[[], None]:
    """What servers and workers do on the side every two seconds."""
    return Upkeep(app.state.database, Notifier(None), app.state.settings).run_once
