"""The state machine, whole: the states of a job and the moves between them.

Cancel and pause are requests (columns), not states: a dead owner can never strand a job.
"""

from enum import StrEnum


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


MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.PAUSED, State.FAILED, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, State.PAUSED, State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    State.PAUSED: frozenset({State.QUEUED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

FINAL = frozenset(state for state, next_states in MOVES.items() if not next_states)

# What users may ask of a job, by its state.
ACTIONS: dict[State, tuple[str, ...]] = {
    State.QUEUED: ("cancel", "pause"),
    State.RUNNING: ("cancel", "pause"),
    State.PAUSED: ("cancel", "resume"),
    State.SUCCEEDED: ("retry", "delete"),
    State.FAILED: ("retry", "delete"),
    State.CANCELLED: ("retry", "delete"),
}
