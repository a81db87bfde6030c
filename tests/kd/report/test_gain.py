"""How sure a gain is: against tables, against another library, and against what chance does."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from kd.report import gain, student_t
from kd.report.gain import Spread, images_to_decide, seeds_to_decide, variance_of_mean
from kd.report.verdict import decide

# Shapes: S = seeds, N = test images.


# -- Student's t ---------------------------------------------------------------------------------------------------

# As in the tables at the end of any textbook.
TABLE = [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (7, 2.365), (9, 2.262), (30, 2.042), (120, 1.980)]


@pytest.mark.parametrize(("freedom", "wanted"), TABLE)
def test_quantiles_are_those_of_the_tables(freedom, wanted):
    assert student_t.quantile(0.95, freedom) == pytest.approx(wanted, abs=6e-4)


@settings(max_examples=60)
@given(freedom=st.floats(1, 1e8), confidence=st.floats(0.5, 0.99))
def test_quantiles_are_those_of_scipy(freedom, confidence):

    assert student_t.quantile(confidence, freedom) == pytest.approx(
        stats.t.ppf((1 + confidence) / 2, freedom), rel=1e-6
    )


# -- the gain ------------------------------------------------------------------------------------------------------


def hits(seeds: int, images: int, accuracy: float, seed: int = 0) -> Tensor:
    return torch.rand(seeds, images, generator=torch.Generator().manual_seed(seed)) < accuracy


def test_of_one_seed_only_images_on_which_the_two_differ_count():
    student_SN, control_SN = torch.ones(1, 400, dtype=torch.bool), torch.ones(1, 400, dtype=torch.bool)
    student_SN[0, :5], control_SN[0, 5:14] = False, False  # 14 of 400, by 4 more right

    found = gain.gain(student_SN, control_SN)

    assert found.mean == pytest.approx(4 / 400)
    assert found.standard_error == pytest.approx(math.sqrt(14) / 400)
    assert found.high - found.mean == pytest.approx(1.959964 * math.sqrt(14) / 400)
    assert (found.std, found.variances[0], found.code) == (None, None, "undecided")


def test_of_many_images_the_interval_is_student_s_paired_over_seeds():
    """Where the images add next to nothing: each seed of its own is what there is to be unsure of."""
    gains_S = [0.10, 0.13, 0.08, 0.16, 0.12]
    images = 100_000
    control_SN = torch.zeros(5, images, dtype=torch.bool)
    student_SN = torch.stack(
        [torch.rand(images, generator=torch.Generator().manual_seed(s)) < g for s, g in enumerate(gains_S)]
    )

    found = gain.gain(student_SN, control_SN)

    of_seeds_S = student_SN.double().mean(dim=1)
    error = of_seeds_S.std().item() / math.sqrt(5)
    assert found.std == pytest.approx(of_seeds_S.std().item())
    assert found.standard_error == pytest.approx(error, rel=1e-3)
    assert found.high - found.mean == pytest.approx(2.776 * error, rel=2e-3)
    theirs = stats.ttest_rel(of_seeds_S.numpy(), [0.0] * 5).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(theirs.low, rel=2e-3), pytest.approx(theirs.high, rel=2e-3))


def test_more_seeds_do_not_make_up_for_few_images():
    """All seeds gain on the same images: of other images nobody knows."""
    student_SN = hits(1, 100, 0.9).expand(30, 100)
    control_SN = hits(1, 100, 0.8, seed=1).expand(30, 100)

    found = gain.gain(student_SN, control_SN)

    difference_N = student_SN[0].double() - control_SN[0].double()
    assert found.std == pytest.approx(0, abs=1e-12)
    assert found.standard_error == pytest.approx(difference_N.std().item() / 10)
    assert found.variances[0] == pytest.approx(0, abs=1e-12)
    assert seeds_to_decide(found._replace(mean=found.standard_error / 2)) is None


def test_seeds_that_happen_to_gain_the_same_are_no_proof():
    """Two seeds, each right on one image more than its control, but each on another one."""
    student_SN, control_SN = torch.zeros(2, 50, dtype=torch.bool), torch.zeros(2, 50, dtype=torch.bool)
    student_SN[0, 0] = student_SN[1, 1] = True

    found = gain.gain(student_SN, control_SN)

    assert found.std == 0
    assert found.mean == pytest.approx(0.02)
    assert found.code == "undecided"


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Seeds and images are drawn anew a thousand times from a world whose gain is known."""
    seeds, images, truth, chance = 4, 300, 0.03, torch.Generator().manual_seed(7)
    covered, code_better, worlds = 0, 0, 1_000
    for _ in range(worlds):
        easy_1N = torch.rand(1, images, generator=chance) < 0.8  # both are right on these, but for a slip
        luck_S1 = truth + 0.008 * torch.randn(seeds, 1, generator=chance)
        student_SN = easy_1N | (torch.rand(seeds, images, generator=chance) < (luck_S1 / 0.2).clamp(0, 1))
        found = gain.gain(student_SN, easy_1N.expand(seeds, images))
        covered += found.low <= truth <= found.high
        code_better += found.code == "better"

    assert 0.93 <= covered / worlds <= 1
    assert code_better > 0.3 * worlds, "and it is not so wide that it never says anything"


def test_where_there_is_no_difference_it_says_so_but_for_one_in_twenty():
    chance, worlds = torch.Generator().manual_seed(3), 1_000
    wrong = 0
    for _ in range(worlds):
        student_SN, control_SN = (torch.rand(3, 200, generator=chance) < 0.9 for _ in range(2))
        wrong += gain.gain(student_SN, control_SN).code != "undecided"

    assert wrong / worlds < 0.065


@settings(max_examples=50)
@given(seeds=st.integers(1, 6), images=st.integers(1, 40), seed=st.integers(0, 1_000))
def test_the_gain_is_the_other_way_round_when_the_two_are_exchanged(seeds, images, seed):
    student_SN, control_SN = hits(seeds, images, 0.8, seed), hits(seeds, images, 0.6, seed + 1)

    there, back = gain.gain(student_SN, control_SN), gain.gain(control_SN, student_SN)

    assert there.mean == pytest.approx(-back.mean, abs=1e-12)
    assert (there.low, there.high) == (pytest.approx(-back.high, abs=1e-9), pytest.approx(-back.low, abs=1e-9))
    assert there.low <= there.mean <= there.high
    order_N = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    again = gain.gain(student_SN.flip(0)[:, order_N], control_SN.flip(0)[:, order_N])
    assert again.high == pytest.approx(there.high, abs=1e-9), "neither seeds nor images have an order"


@pytest.mark.parametrize("spread", [Spread(0.001, 0.0, 0.05), Spread(0.0, 0.05, 0.05), Spread(0.0001, 0.01, 0.05)])
def test_so_many_more_seeds_or_images_would_decide_it_and_one_fewer_would_not(spread):
    mean, seeds, images = 0.011, 3, 500
    variance, freedom = variance_of_mean(spread, seeds, images)
    half = student_t.quantile(0.95, freedom) * math.sqrt(variance)
    found = gain.Gain(mean, 0.01, math.sqrt(variance), mean - half, mean + half, seeds, images, spread)
    assert found.code == "undecided"

    def decides(seeds: int, images: int) -> bool:
        variance, freedom = variance_of_mean(spread, seeds, images)
        return mean > student_t.quantile(0.95, freedom) * math.sqrt(variance)

    more_seeds, more_images = seeds_to_decide(found), images_to_decide(found)
    assert more_seeds is not None or more_images is not None
    if more_seeds is not None:
        assert decides(more_seeds, images)
        assert not decides(more_seeds - 1, images)
    if more_images is not None:
        assert decides(seeds, more_images)
        assert not decides(seeds, more_images - 1)


# -- in words ------------------------------------------------------------------------------------------------------


def of(mean: float, error: float, *, seeds: int = 5) -> gain.Gain:
    spread = Spread(seeds * error**2, 0.0) if seeds > 1 else Spread(None, 1_000 * error**2)
    variance, freedom = variance_of_mean(spread, seeds, 1_000)
    half = student_t.quantile(0.95, freedom) * math.sqrt(variance)
    return gain.Gain(mean, error if seeds > 1 else None, error, mean - half, mean + half, seeds, 1_000, spread)


@pytest.mark.parametrize(
    ("found", "code", "words"),
    [
        (of(0.02, 0.003), "better", ["BETTER: the student beats the control by 2.00 points", "+1.17 to +2.83; 5 s"]),
        (of(-0.02, 0.003), "not_better", ["NOT BETTER: the student is worse than the control by 2.00 points"]),
        (of(0.005, 0.003), "undecided", ["UNDECIDED: student and control differ by 0.50", "about 10 seeds in all"]),
        (of(0.0005, 0.003), "undecided", ["694 seeds (a run has 32 at most)"]),
        (of(0.0, 0.003), "undecided", ["neither more seeds alone nor more test images alone"]),
        (of(0.02, 0.003, seeds=1), "better", ["one seed, 1,000 test images", "config.seeds trains more"]),
        (of(0.005, 0.003, seeds=1), "undecided", ["config.seeds", "so would about 1,383 test images"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_verdict_is_a_code_and_a_sentence_and_says_what_would_decide_it(found, code, words):
    verdict = decide({"control": found})

    assert verdict.code == code
    assert [word for word in words if word not in verdict.message] == [], verdict.message
    assert (verdict.to_decide != {}) == (code == "undecided" and found.mean != 0)


@pytest.mark.parametrize(
    ("over_it", "said"),
    [
        (0.01, "It beats label smoothing by 1.00 points"),
        (-0.01, "worse than label smoothing"),
        (0.001, "may be chance"),
    ],
)
def test_the_verdict_also_says_what_label_smoothing_does_without_a_teacher(over_it, said):
    verdict = decide({"control": of(0.02, 0.003), "label_smoothing": of(over_it, 0.001)})

    assert verdict.code == "better", "which is about the control"
    assert said in verdict.message


def test_without_a_control_there_is_no_verdict():
    assert decide({}) is None
