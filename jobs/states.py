"""The state machine, whole: the states of a job, the moves between them, and who makes which when.

Each move is one conditional UPDATE: it matches the job as it was, or changes nothing. Cancel and pause are requests
(columns), not states: a dead owner can never strand a job.
"""

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    QUEUED = "queued"
    """Waits for a worker, for the first time or again."""

    RUNNING = "running"
    """A worker holds its lease."""

    PAUSED = "paused"
    """Put aside because somebody asked; goes on from its last checkpoint when somebody asks again."""

    SUCCEEDED = "succeeded"
    """Finished; its student and its report are there."""

    FAILED = "failed"
    """Stopped by an error that another try would not change, or after too many stalls."""

    CANCELLED = "cancelled"
    """Stopped because somebody asked."""


class Move(NamedTuple):
    """A way from one state to another: the functions that go it, and when."""

    before: State
    after: State
    made_by: tuple[str, ...]
    when: str


MOVES = (
    Move(
        *(State.QUEUED, State.RUNNING),
        made_by=("jobs.queue.leases.claim",),
        when="it is the first in the queue that suits the worker, has its teacher and does not back off",
    ),
    Move(
        *(State.QUEUED, State.PAUSED),
        made_by=("jobs.queue.requests.pause",),
        when="somebody asks",
    ),
    Move(
        *(State.QUEUED, State.FAILED),
        made_by=("jobs.queue.rescue.expire_waiting", "jobs.queue.chains.settle"),
        when="it has waited longer than max_queue_seconds for its first start, or for a teacher that will not come",
    ),
    Move(
        *(State.QUEUED, State.CANCELLED),
        made_by=("jobs.queue.requests.cancel", "jobs.queue.requests.cancel_all"),
        when="somebody asks",
    ),
    Move(
        *(State.RUNNING, State.QUEUED),
        made_by=("jobs.queue.leases.requeue", "jobs.queue.rescue.rescue_expired"),
        when="its worker gives it back, or has let its lease run out",
    ),
    Move(
        *(State.RUNNING, State.PAUSED),
        made_by=("jobs.queue.leases.requeue", "jobs.queue.rescue.rescue_expired"),
        when="the same, after somebody has asked to pause it",
    ),
    Move(
        *(State.RUNNING, State.CANCELLED),
        made_by=("jobs.queue.leases.requeue", "jobs.queue.rescue.rescue_expired", "jobs.queue.leases.release"),
        when="the same, after somebody has asked to cancel it; or its worker has ended the trainer for that",
    ),
    Move(
        *(State.RUNNING, State.FAILED),
        made_by=("jobs.queue.leases.requeue", "jobs.queue.rescue.rescue_expired", "jobs.queue.leases.release"),
        when="the same, for the last of max_stalls attempts in a row without progress; or an error is final",
    ),
    Move(
        *(State.RUNNING, State.SUCCEEDED),
        made_by=("jobs.queue.leases.release",),
        when="its trainer has finished, also if somebody has asked to cancel it a moment before",
    ),
    Move(
        *(State.PAUSED, State.QUEUED),
        made_by=("jobs.queue.requests.resume",),
        when="somebody asks",
    ),
    Move(
        *(State.PAUSED, State.CANCELLED),
        made_by=("jobs.queue.requests.cancel", "jobs.queue.requests.cancel_all"),
        when="somebody asks",
    ),
)
"""All of them. A job begins as QUEUED (`jobs.queue.submit.add_job`)."""

FINAL = frozenset(State) - {move.before for move in MOVES}


# What users may ask of a job, by its state.
ACTIONS: dict[State, tuple[str, ...]] = {
    State.QUEUED: ("cancel", "pause"),
    State.RUNNING: ("cancel", "pause"),
    State.PAUSED: ("cancel", "resume"),
    State.SUCCEEDED: ("retry", "delete"),
    State.FAILED: ("retry", "delete"),
    State.CANCELLED: ("retry", "delete"),
}
