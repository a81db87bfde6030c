"""A member whose student falls behind at an epoch ends and makes room; one that keeps up does not."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs.queue.fence import Claim
from jobs.states import State
from jobs.sweeps.standings import METRIC
from kd.outputs import TEACHER

SEEDS = {"config.seed": {"grid": [0, 1, 2, 3, 4, 5]}}
PATIENT = {"min_others": 3, "warmup_epochs": 2}


@pytest.fixture
def learn(worker: Any) -> Any:
    """Let a member's trainer say what its student got to, an epoch after the other."""

    def learn(claim: Claim, *accuracies: float, phase: str = "student", first_epoch: int = 1) -> None:
        points = [(METRIC, 100 * epoch, top1) for epoch, top1 in enumerate(accuracies, first_epoch)]
        worker.record(claim, metrics=points, phase=phase, latest_metrics={METRIC: accuracies[-1]})

    return learn


@pytest.fixture
def three_ended(sweep: Any, worker: Any, learn: Any, pass_time: Any) -> dict[str, Any]:
    """A sweep of six, of which three have ended; they reached 0.5, 0.7 and 0.8 in their third epochs."""
    made: dict[str, Any] = sweep(space=SEEDS, pruning=PATIENT)
    for member, third in zip(made["members"], (0.5, 0.7, 0.8), strict=False):
        claim = worker.claim({"id": member["job_id"]})
        if member["trains_teacher"]:
            worker.publish_artifact(claim, TEACHER, b"weights")
            pass_time()
        learn(claim, 0.3, 0.4, third, 0.9)
        worker.release(claim, State.SUCCEEDED, result={"metrics": {METRIC: 0.9}})
    return made


def test_a_member_below_the_median_of_the_others_at_its_epoch_is_pruned(
    client: TestClient, three_ended: Any, worker: Any, learn: Any, pass_time: Any, look: Any
) -> None:
    claim = worker.claim({"id": three_ended["members"][3]["job_id"]})
    learn(claim, 0.1, 0.1)
    pass_time()
    early = look(three_ended)["members"][3]
    learn(claim, 0.69, first_epoch=3)

    pass_time()
    asked = client.get(three_ended["members"][3]["url"]).json()
    worker.release(claim, State.CANCELLED)
    pass_time()

    assert early["error"] is None, "nobody is judged while it warms up"
    assert (asked["status"], asked["cancel_requested_at"] is not None) == ("running", True)
    ended = client.get(three_ended["members"][3]["url"]).json()
    assert (ended["status"], ended["error"]["code"]) == ("cancelled", "pruned")
    assert "69.00% after 3 epochs; the median of its sweep was 70.00%" in ended["error"]["message"]
    last = client.get(ended["urls"]["events"], params={"limit": 100}).json()["data"][-1]
    assert (last["data"]["state"], last["data"]["error"]["code"]) == ("cancelled", "pruned")
    assert look(three_ended)["members"][3]["error"] == "pruned"


@pytest.mark.parametrize("third", [0.7, 0.75])
def test_a_member_that_keeps_up_goes_on_whatever_the_others_came_to_later(
    client: TestClient, three_ended: Any, worker: Any, learn: Any, pass_time: Any, third: float
) -> None:
    learn(worker.claim({"id": three_ended["members"][3]["job_id"]}), 0.1, 0.1, third)

    pass_time()

    assert client.get(three_ended["members"][3]["url"]).json()["cancel_requested_at"] is None


def test_nobody_is_judged_after_its_student_has_learnt_or_by_too_few(
    client: TestClient, three_ended: Any, worker: Any, learn: Any, pass_time: Any, sweep: Any
) -> None:
    late = worker.claim({"id": three_ended["members"][3]["job_id"]})
    learn(late, 0.1, 0.1, 0.1, phase="control")
    few = sweep(space=SEEDS, pruning=PATIENT)
    first = worker.claim({"id": few["members"][0]["job_id"]})
    learn(first, 0.1, 0.1, 0.1)

    pass_time()

    for claim in (late, first):
        assert client.get(f"/jobs/{claim.job_id}").json()["cancel_requested_at"] is None


def test_a_student_that_is_finished_first_has_not_been_pruned(
    client: TestClient, three_ended: Any, worker: Any, learn: Any, pass_time: Any
) -> None:
    claim = worker.claim({"id": three_ended["members"][3]["job_id"]})
    learn(claim, 0.1, 0.1, 0.1)
    pass_time()

    worker.release(claim, State.SUCCEEDED, result={"metrics": {METRIC: 0.1}})

    ended = client.get(three_ended["members"][3]["url"]).json()
    assert (ended["status"], ended["error"]) == ("succeeded", None)
