"""How labelling gets on: what is said of it, and how often what is written is made safe."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kd.events import MadeSafe, Step
from kd.labels import table
from kd.labels.table import Kept, Table
from kd.training.logbook import Logbook
from kd.training.run import Run

# A kill loses at most this much labelling.
CHUNK_SECONDS = 2.0
CHUNK_BATCHES = 64


@dataclass(frozen=True)
class Share:
    """Which part of all that a run's teachers label a table is. A single teacher's is the whole."""

    number: int = 0
    tables: int = 1

    def of_all(self, share: float) -> float:
        """The share of all labels, when so much of this table is done."""
        return (self.number + share) / self.tables


WHOLE = Share()


def with_steps(
    log: Logbook, written: Iterator[int | MadeSafe], *, start: int = 0, before: int = 0, planned: int
) -> Iterator[Step | MadeSafe]:
    """Say how labelling goes. Of the run's `planned` labels, `before` belong to earlier tables."""
    log.begin_counting()
    # What an attempt finds done is no speed of this one: counting begins at `start`.
    reported, now = start, start
    for news in written:
        if isinstance(news, MadeSafe):
            yield news
            continue
        now = news
        if log.is_time_to_report or log.is_asked_to_save:
            yield log.step("labelling", (before + now) / planned, now - reported, {})
            log.begin_counting()
            reported = now
    if now > reported:
        yield log.step("labelling", (before + now) / planned, now - reported, {})


def with_saves(
    run: Run, log: Logbook, path: Path, table_NVC: Table, kept: Kept | None, written: Iterator[int], part: Share
) -> Iterator[int | MadeSafe]:
    """Make what is written safe, every few seconds, and say so. Of a team its leader does, who has `kept`."""
    began = time.monotonic()
    for number, now in enumerate(written, 1):
        # In a team, where no clock is the same for all, by count.
        alone = run.team.size == 1
        due = time.monotonic() - began >= CHUNK_SECONDS or log.is_asked_to_save
        if due if alone else number % CHUNK_BATCHES == 0:
            # A count may only name labels that are in the file, also those of the others.
            run.team.wait()
            if kept is not None:
                table.keep(path, table_NVC, kept, now)
                images, views, _ = table_NVC.shape
                log.progress.done("labelling", part.of_all(now / (images * views)))
                yield MadeSafe(count=now, fraction=log.progress.fraction)
            began = time.monotonic()
        yield now
