"""A view is a pure function of (seed, image, view number)."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd.views.plan import ENDLESS, ViewPlan, columns, parameters
from kd.views.randaugment import OPERATIONS
from tests.kd.test_randomness import plain_splitmix64
from tests.kd.views.plans import ANY_PLANS, EVERYTHING, EVERYTHING_BOXED, USUAL

PLANS = st.builds(ViewPlan, st.integers(0, 4), st.booleans(), st.integers(0, 2**63 - 1))
IMAGES = st.integers(0, 10**7)


@given(PLANS, IMAGES)
@settings(max_examples=60)
def test_the_views_of_an_image_are_every_crop_and_flip_exactly_once(plan, image):
    views = torch.arange(plan.count)

    shown = parameters(plan, torch.full_like(views, image), views)

    side = 2 * plan.crop_padding + 1
    wanted = {(top, left, flip) for top in range(side) for left in range(side) for flip in range(2 if plan.flip else 1)}
    assert len(wanted) == plan.count
    assert sorted(map(tuple, shown.tolist())) == sorted(wanted)


@given(PLANS, IMAGES, st.integers(0, 2**40), st.integers(1, 1000))
@settings(max_examples=60)
def test_after_the_last_view_they_repeat(plan, image, view, rounds):
    image_B, view_B = torch.tensor([image, image]), torch.tensor([view, view + rounds * plan.count])

    once, again = parameters(plan, image_B, view_B)

    assert torch.equal(once, again)


@given(PLANS, st.lists(st.tuples(IMAGES, st.integers(0, 10**6)), min_size=1, max_size=20))
@settings(max_examples=60)
def test_a_view_does_not_depend_on_its_neighbours_in_the_batch(plan, pairs):
    image_B, view_B = torch.tensor(pairs).unbind(dim=1)

    together = parameters(plan, image_B, view_B)
    alone = torch.cat([parameters(plan, image_B[[i]], view_B[[i]]) for i in range(len(pairs))])

    assert torch.equal(together, alone)
    assert torch.equal(together, parameters(plan, image_B, view_B))


def test_the_first_view_differs_between_images_and_uses_all_crops_evenly():
    plan = ViewPlan(2, True)
    image_B = torch.arange(50_000)

    shown = parameters(plan, image_B, torch.zeros_like(image_B))

    counts = torch.bincount(shown @ torch.tensor([10, 2, 1]), minlength=50)
    assert counts.min() > 850  # of 1000 expected, with a standard deviation of 31
    assert counts.max() < 1150


def test_images_go_through_their_views_in_orders_of_their_own():
    plan = ViewPlan(4, True)
    image_B, view_B = torch.arange(1000).repeat_interleave(2), torch.arange(2).repeat(1000)

    pairs = parameters(plan, image_B, view_B).reshape(1000, 6)

    assert len(pairs.unique(dim=0)) > 900


def test_every_other_view_is_mirrored():
    plan = ViewPlan(1, True)
    views = torch.arange(40)

    flip = parameters(plan, torch.full_like(views, 7), views)[:, 2]

    # 18 views are an even number, so the alternation goes on when they repeat.
    assert (flip[1:] != flip[:-1]).all()


def test_seeds_give_different_views():
    image_B = torch.arange(100)

    one, other = (parameters(ViewPlan(2, True, seed), image_B, torch.zeros_like(image_B)) for seed in (0, 1))

    assert not torch.equal(one, other)


@given(PLANS, IMAGES, st.integers(0, 10**6))
@settings(max_examples=60)
def test_a_view_can_be_worked_out_with_whole_numbers_alone(plan, image, view):
    mixed = plain_splitmix64(plain_splitmix64(image) ^ plan.seed)
    strides = [step for step in range(plan.count) if math.gcd(step, plan.count) == 1]
    start = (mixed >> 1) % plan.count
    stride = strides[(plain_splitmix64(mixed) >> 1) % len(strides)]
    crop, flip = divmod((start + stride * view) % plan.count, 2 if plan.flip else 1)

    shown = parameters(plan, torch.tensor([image]), torch.tensor([view]))

    assert shown.tolist() == [[*divmod(crop, 2 * plan.crop_padding + 1), flip]]


def test_label_tables_of_earlier_versions_stay_valid():
    image_B, view_B = torch.tensor([0, 0, 1, 59_999]), torch.tensor([0, 1, 0, 161])

    shown = parameters(ViewPlan(4, True), image_B, view_B)

    assert shown.tolist() == [[0, 6, 1], [5, 4, 0], [6, 0, 1], [4, 0, 0]]


@pytest.mark.parametrize("more", [{"strong": 1}, {"mixup": 0.2}, {"cutmix": 1.0}])
def test_views_that_are_strong_or_mixed_have_no_end_but_the_same_crops_as_plain_ones(more):
    plain = ViewPlan(2, True, 5)
    plan = replace(plain, **more)
    views = torch.arange(120)

    wide, narrow = (
        parameters(p, torch.full_like(views, 3), views, images=10, size=(8, 8)) for p in (plan, plan.plain())
    )

    assert plan.endless
    assert plan.count == ENDLESS
    assert plan.mixes == ("strong" not in more)
    assert plan.plain() == plain
    assert torch.equal(wide[:, :3], narrow)
    assert len(wide.unique(dim=0)) > plain.count


@given(ANY_PLANS, IMAGES, st.integers(0, 10**6))
@settings(max_examples=40)
def test_a_pair_is_a_plain_view_and_a_strong_one(plan, image, number):
    plan = replace(plan, strong=2, mixup=0.0, cutmix=0.0)
    image_B, view_B = torch.tensor([image, image]), torch.tensor([2 * number, 2 * number + 1])

    weak, strong = parameters(replace(plan, paired=True), image_B, view_B, size=(20, 30)).tolist()

    assert columns(replace(plan, paired=True)) == columns(plan)
    own = len(columns(plan.plain()))
    assert weak[:own] == parameters(plan.plain(), image_B[:1], torch.tensor([number]), size=(20, 30)).tolist()[0]
    assert weak[own:] == [OPERATIONS.index("identity"), 0] * 2
    assert [abs(magnitude) for magnitude in strong[own + 1 :: 2]] == [plan.magnitude] * 2


def test_in_pairs_both_kinds_go_through_every_crop_in_orders_that_do_not_know_of_each_other():
    plan = ViewPlan(2, True, strong=1, paired=True)
    view_B, images = torch.arange(2 * plan.crops), 200

    shown = parameters(plan, torch.arange(images).repeat_interleave(len(view_B)), view_B.repeat(images)).view(
        images, plan.crops, 2, -1
    )

    crop_NV2 = shown[..., :3] @ torch.tensor([10, 2, 1])
    assert all(len(set(of_kind)) == plan.crops for of_image in crop_NV2.mT.tolist() for of_kind in of_image)
    same = (crop_NV2[..., 0] == crop_NV2[..., 1]).double().mean()
    assert 0.01 < same < 0.03  # of 1/50 expected
    assert 0.45 < (shown[..., 0, 2] == shown[..., 1, 2]).double().mean() < 0.55


def test_tables_of_plans_keep_the_names_that_they_had_before_there_were_pairs_and_boxes():
    plan = ViewPlan(0, True, strong=1)

    assert plan.facts() == {
        "crop_padding": 0,
        "flip": True,
        "seed": 0,
        "strong": 1,
        "magnitude": 9,
        "mixup": 0.0,
        "cutmix": 0.0,
    }
    assert replace(plan, paired=True).facts() == plan.facts() | {"paired": True}
    boxed = {"resized_crop": {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3)}}
    assert replace(plan, resized_crop=USUAL).facts() == plan.facts() | boxed
    assert replace(plan, input_size=(6, 6)).facts() == plan.facts() | {"input_size": (6, 6)}


@given(ANY_PLANS, st.lists(st.tuples(IMAGES, st.integers(0, ENDLESS - 1)), min_size=1, max_size=9))
@settings(max_examples=40)
def test_parameters_do_not_depend_on_the_batch(plan, pairs):
    image_B, view_B = torch.tensor(pairs).unbind(dim=1)

    together = parameters(plan, image_B, view_B, images=10**7 + 1, size=(32, 24))
    alone = [parameters(plan, image_B[[i]], view_B[[i]], images=10**7 + 1, size=(32, 24)) for i in range(len(pairs))]

    assert together.dtype == torch.int64
    assert torch.equal(together, torch.cat(alone))


def test_the_columns_say_what_the_numbers_are():
    plan = ViewPlan(2, True, strong=1, magnitude=7, mixup=0.2)

    assert columns(plan.plain()) == ("top", "left", "flip")
    for boxed in ({"resized_crop": USUAL}, {"input_size": (6, 6)}):
        assert columns(replace(plan.plain(), crop_padding=0, **boxed)) == ("top", "left", "height", "width", "flip")
    assert columns(plan.unmixed()) == ("top", "left", "flip", "operation_1", "magnitude_1")
    assert columns(plan) == (
        *columns(plan.unmixed()),
        *("kind", "share", "box_top", "box_left", "box_bottom", "box_right", "partner"),
        *("partner_top", "partner_left", "partner_flip", "partner_operation_1", "partner_magnitude_1"),
    )


def test_strong_operations_are_drawn_evenly_and_with_both_signs():
    plan = ViewPlan(0, False, strong=2, magnitude=11)
    image_B = torch.arange(28_000)

    first, sign, second, _ = parameters(plan, image_B, torch.zeros_like(image_B))[:, 3:].unbind(dim=1)

    for operation in (first, second):
        counts = torch.bincount(operation, minlength=len(OPERATIONS))
        assert counts.min() > 1800  # of 2000 expected, with a standard deviation of 43
        assert counts.max() < 2200
    assert 1800 < ((first == second).sum()) < 2200  # neither knows of the other
    rotated = sign[first == OPERATIONS.index("rotate")]
    assert set(rotated.tolist()) == {-11, 11}
    assert abs(rotated.double().mean()) < 1.5
    assert set(sign[first == OPERATIONS.index("posterize")].tolist()) == {11}


def test_every_view_has_strong_operations_of_its_own():
    plan = ViewPlan(0, False, strong=2)
    views = torch.arange(10_000)

    shown = parameters(plan, torch.full_like(views, 3), views)

    counts = torch.bincount(shown[:, 3] * len(OPERATIONS) + shown[:, 5], minlength=len(OPERATIONS) ** 2)
    assert counts.min() > 20  # of 51 expected, with a standard deviation of 7
    assert counts.max() < 90


def test_a_partner_is_shown_in_its_own_view_of_the_same_number():
    image_B, view_B = torch.arange(500), torch.arange(500) * 7

    shown = parameters(EVERYTHING, image_B, view_B, images=500, size=(8, 8))

    own = len(columns(EVERYTHING.unmixed()))
    partner_B = shown[:, columns(EVERYTHING).index("partner")]
    assert torch.equal(shown[:, :own], parameters(EVERYTHING.unmixed(), image_B, view_B))
    assert torch.equal(shown[:, -own:], parameters(EVERYTHING.unmixed(), partner_B, view_B))


def test_every_view_has_a_box_of_its_own_and_every_other_one_is_mirrored():
    plan, views = ViewPlan(0, True, resized_crop=USUAL), torch.arange(200)

    shown = parameters(plan, torch.full_like(views, 3), views, size=(100, 120))

    assert plan.endless
    assert plan.count == ENDLESS
    assert len(shown[:, :4].unique(dim=0)) > 195
    assert (shown[1:, 4] != shown[:-1, 4]).all()


def test_where_models_see_another_size_every_view_is_the_middle_until_it_is_said_otherwise():
    plan, views = ViewPlan(0, True, input_size=(64, 64)), torch.arange(3)

    shown = parameters(plan, torch.full_like(views, 8), views, size=(73, 80))

    assert (plan.endless, plan.count) == (False, 2)
    assert shown[:, :4].tolist() == [[4, 8, 64, 64]] * 3
    assert sorted(shown[:2, 4].tolist()) == [0, 1]


def test_stored_boxes_stay_valid():
    image_B, view_B = torch.tensor([0, 1, 49_999]), torch.tensor([0, 5, 2**31 - 1])

    shown = parameters(replace(EVERYTHING_BOXED, strong=0), image_B, view_B, images=50_000, size=(256, 224))

    assert shown.tolist() == [
        [151, 32, 105, 111, 1, 2, 27746, 58, 57, 256, 224, 46391, 38, 0, 218, 212, 0],
        [78, 14, 169, 187, 0, 1, 65360, 21, 169, 21, 169, 34416, 12, 8, 234, 215, 0],
        [15, 50, 180, 170, 0, 2, 44560, 118, 0, 256, 133, 41481, 23, 39, 128, 138, 1],
    ]


def test_stored_parameters_of_earlier_versions_stay_valid():
    image_B, view_B = torch.tensor([0, 1, 49_999, 7]), torch.tensor([0, 5, 2**31 - 1, 3])

    shown = parameters(EVERYTHING, image_B, view_B, images=50_000, size=(32, 32))

    assert shown.tolist() == [
        [2, 3, 1, 9, 9, 11, 9, 2, 38656, 0, 17, 28, 32, 46391, 1, 2, 0, 7, -9, 6, 9],
        [4, 2, 0, 9, 9, 0, -9, 1, 65360, 24, 9, 24, 9, 34416, 4, 1, 0, 4, -9, 5, 9],
        [3, 1, 0, 0, -9, 2, -9, 2, 18944, 4, 6, 32, 32, 41481, 3, 3, 1, 7, -9, 10, 9],
        [2, 1, 1, 3, 9, 6, 9, 2, 64256, 0, 16, 4, 21, 27203, 0, 2, 0, 0, -9, 3, -9],
    ]
