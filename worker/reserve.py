"""Where trainers come from: a warm one if there is one in reserve, else a new one."""

import threading
import time

import structlog

from worker.child import TRAINER, Child

log = structlog.get_logger()

# A reserve that dies at once (torch cannot be loaded, say) is not started again sooner than this.
RESERVE_EVERY_SECONDS = 5.0

# After no trainer could be started, for so long no job is taken that would need one.
NO_TRAINER_SECONDS = 15.0


class Trainers:
    """Where the supervisor gets its trainers: a warm one if there is one in reserve, else a new one."""

    def __init__(self, *, keep_one_warm: bool, module: str = TRAINER):
        self._module = module
        self._keep_one_warm = keep_one_warm
        self._reserve: Child | None = None
        self._taken: Child | None = None  # the last one
        self._failure: str | None = None  # why the last one could not be started
        self._failed_at = 0.0
        self._next_reserve = 0.0
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Start a reserve if there is none. Loading torch takes seconds of a core: call it when there is no work."""
        with self._lock:
            if not self._keep_one_warm or (self._reserve is not None and self._reserve.alive):
                return
            if time.monotonic() < self._next_reserve:
                return
            self._next_reserve = time.monotonic() + RESERVE_EVERY_SECONDS
            try:
                self._reserve = Child(self._module)
            except OSError as error:  # no process to be had; a job will say so if it is still so then
                log.warning("no_standby_trainer", error=str(error))

    def take(self) -> Child:
        """A trainer for a job. Raises OSError if none can be started."""
        with self._lock:
            reserve, self._reserve = self._reserve, None
            if reserve is None or not reserve.alive:
                reserve = Child(self._module)
            else:
                self._next_reserve = 0.0  # it was good, so the next one may follow at once
            self._taken, self._failure = reserve, None
            return reserve

    def fail(self, error: OSError) -> None:
        """A trainer, or what it takes to mind one, could not be had."""
        self._failed_at, self._failure = time.monotonic(), error.strerror or str(error)

    @property
    def trouble(self) -> str | None:
        """Why no job should be taken now, in a sentence; to be asked between jobs."""
        if self._failure is not None and time.monotonic() - self._failed_at < NO_TRAINER_SECONDS:
            return f"No trainer can be started: {self._failure}. The machine is out of processes or memory."
        if self._taken is not None and self._taken.hangs:
            return f"A trainer that was killed (process {self._taken.pid}) hangs in a call to the kernel."
        return None

    def close(self) -> None:
        with self._lock:
            reserve, self._reserve = self._reserve, None
        if reserve is not None:
            reserve.kill()
