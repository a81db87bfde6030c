"""When a trainer counts as one that gets no further."""

from kd.events import Advanced, Noted, Waiting
from worker.limits import LONGEST_TURN_SECONDS, Silence

NOTED = Noted(code="x", message="something")


def after(silence: Silence, *, seconds: int, began: int = 0) -> float:
    """The silence after so many seconds in which the worker looked once a second."""
    for now in range(began, began + seconds + 1):
        silence.go_on(now)
    return silence.seconds


def test_silence_is_counted_until_the_trainer_says_anything():
    silence = Silence(0)

    assert after(silence, seconds=1_000) == 1_000
    for number, event in enumerate((Advanced(), NOTED, Waiting(count=0))):
        silence.hear(event)
        assert silence.seconds == 0
        assert after(silence, seconds=10, began=1_000 + 10 * number) == 10


def test_who_waits_for_another_run_gets_further_only_as_that_one_does():
    silence = Silence(0)
    for now in range(100):
        silence.go_on(now)
        silence.hear(Waiting(count=now // 50))

    assert silence.seconds == 49, "since the other run has kept its last label"
    silence.hear(Advanced())
    assert after(silence, seconds=5, began=99) == 5
    silence.hear(Waiting(count=1))
    assert silence.seconds == 5, "what it does besides is no progress of the other run"
    silence.hear(NOTED)
    silence.hear(Waiting(count=1))
    assert silence.seconds == 0, "it waits anew"


def test_a_worker_that_has_slept_does_not_take_its_own_silence_for_the_trainers():
    silence = Silence(0)

    silence.go_on(100_000)

    assert silence.seconds == LONGEST_TURN_SECONDS
