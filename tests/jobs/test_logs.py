"""What operators read: whatever recurs is said once, and then counted; and nothing steers their terminal."""

from io import StringIO

import structlog

from jobs.logs import AGAIN_SECONDS, Recurring, _processors
from kd.printable import unprintable

HOSTILE = "\x1b]0;owned\x07\x9b31m\u202egpj.exe"


def test_what_recurs_is_said_at_once_and_then_counted():
    now = 0.0
    recurring = Recurring(clock=lambda: now)

    def said(event: str, **facts: object) -> dict | None:
        try:
            return recurring(None, "warning", {"event": event, **facts})
        except structlog.DropEvent:
            return None

    first = [said("away", error="x", recurs=True) for _ in range(3)]
    other = said("full", recurs=True)
    now = AGAIN_SECONDS
    later = [said("away", error="y", recurs=True) for _ in range(2)]

    assert first == [{"event": "away", "error": "x"}, None, None]
    assert other == {"event": "full"}
    assert later == [{"event": "away", "error": "y", "unsaid": 2}, None]
    assert [said("job_claimed", job=1) for _ in range(2)] == [{"event": "job_claimed", "job": 1}] * 2


def test_what_others_wrote_steers_no_operators_terminal() -> None:
    terminal = StringIO()
    # `configure` is for a whole process, of which there is one for all tests.
    log = structlog.wrap_logger(structlog.PrintLogger(terminal), processors=_processors(at_terminal=True))

    log.info(HOSTILE, error=HOSTILE, many=[HOSTILE])
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("failed")

    shown = terminal.getvalue()
    assert shown.count("\\u202egpj.exe") == 4
    # Its own colours are all that is left.
    assert {unprintable(line.replace("\x1b[", "")) for line in shown.split("\n")} == {None}
