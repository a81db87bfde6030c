"""`kd sweep`: from a file to a table, as a whole, and no traceback."""

import json

import pytest

from jobs.states import State
from tests.support.served import FAILURE

PLAN = """
mode: train
config: {dataset: digits, teacher: {job: %s}}
space:
  config.optimizer.lr: {grid: [0.01, 0.1]}
"""


@pytest.fixture
def plan(client, worker, tmp_path):
    """A file of a sweep under a teacher that is there."""
    teacher = client.submit("train", {"dataset": "digits"})["id"]
    claim = worker.claim(teacher)
    worker.publish_artifact(claim, "teacher.safetensors", b"weights")
    worker.release(claim, State.FAILED, error=FAILURE)
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN % teacher)
    return str(path)


def test_a_sweep_goes_from_a_file_to_its_table_and_its_picture(kd, client, worker, plan, tmp_path):
    sweep = kd("sweep", "submit", plan, "--name", "rates", "--label", "team=vision").stdout.strip()
    first, second = client.sweeps.get(sweep)["members"]
    metrics = {
        "student.validation.top1": 0.875, "gain": 0.01, "student.parameters": 4_810,
        "student.latency_seconds.batch1": 0.0021,
    }  # fmt: skip
    worker.release(worker.claim(first["job_id"]), State.FAILED, error=FAILURE)
    worker.release(worker.claim(second["job_id"]), State.SUCCEEDED, result={"metrics": metrics, "seconds": {}})

    shown = kd("sweep", "show", sweep).stdout.splitlines()
    written = kd("sweep", "pareto", sweep, "--to", str(tmp_path / "p.svg"))

    assert "1 failed, 1 succeeded, of 2 jobs at most." in shown[0] or "1 succeeded, 1 failed" in shown[0]
    assert shown[1].split()[:4] == ["job", "status", "optimizer.lr", "validation"]
    assert shown[2].split()[:1] == ["2*"], "the best first"
    assert "87.50 %  +1.00 points       4,810  2.10 ms" in shown[2]
    assert "failed: diverged" in shown[3]
    assert written.exit_code == 0
    assert (tmp_path / "p.svg").read_text().startswith("<svg")
    assert sweep in kd("sweep", "ls").stdout
    assert {job["labels"]["team"] for job in client.list(label=f"sweep={sweep}")} == {"vision"}


def test_a_sweep_is_paused_resumed_cancelled_and_deleted(kd, plan):
    sweep = json.loads(kd("sweep", "submit", plan, "--json").stdout)["id"]

    said = [kd("sweep", verb, sweep).stdout.strip() for verb in ("pause", "resume", "cancel")]
    deleted = kd("sweep", "delete", sweep, "--yes")

    assert said == [
        f"{sweep} is paused: 2 paused.", f"{sweep} is running: 2 queued.", f"{sweep} is cancelled: 2 cancelled.",
    ]  # fmt: skip
    assert deleted.stdout.strip() == f"{sweep} is deleted."
    gone = kd("sweep", "show", sweep)
    assert (gone.exit_code, gone.stderr.strip().startswith("There is no sweep")) == (1, True)


def test_what_is_wrong_with_a_plan_is_said_with_its_place(kd, plan):
    result = kd("sweep", "submit", plan, "--set", "space={config.epochs: {grid: [5, 0]}}")

    assert result.exit_code == 1
    assert "/space/config.epochs: at config.epochs 0: should be greater than or equal to 1" in result.stderr
