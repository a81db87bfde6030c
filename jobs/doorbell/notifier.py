"""'There is work': rings Celery when a broker is set, otherwise does nothing.

Whoever rings neither waits nor hears of trouble: a doorbell may get lost, workers look by themselves too.
"""

import contextlib
import queue
import threading

import structlog

log = structlog.get_logger()

WAITING_RINGS = 1_000


class Notifier:
    def __init__(self, broker_url: str | None):
        self._rings: queue.Queue[str | None] = queue.Queue(WAITING_RINGS)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        if broker_url:
            self._thread = threading.Thread(target=self._ring_forever, args=(broker_url,), name="doorbell", daemon=True)
            self._thread.start()

    def job_queued(self, job_id: str) -> None:
        """Ring for this job, soon. Returns at once and never raises; call it after the commit."""
        if self._thread is not None:
            self._put(job_id)

    def close(self, timeout_seconds: float = 1) -> None:
        """Let waiting rings out, but do not wait long for a broker that hangs."""
        if self._thread is not None:
            self._closing.set()
            self._put(None)  # wakes the thread if it waits; if there is no room, it does not wait
            self._thread.join(timeout_seconds)

    def _put(self, ring: str | None) -> None:
        with contextlib.suppress(queue.Full):  # the broker is in trouble, and that is logged where it shows
            self._rings.put_nowait(ring)

    def _ring_forever(self, broker_url: str) -> None:
        # Imported here: the import takes a while, and nobody needs it without a broker.
        from jobs.doorbell.celery import TASK, make_celery

        app = make_celery(broker_url)
        while not (self._closing.is_set() and self._rings.empty()):
            job_id = self._rings.get()
            if job_id is None:
                continue
            try:
                app.send_task(TASK, args=[job_id], ignore_result=True, retry=False)
            except Exception as error:  # whatever a broken broker raises, the database still has the job
                log.warning("doorbell_lost", job=job_id, error=str(error), also_lost=self._drop_the_waiting())
        app.close()

    def _drop_the_waiting(self) -> int:
        """After a failure the rest would fail as slowly; by the time the broker is back it is old news."""
        dropped = 0
        with contextlib.suppress(queue.Empty):
            while True:
                self._rings.get_nowait()
                dropped += 1
        return dropped
