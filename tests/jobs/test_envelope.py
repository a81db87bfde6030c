"""What a job has around its spec: refused where it makes no sense, and the same after it was in the database."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from jobs.envelope import Envelope
from jobs.job import envelope_of
from jobs.tables import Job


@pytest.mark.parametrize(
    "odd", ["a\x00b", "two\nlines", "half \ud83d pair", "\x9b2J", "exe.\u202egpj", "two\u2028lines", "a\U000e0041b"]
)
@pytest.mark.parametrize("where", ["name", "label key", "label"])
def test_text_that_no_database_or_terminal_can_hold_is_refused(where: str, odd: str) -> None:
    envelope = {
        "name": {"name": odd},
        "label key": {"labels": {odd: "x"}},
        "label": {"labels": {"x": odd}},
    }[where]

    with pytest.raises(ValidationError):
        Envelope.model_validate(envelope)


@pytest.mark.parametrize("priority", [-101, 101, 10**30, True, 1.0])
def test_a_priority_is_an_integer_with_bounds(priority: object) -> None:
    with pytest.raises(ValidationError):
        Envelope.model_validate({"priority": priority})


@pytest.mark.parametrize(("limits", "seconds"), [({}, 1_800), ({"max_stall_seconds": None}, None)])
def test_a_trainer_that_hangs_is_noticed_unless_somebody_wants_no_limit(limits: dict, seconds: float | None) -> None:
    assert Envelope.model_validate({"limits": limits}).limits.max_stall_seconds == seconds


def test_a_job_keeps_its_envelope(add: Callable[..., str], job: Callable[[str], Job]) -> None:
    limits = {"max_run_seconds": 60.5, "max_queue_seconds": None, "max_stall_seconds": 10.0}
    envelope = {"name": "первый", "labels": {"team": "vision"}, "priority": -7, "limits": limits, "keep_last": 3}

    kept = envelope_of(job(add(**envelope)))

    assert kept.model_dump() == envelope
