"""The queue and what the model knows of it, as each walk begins; users, workers and time do their deeds to both."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize

from jobs.database.engine import Sessions
from jobs.states import FINAL
from tests.jobs.queue.model import Known

TTL = timedelta(seconds=30)
FEW = 2  # jobs at a time that have not ended, so that deeds meet in one
QUEUE_SECONDS = 20.0  # between the steps in which time passes

JOBS, CLAIMS = Bundle("jobs"), Bundle("claims")


class World(RuleBasedStateMachine):
    new_database: Callable[[], Sessions]

    @initialize()
    def begin(self) -> None:
        self.db = self.new_database()
        self.now = datetime(2026, 1, 15, 12, tzinfo=UTC)
        self.known: dict[str, Known] = {}
        self.keys: dict[str, str] = {}
        self.numbers = itertools.count()
        self.gone: set[str] = set()

    @property
    def alive(self) -> int:
        return sum(known.state not in FINAL for known in self.known.values())
