"""What every server and worker does on the side, in case nobody else does: rescue jobs of dead workers, let go on what
has its teacher now, advance sweeps, ring for what waits, end what has waited too long, delete files that nobody needs,
and look whether the others are whole.

All of it is idempotent, so any number of processes may do it at once.
"""

import threading

import structlog

from jobs.database.engine import Sessions
from jobs.doorbell.notifier import Notifier
from jobs.files import garbage, layout, scrub
from jobs.log import purge
from jobs.queue import chains, datasets, place, rescue
from jobs.settings import Settings
from jobs.states import State
from jobs.sweeps import advance, pruning
from jobs.webhooks import deliveries
from jobs.workers import roster
from jobs.workers.roster import Status

log = structlog.get_logger()

EVERY_SECONDS = 2.0
GARBAGE_AFTER_SECONDS = 60.0
GARBAGE_EVERY_SECONDS = 600.0


class Upkeep:
    """Threads of their own, so that neither requests nor training hold it up, nor a slow disk the rescues."""

    def __init__(self, database: Sessions, notifier: Notifier, settings: Settings):
        self._database, self._notifier, self._settings = database, notifier, settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="upkeep", daemon=True)
        self._sweeps = threading.Thread(target=self._advance_repeatedly, name="sweeps", daemon=True)
        self._garbage = threading.Thread(target=self._collect_repeatedly, name="garbage", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._sweeps.start()
        self._garbage.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5 * EVERY_SECONDS)
        self._sweeps.join(5 * EVERY_SECONDS)
        self._garbage.join(EVERY_SECONDS)

    def _repeat(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                self.run_once()
            except Exception as error:  # a database that is away now may be back in a moment
                log.warning("upkeep_failed", error=str(error), recurs=True)

    def run_once(self) -> None:
        with self._database.begin() as session:
            rescued = rescue.rescue_expired(session, max_stalls=self._settings.max_stalls)
            expired = rescue.expire_waiting(session)
            roster.forget_lost(session)
        for job_id, state in rescued:
            log.warning("job_rescued", job=job_id, state=state)
            if state is State.QUEUED:
                self._notifier.job_queued(job_id)
        for job_id in expired:
            log.warning("job_waited_too_long", job=job_id)
        self._settle_chains()
        with self._database.read() as session:
            waiting = place.first(session)
            idle = waiting and any(worker.status is Status.IDLE for worker in roster.all_now(session))
        # One ring wakes one idle worker, which then takes all there is: no need to ring for every job. Where all are
        # busy for days, rings would pile up in the broker.
        if waiting and idle:
            self._notifier.job_queued(waiting)

    def _settle_chains(self) -> None:
        with self._database.read() as session:
            if not chains.is_due(session):
                return
        with self._database.begin() as session:
            settled = chains.settle(session)
        for job_id in settled.freed:
            self._notifier.job_queued(job_id)
        for job_id in settled.ended:
            log.warning("teacher_never_came", job=job_id)

    def _advance_repeatedly(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                self.advance_sweeps()
            except Exception as error:
                log.warning("sweeps_failed", error=str(error), recurs=True)

    def advance_sweeps(self) -> None:
        """End members that are not worth it, make those for which there is room, and end what is over."""
        with self._database.read() as session:
            sweeps = advance.running(session)
        for sweep_id in sweeps:
            try:
                for job_id in pruning.prune(self._database, sweep_id):
                    log.info("job_pruned", sweep=sweep_id, job=job_id)
                for job_id in advance.advance(self._database, self._settings.data_dir, sweep_id):
                    self._notifier.job_queued(job_id)
            except Exception as error:  # one that cannot go on holds up no other
                log.warning("sweep_failed", sweep=sweep_id, error=str(error), recurs=True)

    def _collect_repeatedly(self) -> None:
        seconds = GARBAGE_AFTER_SECONDS
        while not self._stop.wait(seconds):
            seconds = GARBAGE_EVERY_SECONDS
            try:
                if garbage.is_due(self._settings.data_dir, GARBAGE_EVERY_SECONDS / 2):
                    self.collect()
            except Exception as error:
                log.warning("garbage_collection_failed", error=str(error))

    def collect(self) -> None:
        """Delete what nobody needs, without haste."""
        found = garbage.collect(self._database, self._settings.data_dir, stop=self._stop)
        if found.files:
            log.info("garbage_collected", files=found.files, bytes=found.bytes)
        if found.unknown:
            log.warning(
                "folders_of_unknown_jobs", count=found.unknown, kept_in=str(self._settings.data_dir / layout.JOBS)
            )
        datasets.collect(self._database, self._settings.data_dir)
        # Last: where these take too long, files must go all the same.
        if cleared := purge.purge(self._database, self._stop):
            log.info("deleted_jobs_purged", jobs=cleared)
        while not self._stop.is_set():
            with self._database.begin() as session:
                if deliveries.forget_old(session) < deliveries.TOGETHER:
                    break
        scrub.scrub(self._database, self._settings.data_dir, stop=self._stop)
