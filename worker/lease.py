"""Keep the lease of a job: renew it, write while it is ours, and end the work before it can lapse.

A renewal that hangs does not hold up the fence: that has a thread of its own.
"""

import errno
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy.orm import Session

from jobs.database.engine import UNREACHABLE
from jobs.errors import LeaseLost
from jobs.queue import leases
from jobs.queue.fence import Claim
from jobs.queue.leases import Requests, Spent
from worker.worker import Worker

log = structlog.get_logger()

# A share of the lease: a worker that could not renew for so long gives up before another may claim the job.
SELF_FENCE = 0.7
# How often a database that does not answer is asked again.
RETRY_SECONDS = 1.0


class Lease:
    """A claim, for as long as it holds."""

    def __init__(self, worker: Worker, claim: Claim, claimed_at: float):
        self.worker, self.claim = worker, claim
        self.requests = Requests(cancel=False, pause=False)
        """What users asked for, as of the last renewal."""
        self.lapsed = False
        """It could not be renewed in time: the work was ended, and nothing more may be written."""
        self.log_bytes = 0
        """What the attempt's log takes."""
        self._began = self._renewed_at = claimed_at
        self._over = threading.Event()

    @property
    def ran_seconds(self) -> float:
        """How long the attempt has run."""
        return time.monotonic() - self._began

    @property
    def spent(self) -> Spent:
        """What the attempt has taken."""
        return Spent(self.ran_seconds, self.log_bytes)

    @property
    def _ends_soon(self) -> bool:
        return time.monotonic() - self._renewed_at > SELF_FENCE * self.worker.settings.lease_seconds

    def renew(self) -> None:
        asked = time.monotonic()  # before the call: the database may take its time to answer
        with self.worker.db.begin() as session:
            ttl = timedelta(seconds=self.worker.settings.lease_seconds)
            self.requests = leases.renew(session, self.claim, ttl=ttl, spent=Spent(asked - self._began, self.log_bytes))
        self._renewed_at = asked

    def try_to(self, write: Callable[[], None]) -> bool:
        """Write to the database; when it cannot be reached, say so and let the caller try again later."""
        try:
            write()
        except UNREACHABLE as error:
            log.warning("database_unreachable", job=self.claim.job_id, error=str(error), recurs=True)
            return False
        return True

    def insist(self, write: Callable[[Session], object]) -> None:
        """Write until the database takes it. Raises `LeaseLost` when the lease may be over before that."""

        def once() -> None:
            with self.worker.db.begin() as session:
                write(session)

        while not self.try_to(once):
            if self._ends_soon:
                raise LeaseLost(self.claim.job_id, self.claim.attempt)
            time.sleep(RETRY_SECONDS)

    def fence(self, end_work: Callable[[], None]) -> None:
        """From now on, until `close`: end the work if the lease could not be renewed in time. Raises OSError if there
        is no thread to be had."""
        try:
            threading.Thread(target=self._fence_myself, args=(end_work,), daemon=True).start()
        except RuntimeError as error:  # the trainer's threads were the last that there were
            raise OSError(errno.EAGAIN, str(error)) from error

    def close(self) -> None:
        self._over.set()

    def _fence_myself(self, end_work: Callable[[], None]) -> None:
        while not self._over.wait(min(0.5, self.worker.settings.lease_seconds / 20)):
            if self._ends_soon:
                log.error("lease_not_renewed_in_time", job=self.claim.job_id, attempt=self.claim.attempt)
                self.lapsed = True
                end_work()
                return
