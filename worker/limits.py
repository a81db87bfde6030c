"""What a trainer may take: of time, of time in which it gets no further, of the machine's memory."""

from dataclasses import dataclass
from typing import Self

from jobs import endings
from jobs.endings import Ending
from jobs.queue.fence import Claim
from kd.events import Advanced, Event, Waiting
from worker.descendants import Descendants
from worker.worker import Worker

# What of one turn of the worker's loop counts as silence, at most: one that slept, or waited for its database, has not
# heard yet what the trainer has said meanwhile.
LONGEST_TURN_SECONDS = 5.0


class Silence:
    """For how long a trainer has got no further, in time for which we listened."""

    def __init__(self, now: float):
        self.seconds = 0.0
        self._counted_to = now
        self._waited_at: int | None = None  # how many labels there were when it said last that it waits for them

    def go_on(self, now: float) -> None:
        """It is so late, and we have heard nothing since we were told so last."""
        self.seconds += min(now - self._counted_to, LONGEST_TURN_SECONDS)
        self._counted_to = now

    def hear(self, event: Event) -> None:
        """Whatever it says has brought it further, unless it only says, once more, that it waits for another run, which
        has done nothing meanwhile."""
        if isinstance(event, Waiting) and event.count == self._waited_at:
            return
        if not isinstance(event, Advanced):
            self._waited_at = event.count if isinstance(event, Waiting) else None
        self.seconds = 0.0


@dataclass(frozen=True)
class Limits:
    """None is no limit."""

    run_seconds: float | None
    """Of all attempts together."""
    earlier_seconds: float
    """What those before this one have run."""
    stall_seconds: float | None
    memory_bytes: int | None

    @classmethod
    def of(cls, worker: Worker, claim: Claim) -> Self:
        """Of memory: what the job asked for, what the worker allows."""
        memory = (claim.memory_bytes, worker.settings.trainer_memory_bytes, worker.offer.memory_bytes)
        return cls(
            run_seconds=claim.max_run_seconds,
            earlier_seconds=claim.run_seconds,
            stall_seconds=claim.max_stall_seconds,
            memory_bytes=min((limit for limit in memory if limit), default=None),
        )

    def check_time(self, *, ran_seconds: float, silent_seconds: float) -> Ending | None:
        """The ending that the attempt's time calls for, if it does."""
        if self.run_seconds is not None and self.earlier_seconds + ran_seconds > self.run_seconds:
            return endings.run_time_exceeded(self.run_seconds)
        if self.stall_seconds is not None and silent_seconds > self.stall_seconds:
            return endings.stalled(self.stall_seconds)
        return None

    def check_memory(self, processes: Descendants) -> Ending | None:
        """The same of what its processes take of the memory."""
        if self.memory_bytes is None:
            return None
        used = processes.memory_bytes(doubt_beyond=self.memory_bytes)
        return endings.too_much_memory(used, self.memory_bytes) if used > self.memory_bytes else None
