"""What a job will take, found out beside it: whoever minds a trainer waits for no disk."""

import threading
from typing import Any

import structlog

from jobs.database.engine import UNREACHABLE
from jobs.queue.estimate import foresee
from jobs.queue.fence import Claim
from worker.worker import Worker

log = structlog.get_logger()


class Foresight:
    """An estimate by the jobs before this one. The disk of its images may hang; then there is none."""

    def __init__(self, worker: Worker, claim: Claim):
        self._worker, self._claim = worker, claim
        self._found: dict[str, Any] | None = None
        try:
            threading.Thread(target=self._look, name="estimate", daemon=True).start()
        except RuntimeError:  # the machine has no thread left, and the job needs none
            return

    def take(self) -> dict[str, Any] | None:
        """What was found, once; None while there is nothing, or nothing more."""
        found, self._found = self._found, None
        return found

    def _look(self) -> None:
        try:
            with self._worker.db.read() as session:
                expected = foresee(session, self._claim.spec, self._worker.settings.data_dir)
        except UNREACHABLE:
            return
        except Exception:  # whatever is wrong with it, the job is none the worse
            log.exception("no_estimate", job=self._claim.job_id)
            return
        if expected is not None and expected.total_seconds is not None:
            self._found = expected.told()
