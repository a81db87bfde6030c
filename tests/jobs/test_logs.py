"""What operators read: whatever recurs is said once, and then counted."""

import structlog

from jobs.logs import AGAIN_SECONDS, Recurring


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
