"""The same student and control again from other seeds, so that a gain can be told from luck."""

from collections.abc import Iterator
from dataclasses import replace

from kd.events import Event, OfRepetition, Saved
from kd.training.logbook import Logbook
from kd.training.run import Run


def each_seed(run: Run, log: Logbook) -> Iterator[Run]:
    """The run as each of its seeds has it, from that one on at which it stands.

    Teacher, labels and views are those of the whole run; first weights, batch order and dropout are the seed's own. So
    whoever runs that seed alone, under the same teacher, gets the same student.
    """
    for number in range(log.position.repetition, run.config.seeds):
        log.begin_repetition(number)
        yield replace(run, config=run.config.model_copy(update={"seed": run.config.seed + number}))


def numbered(log: Logbook, events: Iterator[Event]) -> Iterator[Event]:
    """The events of a repetition, with its number, where there are several."""
    if log.repetitions == 1:
        yield from events
        return
    for event in events:
        number = log.position.repetition + 1
        if isinstance(event, OfRepetition):
            yield event.model_copy(update={"repetition": number, "repetitions": log.repetitions})
        elif isinstance(event, Saved) and event.student is not None:
            yield event.model_copy(update={"metrics": event.metrics | {"repetition": number}})
        else:
            yield event
