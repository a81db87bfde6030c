"""What is wrong with a sweep is said at POST, with the place and the combination, before there is a job."""

from typing import Any

import pytest
from starlette.testclient import TestClient

LR = "config.optimizer.lr"
NOBODY = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"


@pytest.mark.parametrize(
    ("changes", "pointer", "words"),
    [
        ({"space": {}}, "/space", "at least 1 item"),
        ({"space": {"optimizer.lr": {"grid": [1]}}}, "/space/optimizer.lr", "is no field of a spec"),
        ({"space": {LR: {}}}, f"/space/{LR}", "exactly one of grid, choice, uniform, log_uniform, int"),
        ({"space": {LR: {"grid": [0.1], "choice": [0.1]}}}, f"/space/{LR}", "exactly one of"),
        ({"space": {LR: {"log_uniform": [0, 1]}}}, f"/space/{LR}", "should begin above 0"),
        ({"space": {LR: {"uniform": [1, 0.1]}}}, f"/space/{LR}", "should begin below its end"),
        ({"space": {LR: {"gird": [1]}}}, f"/space/{LR}/gird", "there is no such field"),
        ({"space": {LR: {"grid": [0.1, -1]}}}, f"/space/{LR}", "at config.optimizer.lr -1: should be greater than 0"),
        ({"space": {"config.optimiser.lr": {"grid": [0.1]}}}, "/space/config.optimiser.lr", "there is no such field"),
        ({"space": {LR: {"uniform": [0.1, 1e9]}}, "budget": {"max_jobs": 3}}, f"/space/{LR}", "at config.optimizer.lr"),
        (
            {"space": {LR: {"uniform": [0.1, 1e9]}}, "sampler": "tpe", "budget": {"max_jobs": 3}},
            f"/space/{LR}", "at config.optimizer.lr 1e+09",
        ),
        ({"space": {LR: {"grid": [0.1, 0.1]}}}, f"/space/{LR}", "has a value twice"),
        ({"space": {LR: {"uniform": [0.1, 1]}}}, "/budget/max_jobs", "is missing: sampler random has no end"),
        ({"space": {LR: {"uniform": [0.1, 1]}}, "sampler": "grid"}, f"/space/{LR}", "has no end of values"),
        ({"space": {LR: {"grid": [0.1, 0.2]}}, "budget": {"max_jobs": 1}}, "/budget/max_jobs", "has 2 combinations"),
        (
            {"space": {"config.seed": {"grid": list(range(100))}, LR: {"grid": [1, 2, 3, 4, 5, 6]}}},
            "/space", "has 600 combinations, and a sweep at most 500 jobs",
        ),
        (
            {"space": {"config.teacher": {"grid": [{}]}, "config.teacher.arch": {"grid": ["cnn"]}}},
            "/space", "config.teacher.arch is a part of config.teacher",
        ),
        ({"config": {"epochs": 0}}, "/config/epochs", "greater than or equal to 1"),
        ({"config": {"student": 3}, "space": {"config.student.arch": {"grid": ["mlp"]}}},
         "/space/config.student.arch", "leads through student, which holds no fields"),
        ({"labels": {"sweep": "x"}}, "/labels", "every member has a label sweep already"),
        ({"config": {"teacher": {"job": NOBODY}}}, "/config/teacher/job", "does not exist"),
        ({"config": {"dataset": "packed/nothing"}}, "/config/dataset", "packed/nothing"),
        ({"pruning": {"min_others": 9}}, "/pruning/min_others", "would do nothing here: there are only 1 others"),
        (
            {"mode": "guide", "config": {"rounds": {"teacher": "route"}}},
            "/share_teacher", "must be false here",
        ),
        ({"config": {"epochs": 5}, "space": {"config.patience": {"grid": [3, 7]}}}, "/config", "at config.patience 7"),
    ],
    ids=str,
)  # fmt: skip
def test_a_sweep_that_cannot_be_is_refused_where_it_is_wrong(
    lone_client: TestClient, problem_in: Any, changes: dict[str, Any], pointer: str, words: str
) -> None:
    body = {"mode": "train", "config": {}, "space": {"config.seed": {"grid": [0, 1]}}, **changes}

    problem = problem_in(lone_client.post("/sweeps", json=body), 422, "invalid")

    faults = {fault["pointer"]: fault["message"] for fault in problem["errors"]}
    assert pointer in faults, faults
    assert words in faults[pointer]
    assert lone_client.get("/sweeps").json()["data"] == []
    assert lone_client.get("/jobs").json()["data"] == []
