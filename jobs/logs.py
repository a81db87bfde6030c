"""Logs for operators: one event name and its facts a line; JSON where a machine reads them.

Of an error the traceback, and never what its variables held: a request's headers are among them. What libraries log
goes the same way as what we do.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable
from io import StringIO
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor

from kd.printable import printed

# Libraries that set up logs of their own when they start.
TAKEN_OVER = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


AGAIN_SECONDS = 60.0


class Recurring:
    """What says `recurs=True` happens as often as somebody asks while something is away: it is said at once, and then
    once a minute, with how often it was not (`unsaid`)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._lock = clock, threading.Lock()
        self._said_at: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def __call__(self, _: object, __: str, facts: EventDict) -> EventDict:
        if not facts.pop("recurs", False):
            return facts
        event, now = facts["event"], self._clock()
        with self._lock:
            if event in self._said_at and now - self._said_at[event] < AGAIN_SECONDS:
                self._unsaid[event] = self._unsaid.get(event, 0) + 1
                raise structlog.DropEvent
            self._said_at[event] = now
            unsaid = self._unsaid.pop(event, 0)
        return {**facts, "unsaid": unsaid} if unsaid else facts


class Stderr(logging.Handler):
    """Whatever stderr is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


_HANDLER = Stderr()


def configure(level: str) -> None:
    """Write to stderr: in colour at a terminal, as JSON lines elsewhere. Every process of ours begins with it."""
    processors = _processors(at_terminal=sys.stderr.isatty())
    structlog.configure(
        processors=[Recurring(), *processors],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    *facts, render = processors
    _HANDLER.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *facts],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    if _HANDLER not in root.handlers:
        root.addHandler(_HANDLER)
    for name in TAKEN_OVER:
        logger = logging.getLogger(name)
        if logger.handlers:
            logger.handlers.clear()
            logger.propagate = True


def _processors(*, at_terminal: bool) -> list[Processor]:
    facts: list[Processor] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    if at_terminal:
        return [*facts, _steers_nothing, structlog.dev.ConsoleRenderer(exception_formatter=_traceback)]
    return [*facts, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=_as_text)]


def _steers_nothing(logger: Any, method: str, facts: EventDict) -> EventDict:
    """Names and messages of others, a receiver's answer say, are shown to the operator, not obeyed by the terminal."""
    return {name: printed(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}


def _traceback(out: TextIO, error: ExcInfo) -> None:
    text = StringIO()
    structlog.dev.plain_traceback(text, error)
    out.write(printed(text.getvalue()))


def _as_text(value: Any) -> str:
    return str(value)
