"""The doorbell: Celery tells a waiting worker that there is work, at once. `celery -A worker.celery_app worker`

The database stays the queue. A ring that is lost, doubled or late costs nothing, since the worker also polls.
"""

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import structlog
from celery import bootsteps, signals
from celery.worker import consumer as celery_consumer
from kombu.asynchronous import get_event_loop, set_event_loop

from jobs import logs
from jobs.database.engine import UNREACHABLE
from jobs.doorbell import celery
from jobs.kinds import Kind
from jobs.settings import Settings
from jobs.signals import suspend_between_writes, trigger_for
from kd.machine import open_files
from worker.attempt import supervise
from worker.heartbeat import at_work
from worker.loop import light_work, make_worker, work
from worker.worker import Worker

log = structlog.get_logger()

settings = Settings()
if settings.broker is None:
    raise SystemExit("Set STILLHOUSE_BROKER_URL, as in redis://localhost:6379/0. Without a broker, use `kd work`.")
logs.configure(settings.log_level)
app = celery.make_celery(settings.broker)

# One distillation at a time in this process, whether the doorbell or the poll found it.
slot = threading.Lock()
worker: Worker | None = None
ask_to_stop: Callable[[], None] | None = None
on_duty = ExitStack()
gave_all_back = threading.Event()  # no job in hand, and none to come

# With a doorbell, polling is the second line: it finds the jobs whose ring was lost.
POLL_SECONDS = 1.0
# How long after a connection to the broker has failed the next one is tried; Celery itself would try at once.
RECONNECT_SECONDS = 2.0
# How long Celery may take to end when all of our own work is done.
CELERY_LEAVES_SECONDS = 5.0


@app.task(name=celery.TASK)  # type: ignore[untyped-decorator]
def run_job(job_id: str) -> None:
    """Somebody queued a job: take the next one by priority, which need not be this one, until none waits."""
    assert worker is not None, "the worker process is set up before its first task"
    try:
        with slot:
            while worker.takes(Kind.DISTILLATION) and supervise(worker):
                pass
    except UNREACHABLE as error:  # the poll looks again
        log.warning("database_unreachable", error=str(error), recurs=True)
    finally:
        _listen_again()


def _listen_again() -> None:
    # Celery asks the broker for the next ring when its loop turns, and a task that ends in a thread does not turn it.
    loop = get_event_loop()
    if loop is not None:
        loop.call_soon(loop.call_later, 0.01, lambda: None)  # type: ignore[no-untyped-call]


class Reconnecting(bootsteps.StartStopStep):  # type: ignore[misc]
    """Between two connections to the broker, which may be there and answer whatever it is asked with an error."""

    def start(self, consumer: Any) -> None:
        # A connection that fails resets the loop, which `_listen_again` would then no longer find.
        set_event_loop(consumer.hub)

    def stop(self, consumer: Any) -> None:
        if consumer.blueprint.state == bootsteps.RUN and worker is not None:
            # What kombu has put there belongs to the connection that failed, and keeps all of it in memory.
            consumer.hub.on_tick.clear()
            worker.stopping.wait(RECONNECT_SECONDS)


app.steps["consumer"].add(Reconnecting)


class Consumer(celery_consumer.Consumer):  # type: ignore[misc]
    """Celery's own takes a machine that is out of files for a moment for the end of the worker."""

    class Blueprint(celery_consumer.Consumer.Blueprint):  # type: ignore[misc]
        def start(self, parent: Any) -> None:
            try:
                super().start(parent)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                raise ConnectionError(str(error)) from error  # it is tried again, like any that was lost


app.conf.worker_consumer = Consumer


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def leave_logs_as_they_are(**_: object) -> None:
    """Celery sets up its own where nobody does it instead."""


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def start_polling(**_: object) -> None:
    """Set this process up, once, when Celery starts it."""
    global worker, ask_to_stop
    open_files.raise_limit()
    worker = make_worker(settings)
    ask_to_stop = trigger_for(partial(_leave, worker))
    suspend_between_writes(worker.db)
    on_duty.enter_context(at_work(worker))
    on_duty.enter_context(light_work(worker, POLL_SECONDS))
    threading.Thread(target=_poll, args=(worker,), name="poll", daemon=True).start()


def _poll(worker: Worker) -> None:
    # Celery is about to install its signal handlers: until then a SIGTERM would end us with a job in hand.
    worker.stopping.wait(POLL_SECONDS)
    work(worker, POLL_SECONDS, slot)


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def stop(**_: object) -> None:
    """SIGTERM: the running job goes back to the queue from its last checkpoint."""
    if ask_to_stop is not None:
        ask_to_stop()


class Stopping(bootsteps.StartStopStep):  # type: ignore[misc]
    """The same where Celery ends without a signal: at a shutdown by remote control, at an error of its own."""

    def close(self, controller: Any) -> None:  # comes before Celery waits for the task that runs
        stop()


app.steps["worker"].add(Stopping)


def _leave(worker: Worker) -> None:
    worker.stopping.set()
    try:
        with slot:  # the job in hand is given back first
            worker.trainers.close()
            on_duty.close()
    finally:
        gave_all_back.set()
    # Celery takes leave of the broker and waits for its answers, at one that hangs for as long as it hangs.
    time.sleep(CELERY_LEAVES_SECONDS)
    with slot:  # (a job that was taken at the last moment)
        log.warning("broker_holds_us_up", worker=worker.name)
        os._exit(0)


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def leave(**_: object) -> None:
    if worker is not None:
        stop()
        gave_all_back.wait()
