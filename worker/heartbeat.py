"""A worker's heartbeat: it says that it is there and what it offers, and hears when it is to take no more jobs."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import structlog

from jobs.database.engine import UNREACHABLE
from jobs.doorbell.notifier import Notifier
from jobs.files import quota
from jobs.settings import Settings
from jobs.upkeep import Upkeep
from jobs.workers import roster
from jobs.workers.needs import Offer
from kd.machine import cgroups
from kd.version import VERSION
from worker.gpus import usable_gpus
from worker.worker import Worker

log = structlog.get_logger()

# At most, so that `jobs.workers.roster.LOST_AFTER` is several beats whatever the leases' heartbeat is.
BEAT_SECONDS = 4.0


def offer_of(settings: Settings) -> Offer:
    """What this process has to offer its trainers."""
    names, trouble = usable_gpus()
    if trouble is not None:
        log.warning("gpus_unusable", usable=len(names), trouble=trouble)
    memory = min([psutil.virtual_memory().total, *(limit for limit, _ in cgroups.memory())])
    return Offer(gpus=len(names), memory_bytes=settings.trainer_memory_bytes or memory, gpu_names=names)


@contextmanager
def at_work(worker: Worker) -> Iterator[None]:
    """For as long as the block lasts the worker is listed, with a heartbeat, and does its share of the upkeep."""
    notifier = Notifier(worker.settings.broker)
    upkeep = Upkeep(worker.db, notifier, worker.settings)
    heartbeat = Heartbeat(worker)
    heartbeat.start()
    upkeep.start()
    try:
        yield
    finally:
        upkeep.close()
        heartbeat.close()
        notifier.close()


class Heartbeat:
    """In a thread of its own: a worker that trains for days is there all the time."""

    def __init__(self, worker: Worker):
        self._worker = worker
        self._me = roster.Self(worker.name, socket.gethostname(), os.getpid(), VERSION, worker.offer)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._look_at_the_disk()  # before the first job is taken
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join(2 * BEAT_SECONDS)

    def _repeat(self) -> None:
        while not self._over.is_set():
            try:
                self.beat()
            except Exception as error:  # a database that is away now may be back in a moment
                log.warning("heartbeat_failed", error=str(error), recurs=True)
            self._over.wait(min(self._worker.settings.heartbeat_seconds, BEAT_SECONDS))
        # Here, where no beat can come after it, and list us once more.
        with suppress(*UNREACHABLE), self._worker.db.begin() as session:
            roster.leave(session, self._me.name)

    def beat(self) -> None:
        """One heartbeat."""
        worker = self._worker
        self._look_at_the_disk()
        with worker.db.begin() as session:
            drain = roster.beat(session, self._me, trouble=worker.trouble)
        if drain and not worker.draining.is_set():
            log.info("worker_draining", worker=worker.name)
            worker.draining.set()
        elif worker.draining.is_set() and not drain:
            log.info("worker_undrained", worker=worker.name)
            worker.draining.clear()

    def _look_at_the_disk(self) -> None:
        """A worker whose disk is low takes no job until there is room again."""
        worker, low_disk = self._worker, quota.trouble(self._worker.settings)
        if low_disk is not None and worker.low_disk is None:
            log.warning("worker_in_trouble", worker=worker.name, trouble=low_disk)
        elif low_disk is None and worker.low_disk is not None:
            log.info("worker_out_of_trouble", worker=worker.name)
        worker.low_disk = low_disk
