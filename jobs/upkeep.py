"""What every server and worker does on the side, in case nobody else does: rescue jobs of dead workers, ring for what
waits, end what has waited too long.

All of it is idempotent, so any number of processes may do it at once.
"""

import threading

import structlog

from jobs import leases, queue, workers
from jobs.db import Sessions
from jobs.notifier import Notifier
from jobs.states import State

log = structlog.get_logger()

EVERY_SECONDS = 2.0


class Upkeep:
    """A thread of its own, so that neither requests nor training hold it up."""

    def __init__(self, database: Sessions, notifier: Notifier, *, max_stalls: int):
        self._database, self._notifier, self._max_stalls = database, notifier, max_stalls
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5 * EVERY_SECONDS)

    def _repeat(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                self.once()
            except Exception as error:  # a database that is away now may be back in a moment
                log.warning("upkeep_failed", error=str(error))

    def once(self) -> None:
        with self._database.begin() as session:
            rescued = leases.rescue_expired(session, max_stalls=self._max_stalls)
            expired = leases.expire_waiting(session)
            workers.forget_lost(session)
        for job_id, state in rescued:
            log.warning("job_rescued", job=job_id, state=state)
            if state is State.QUEUED:
                self._notifier.job_queued(job_id)
        for job_id in expired:
            log.warning("job_waited_too_long", job=job_id)
        with self._database.read() as session:
            waiting = queue.first(session)
        # One ring wakes one idle worker, which then takes all there is: no need to ring for every job.
        if waiting is not None:
            self._notifier.job_queued(waiting)
