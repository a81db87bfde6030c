"""What must be true of a job, in a model that is too simple to be wrong."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jobs.queue.fence import Claim
from jobs.states import FINAL, MOVES, State
from jobs.tables import Event

MAX_STALLS = 2  # few, so that walks come to it
FIRST_PAUSE, FACTOR = timedelta(seconds=5), 6  # between attempts that crash without progress


@dataclass
class Known:
    """What the model knows of a job."""

    order: tuple[int, int]  # as it is claimed: priority, then age
    state: State = State.QUEUED
    attempt: int = 0
    owner: Claim | None = None
    lease_ends: datetime | None = None
    stalls: int = 0
    safe: float = -1.0
    resumes: list[tuple[int, str]] = field(default_factory=list)  # (step, path), newest first
    cancel: bool = False
    pause: bool = False
    start_by: datetime | None = None
    retry_at: datetime | None = None
    has_teacher: bool = False  # of its own, to lend
    lender: str | None = None
    waits_for_lender: bool = False

    def waits(self, now: datetime) -> bool:
        """For a worker, and for nothing else."""
        backs_off = self.retry_at is not None and self.retry_at > now
        return self.state is State.QUEUED and not backs_off and not self.waits_for_lender

    @property
    def newest(self) -> tuple[int, str | None]:
        return self.resumes[0] if self.resumes else (-1, None)

    @property
    def step(self) -> int:
        return self.newest[0]

    def is_owned_by(self, claim: Claim) -> bool:
        return self.owner is not None and (self.owner.worker, self.owner.attempt) == (claim.worker, claim.attempt)

    def got_to(self, safe: float) -> None:
        """So much of the run is safe."""
        if safe > self.safe:
            self.safe, self.stalls = safe, 0

    def put_down(self, *, stalled: bool, crashed_at: datetime | None = None) -> None:
        """What becomes of a job whose worker could not finish it."""
        self.owner = None
        if self.cancel:
            self.state = State.CANCELLED
        elif stalled and self.stalls >= MAX_STALLS:
            self.state = State.FAILED
        else:
            self.state = State.PAUSED if self.pause else State.QUEUED
            if self.state is State.QUEUED and crashed_at is not None and self.stalls:
                self.retry_at = crashed_at + FIRST_PAUSE * FACTOR ** (self.stalls - 1)

    @property
    def row(self) -> tuple[State, int, int, int, float, str | None, datetime | None]:
        owner = self.owner.worker if self.owner else None
        return self.state, self.attempt, self.stalls, self.step, self.safe, owner, self.retry_at

    def check_log(self, events: Sequence[Event]) -> None:
        states = [State(event.data["state"]) for event in events if event.type == "state"]
        assert [event.seq for event in events] == list(range(1, len(events) + 1)), "a gap in the log"
        assert (states[0], states[-1]) == (State.QUEUED, self.state)
        assert set(itertools.pairwise(states)) <= {(move.before, move.after) for move in MOVES}
        assert states.count(State.RUNNING) == self.attempt
        assert sum(state in FINAL for state in states) <= 1, "it ended twice"
