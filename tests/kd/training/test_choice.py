"""Which epoch is kept: the latest that cannot be told from the best."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from kd.training.resuming.position import Moment, Outcome, Position, from_plain, to_plain
from kd.training.validation import Choice, standard_error
from tests.kd.chosen import latest_within_an_error

BORN = Moment(0, {}, {"top1": -1.0, "nll": math.inf})


def scores(hits: int, images: int) -> dict[str, float]:
    return {"top1": hits / images, "nll": 1.0}


class Numbered(nn.Module):
    """A model that knows after which epoch it is."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("epoch", torch.zeros(()))


@pytest.mark.parametrize(
    ("accuracy", "images", "error"),
    [
        (0.5, 100, 0.5 / math.sqrt(101)),
        (0.84, 449, math.sqrt((377.66 / 450) * (72.34 / 450) / 450)),
        (1.0, 10, math.sqrt((10.5 / 11) * (0.5 / 11) / 11)),
        (0.0, 10, math.sqrt((10.5 / 11) * (0.5 / 11) / 11)),
    ],
)
def test_the_error_is_that_of_so_many_hits_and_half_a_hit_and_half_a_miss_more(accuracy, images, error):
    assert standard_error(accuracy, images) == pytest.approx(error, rel=1e-12)


COUNTED = st.integers(1, 600).flatmap(
    lambda images: st.tuples(st.just(images), st.lists(st.integers(0, images), min_size=1, max_size=40))
)
"""Images, and how many of them were hit after each epoch."""


@given(COUNTED)
@example((450, [376, 378, 373]))  # within an error of the highest, 1.7 points
@example((450, [376, 378, 369]))  # and not
@example((10, [10, 9]))
def test_an_epoch_at_a_time_it_comes_to_what_is_the_latest_within_an_error_of_the_highest(counted):
    images, hits = counted
    choice, model = Choice(BORN, None, images=images), Numbered()

    for epoch, count in enumerate(hits, 1):
        model.epoch.fill_(epoch)
        is_best = choice.weigh(epoch, model, scores(count, images))
        assert is_best == (choice.best.epoch == epoch)
        if epoch % 3 == 0:  # somebody else goes on with it
            kept = Position(outcomes={"student": Outcome(choice.best, {}, epoch, record=choice.record)})
            outcome = from_plain(to_plain(kept)).outcomes["student"]
            choice = Choice(outcome.best, outcome.record, images=images)

    assert choice.best.epoch == 1 + latest_within_an_error([count / images for count in hits], images)
    assert choice.best.weights["epoch"] == choice.best.epoch, "what is kept is a copy"
    assert choice.record.epoch == 1 + hits.index(max(hits)), "of equals the first"


def test_of_what_an_earlier_version_saved_the_best_epoch_has_the_record():
    best = Moment(7, {}, scores(80, 100))

    choice = Choice(best, None, images=100)

    assert (choice.record.epoch, choice.record.scores) == (7, best.scores)
    assert not choice.weigh(8, Numbered(), scores(75, 100)), "an error is 4 of these images"
    assert choice.weigh(9, Numbered(), scores(77, 100))
