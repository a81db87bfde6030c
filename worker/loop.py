"""The worker's loop: find the next queued job, supervise it, sleep, again.

It needs no broker. With one, Celery's doorbell starts the same work sooner; see `worker.celery_app`.
"""

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

from jobs import logs
from jobs.database import engine as database
from jobs.kinds import Kind
from jobs.queue import place
from jobs.settings import Settings
from jobs.signals import suspend_between_writes, trigger_for
from kd.machine import open_files
from kd.machine.child import Lifeline
from worker.attempt import supervise
from worker.heartbeat import at_work, offer_of
from worker.reserve import Trainers
from worker.worker import Worker

log = structlog.get_logger()


def make_worker(settings: Settings) -> Worker:
    """A worker with a name nobody else has."""
    sessions = database.Sessions(database.connect(settings.url))
    worker = Worker(
        name=f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}",
        db=sessions,
        settings=settings,
        trainers=Trainers(keep_one_warm=settings.standby),
        stopping=threading.Event(),
        offer=offer_of(settings),
    )
    log.info("worker_started", worker=worker.name, database=str(sessions.kw["bind"].url), data=str(settings.data_dir))
    return worker


def work(worker: Worker, poll_seconds: float, slot: threading.Lock, kind: Kind = Kind.DISTILLATION) -> None:
    """Run jobs of a kind until the worker is stopping. `slot` is held during a job: one at a time in this process."""
    while not worker.stopping.is_set():
        found = False
        try:
            waits = worker.takes(kind) and (kind in worker.unanswered or has_work(worker, kind))
            if waits and slot.acquire(blocking=False):
                try:
                    found = supervise(worker, kind)
                finally:
                    slot.release()
            if not found and not slot.locked():
                worker.children(kind).warm_up()
        except database.UNREACHABLE as error:
            log.warning("database_unreachable", error=str(error), recurs=True)
        except Exception:  # tables that are not there yet, say: this thread is all that looks for work
            log.exception("looking_for_work_failed", recurs=True)
        if not found:
            worker.stopping.wait(poll_seconds)


@contextmanager
def light_work(worker: Worker, poll_seconds: float) -> Iterator[None]:
    """Light work is done beside distillations for as long as the block lasts. Its end stops the worker."""
    slot = threading.Lock()
    thread = threading.Thread(target=work, args=(worker, poll_seconds, slot, Kind.LIGHT), name="light work")
    thread.start()
    try:
        yield
    finally:
        worker.stopping.set()
        thread.join()
        worker.helpers.close()


def has_work(worker: Worker, kind: Kind = Kind.DISTILLATION) -> bool:
    """Whether there is a job that this worker could take: cheaper to ask than to try to claim one."""
    with worker.db.read() as session:
        return place.first(session, worker.offer, kind) is not None


def main(arguments: list[str] | None = None) -> int:
    """Work until SIGTERM or SIGINT: then the running job goes back to the queue and the process ends."""
    parser = argparse.ArgumentParser(prog="python -m worker.loop", description=main.__doc__)
    parser.add_argument("--lifeline", action="store_true", help="end when stdin ends: whoever started us is gone")
    options = parser.parse_args(arguments)

    settings = Settings()
    logs.configure(settings.log_level)
    open_files.raise_limit()
    worker = make_worker(settings)
    ask_to_stop = trigger_for(worker.stopping.set)

    def stop(signum: int, frame: FrameType | None) -> None:
        ask_to_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    suspend_between_writes(worker.db)
    if options.lifeline:
        Lifeline(at_end=worker.stopping.set)

    try:
        with at_work(worker), light_work(worker, settings.poll_seconds):
            work(worker, settings.poll_seconds, threading.Lock())
    finally:
        worker.trainers.close()
    log.info("worker_stopped", worker=worker.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
