"""A worker: who it is, what it works with, and whether it takes jobs."""

import threading
from dataclasses import dataclass, field

from jobs.database.engine import Sessions
from jobs.settings import Settings
from jobs.workers.needs import Offer
from worker.reserve import Trainers


@dataclass
class Worker:
    """Who supervises: a name for the leases, and what it works with."""

    name: str
    db: Sessions
    settings: Settings
    trainers: Trainers
    stopping: threading.Event
    offer: Offer
    draining: threading.Event = field(default_factory=threading.Event)
    low_disk: str | None = None  # what `jobs.files.quota` says of it
    unanswered: bool = False  # the database may have given it a job, and the answer was lost

    @property
    def is_leaving(self) -> bool:
        """It gives back the job it has."""
        return self.stopping.is_set() or self.draining.is_set()

    @property
    def trouble(self) -> str | None:
        """Why it takes no jobs at the moment, in a sentence."""
        return self.low_disk or self.trainers.trouble

    @property
    def takes_jobs(self) -> bool:
        return not self.is_leaving and self.trouble is None
