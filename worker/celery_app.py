"""The doorbell: Celery tells a waiting worker that there is work, at once. `celery -A worker.celery_app worker`

The database stays the queue. A ring that is lost, doubled or late costs nothing, since the worker also polls.
"""

import threading

from celery import signals

from jobs import broker, logs
from jobs.settings import Settings
from worker.loop import make_worker, work
from worker.supervisor import Worker, supervise

settings = Settings()
app = broker.make_celery(settings.broker_url)

# One job at a time in this process, whether the doorbell or the poll found it.
slot = threading.Lock()
worker: Worker | None = None

# With a doorbell, polling is the second line: it finds the jobs whose ring was lost.
POLL_SECONDS = 1.0


@app.task(name=broker.RUN_JOB)
def run_job(job_id: str) -> None:
    """Somebody queued a job: take the next one by priority, which need not be this one, until none waits."""
    assert worker is not None, "the worker process is set up before its first task"
    with slot:
        while not worker.stopping.is_set() and supervise(worker):
            pass


@signals.worker_init.connect
def start_polling(**_: object) -> None:
    """Set this process up, once, when Celery starts it."""
    global worker
    logs.configure(settings.log_level)
    worker = make_worker(settings)
    threading.Thread(target=work, args=(worker, POLL_SECONDS, slot), name="poll", daemon=True).start()


@signals.worker_shutting_down.connect
def stop(**_: object) -> None:
    """SIGTERM: the running job goes back to the queue from its last checkpoint."""
    if worker is not None:
        worker.stopping.set()


@signals.worker_shutdown.connect
def leave(**_: object) -> None:
    if worker is not None:
        with slot:  # the poll thread may still be giving its job back
            worker.trainers.close()
