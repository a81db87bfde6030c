"""Sweeps over HTTP, and a hand that runs their members."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from jobs.doorbell.notifier import Notifier
from jobs.states import State
from jobs.sweeps.standings import METRIC
from jobs.upkeep import Upkeep
from kd.outputs import TEACHER

LRS = {"config.optimizer.lr": {"grid": [0.001, 0.01, 0.1]}}


@pytest.fixture
def sweep(client: TestClient) -> Callable[..., dict[str, Any]]:
    """Submit one: three learning rates, unless told otherwise."""

    def sweep(**changes: Any) -> dict[str, Any]:
        answer = client.post("/sweeps", json={"mode": "train", "config": {}, "space": LRS, **changes})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    return sweep


@pytest.fixture
def look(client: TestClient) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda sweep: dict(client.get(sweep["urls"]["self"]).json())


@pytest.fixture
def pass_time(app: FastAPI, client: TestClient) -> Callable[[], None]:
    """What servers and workers do on the side every two seconds, chains and sweeps."""

    def pass_time() -> None:
        upkeep = Upkeep(app.state.database, Notifier(None), app.state.settings)
        upkeep.run_once()
        upkeep.advance_sweeps()

    return pass_time


@pytest.fixture
def finish(worker: Any) -> Callable[..., None]:
    """Run a member to its end, with these scores."""

    def finish(member: dict[str, Any], top1: float = 0.9, state: State = State.SUCCEEDED, **metrics: float) -> None:
        claim = worker.claim({"id": member["job_id"]})
        if member["trains_teacher"]:
            worker.publish_artifact(claim, TEACHER, b"weights")
        scores = {METRIC: top1, "gain": 0.01} | {name.replace("__", "."): value for name, value in metrics.items()}
        worker.release(claim, state, result={"metrics": scores} if state is State.SUCCEEDED else None)

    return finish
