"""A deployment as a test of faults sees it: jobs to disturb, and what must be true of them in the end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

from tests.support.deployed import Deployment, wait_until
from tests.support.processes import gone

# As the tiny job, with less around the student: what is disturbed here is its training.
JOB = {"dataset": "packed/faults", "teacher": {"arch": "mlp", "epochs": 2}, "epochs": 50, "control": False}
QUICK = JOB | {"epochs": 1}
ENDLESS = JOB | {"epochs": 10_000}


@dataclass
class Place:
    """A deployment and who attends to it in a test."""

    on: Deployment
    record: Callable[[str, object], None]
    undisturbed: dict[str, Any] = field(default_factory=dict)

    def submit(self, config: dict[str, Any] = JOB) -> str:
        return self.on.submit(**config)

    def running(self, config: dict[str, Any] = JOB) -> str:
        """A job that a worker has just claimed."""
        job_id = self.submit(config)
        self.on.wait_for(job_id, lambda job: job["status"] != "queued", "is claimed")
        return job_id

    def in_training(self, config: dict[str, Any] = JOB) -> str:
        """A job in the middle of its student."""
        job_id = self.submit(config)
        self.on.wait_for_training(job_id)
        return job_id

    def wait_until_dead(self, trainers: list[psutil.Process], since: float, name: str) -> float:
        """How many seconds after `since` they were gone."""
        assert trainers, "there was no trainer to look at"
        wait_until(lambda: all(map(gone, trainers)), "the trainer is gone")
        return self.measured(name, since)

    def measured(self, name: str, since: float) -> float:
        seconds = time.monotonic() - since
        self.record(name, round(seconds, 3))
        return seconds

    def attempts(self, job_id: str) -> list[int]:
        """Where each attempt whose trainer came to start went on from."""
        return [e["data"]["resumed_from_step"] for e in self.on.events(job_id) if e["type"] == "started"]

    def assert_as_undisturbed(self, job_id: str, *, resumed: bool = True) -> dict[str, Any]:
        """The job ends once, past step 0, with one set of files, and bit for bit what it would have been."""
        job = self.on.wait_for_end(job_id)
        assert job["status"] == "succeeded", job["error"]
        events = self.on.events(job_id)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert [event["type"] for event in events].count("finished") == 1
        states = [event["data"]["state"] for event in events if event["type"] == "state"]
        assert [state for state in states if state in ("succeeded", "failed", "cancelled")] == ["succeeded"]
        if resumed:
            assert job["attempt"] > 1
            assert self.attempts(job_id)[-1] > 0, "it went on from a checkpoint"
        assert self.outcome(job) == self.undisturbed
        return job

    def outcome(self, job: dict[str, Any]) -> dict[str, Any]:
        """All of a result that does not depend on the machine's speed."""
        client = self.on.client
        of_the_machine = ("seconds", "per_second", "memory")
        metrics = job["result"]["metrics"]
        best = client.checkpoint(job["id"])
        files = list(client.artifacts(job["id"]))
        assert best["id"] == job["result"]["best_checkpoint"]
        return {
            "student": best["sha256"],
            "metrics": {name: metrics[name] for name in metrics if not any(word in name for word in of_the_machine)},
            "artifacts": sorted(file["name"] for file in files),
            "weights": {file["name"]: file["sha256"] for file in files if file["name"].endswith(".safetensors")},
            "best": [checkpoint["best"] for checkpoint in client.checkpoints(job["id"])].count(True),
        }
