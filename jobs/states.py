"""The state machine, whole: the states of a job and the moves between them.

Cancel is a request (a column), not a state: a dead owner can never strand a job.
"""

from enum import StrEnum


class State(StrEnum):
    QUEUED = "queued"
    """Waits for a worker, for the first time or again."""

    RUNNING = "running"
    """A worker holds its lease."""

    SUCCEEDED = "succeeded"
    """Finished; its student and its report are there."""

    FAILED = "failed"
    """Stopped by an error that another try would not change, or after too many stalls."""

    CANCELLED = "cancelled"
    """Stopped because somebody asked."""


MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

FINAL = frozenset(state for state, next_states in MOVES.items() if not next_states)
