"""The machine that walks over the queue, on databases of its own."""

import itertools
import shutil
from pathlib import Path

import pytest
from hypothesis.stateful import RuleBasedStateMachine
from sqlalchemy import text

from jobs.database.engine import Sessions, connect
from jobs.tables import Base

# The machine says what differs, as a test does.
pytest.register_assert_rewrite(*(f"tests.jobs.queue.{name}" for name in ("life", "model", "users", "workers")))


@pytest.fixture
def life(database_url: str, tmp_path: Path) -> type[RuleBasedStateMachine]:
    """The machine, with a database for each walk."""
    from tests.jobs.queue.life import Life

    if database_url.startswith("sqlite"):
        template, numbers = Path(database_url.removeprefix("sqlite:///")), itertools.count()

        def new_database() -> Sessions:
            path = tmp_path / f"walk-{next(numbers)}.db"
            shutil.copy(template, path)
            return Sessions(connect(f"sqlite:///{path}"))
    else:

        def new_database() -> Sessions:
            engine = connect(database_url)
            with engine.begin() as connection:
                connection.execute(text(f"TRUNCATE {', '.join(Base.metadata.tables)}"))
            return Sessions(engine)

    return type("LifeHere", (Life,), {"new_database": staticmethod(new_database)})
