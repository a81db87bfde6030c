"""Anything may happen in any order: dead workers, zombies, crashes, pauses, cancels, the same request twice.

Hypothesis walks over the real SQL on both databases, beside a model that is too simple to be wrong.
"""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test as walk

from tests.jobs.queue.walk import how_often


def test_no_job_is_lost_stolen_doubled_or_finished_twice(life):
    walk(life, settings=how_often(25))


@pytest.mark.slow
def test_nor_in_ten_thousand_deeds(life):
    walk(life, settings=settings(how_often(250), derandomize=False))
