"""A worker: who it is, what it works with, and whether it takes jobs."""

import threading
from dataclasses import dataclass, field

from jobs.database.engine import Sessions
from jobs.kinds import Kind
from jobs.settings import Settings
from jobs.workers.needs import Offer
from worker.child import HELPER
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
    helpers: Trainers = field(default_factory=lambda: Trainers(keep_one_warm=False, module=HELPER))
    unanswered: set[Kind] = field(default_factory=set)
    """Of these the database may have given it a job, and the answer was lost."""

    @property
    def is_leaving(self) -> bool:
        """It gives back the job it has."""
        return self.stopping.is_set() or self.draining.is_set()

    @property
    def trouble(self) -> str | None:
        """Why it takes no distillations at the moment, in a sentence."""
        return self.low_disk or self.trainers.trouble

    def children(self, kind: Kind) -> Trainers:
        """Who carries out work of this kind."""
        return self.helpers if kind is Kind.LIGHT else self.trainers

    def takes(self, kind: Kind = Kind.DISTILLATION) -> bool:
        """Whether it takes a job of this kind, if there is one."""
        return not self.is_leaving and self.low_disk is None and self.children(kind).trouble is None
