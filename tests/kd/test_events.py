"""What a run says: read as it was written, and what becomes of it."""

import math

import pytest

from kd import events
from kd.events import Evaluated, Failed, Message, Noted, Ready, RoundEnded, Step, Stopped

SAID = [
    Ready(),
    Step(phase="student", step=7, metrics={"loss": 0.5}, images_per_second=90.0),
    Evaluated(phase="teacher", step=8, epoch=1, split="validation", metrics={"top1": 0.9}),
    RoundEnded(step=9, round=1, rounds=2, guide="best", metrics={"kl": 0.1}),
    Noted(code="labels_reused", message="They were there."),
    Failed(code="diverged", message="The loss is not finite.", hint="Use a smaller rate.", retryable=False),
    Stopped(),
]


@pytest.mark.parametrize("event", SAID, ids=lambda event: event.event)
def test_an_event_is_read_as_it_was_written(event):
    assert events.parse(event.model_dump_json()) == event


def test_a_loss_that_is_no_number_survives_the_way():
    step = Step(phase="student", step=1, metrics={"loss": math.nan, "up": math.inf})

    assert '"NaN"' in step.model_dump_json()
    assert math.isnan(events.parse(step.model_dump_json()).metrics["loss"])


def test_points_of_curves_have_the_phase_in_their_names():
    points: dict[tuple[str, int], float] = {}
    for event in SAID:
        points |= event.points()

    assert points == {
        ("student.loss", 7): 0.5,
        ("student.images_per_second", 7): 90.0,
        ("teacher.validation.top1", 8): 0.9,
        ("round.kl", 9): 0.1,
    }


def test_what_users_are_told_is_decided_by_the_event_itself():
    told = {kind.model_fields["event"].default for kind in Message.__subclasses__() if kind.for_users}

    assert set(events.FOR_USERS) == told == {"started", "phase", "evaluated", "round", "noted", "finished"}
