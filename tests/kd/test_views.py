"""A view is a pure function of (seed, image, view number), and shows what it says."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kd.splitmix import below, splitmix64
from kd.views import Viewer, ViewPlan, parameters

PLANS = st.builds(ViewPlan, st.integers(0, 4), st.booleans(), st.integers(0, 2**63 - 1))
IMAGES = st.integers(0, 10**7)


def pictures(count: int, channels: int, height: int, width: int) -> Tensor:
    shape = (count, channels, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@given(PLANS, IMAGES)
@settings(deadline=None, max_examples=60)
def test_the_views_of_an_image_are_every_crop_and_flip_exactly_once(plan, image):
    views = torch.arange(plan.count)

    shown = parameters(plan, torch.full_like(views, image), views)

    side = 2 * plan.crop_padding + 1
    wanted = {(top, left, flip) for top in range(side) for left in range(side) for flip in range(2 if plan.flip else 1)}
    assert len(wanted) == plan.count
    assert sorted(map(tuple, shown.tolist())) == sorted(wanted)


@given(PLANS, IMAGES, st.integers(0, 2**40), st.integers(1, 1000))
@settings(deadline=None, max_examples=60)
def test_after_the_last_view_they_repeat(plan, image, view, rounds):
    image_B, view_B = torch.tensor([image, image]), torch.tensor([view, view + rounds * plan.count])

    once, again = parameters(plan, image_B, view_B)

    assert torch.equal(once, again)


@given(PLANS, st.lists(st.tuples(IMAGES, st.integers(0, 10**6)), min_size=1, max_size=20))
@settings(deadline=None, max_examples=60)
def test_a_view_does_not_depend_on_its_neighbours_in_the_batch(plan, pairs):
    image_B, view_B = torch.tensor(pairs).unbind(dim=1)

    together = parameters(plan, image_B, view_B)
    alone = torch.cat([parameters(plan, image_B[[i]], view_B[[i]]) for i in range(len(pairs))])

    assert torch.equal(together, alone)
    assert torch.equal(together, parameters(plan, image_B, view_B))


def test_views_do_not_touch_the_hidden_random_state():
    before = torch.random.get_rng_state()

    Viewer(pictures(3, 1, 8, 8), ViewPlan(2, True), (0.5,), (0.5,), "cpu").show(torch.arange(3), torch.arange(3))

    assert torch.equal(torch.random.get_rng_state(), before)


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
@settings(deadline=None, max_examples=60)
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


def plain_splitmix64(state: int) -> int:
    """As published by S. Vigna, in unsigned numbers."""
    mixed = (state + 0x9E3779B97F4A7C15) % 2**64
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
    return mixed ^ mixed >> 31


@given(st.integers(-(2**63), 2**63 - 1))
def test_splitmix_over_tensors_is_the_published_one(state):
    assert splitmix64(torch.tensor([state])).item() % 2**64 == plain_splitmix64(state % 2**64)


def test_splitmix_gives_the_published_sequence():
    # The first outputs of the reference implementation, seeded with 1234567; its state grows by the increment.
    states = [1234567 + step * 0x9E3779B97F4A7C15 for step in range(3)]

    outputs = [plain_splitmix64(state) for state in states]

    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.integers(1, 10_000), st.integers(-(2**63), 2**63 - 1))
def test_mixed_bits_become_numbers_below_a_bound(bound, mixed):
    assert 0 <= below(bound, torch.tensor([mixed])).item() < bound


def naive_view(image: Tensor, padding: int, top: int, left: int, flip: int) -> Tensor:
    """Pad, crop and mirror one image in plain Python; uint8 [C, H, W]."""
    channels, height, width = image.shape
    shown = torch.zeros_like(image)
    for c in range(channels):
        for h in range(height):
            for w in range(width):
                y, x = h + top - padding, w + left - padding
                if 0 <= y < height and 0 <= x < width:
                    shown[c, h, width - 1 - w if flip else w] = image[c, y, x]
    return shown


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 9), (9, 4)])
@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("flip", [False, True])
def test_what_is_shown_is_what_a_plain_loop_would_show(channels, height, width, padding, flip):
    images = pictures(4, channels, height, width)
    mean, std = (0.5, 0.25, 0.125)[:channels], (0.3, 0.2, 0.1)[:channels]
    plan = ViewPlan(padding, flip)
    image_B, view_B = torch.tensor([3, 0, 0, 2, 1, 3]), torch.tensor([0, 1, 2, 3, 4, 5])

    shown = Viewer(images, plan, mean, std, "cpu").show(image_B, view_B)

    wanted = torch.stack(
        [
            naive_view(images[image], padding, *parameter)
            for image, parameter in zip(image_B, parameters(plan, image_B, view_B).tolist(), strict=True)
        ]
    )
    mean_C11, std_C11 = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
    assert torch.equal(shown, (wanted.float() / 255 - mean_C11) / std_C11)


def test_evaluation_sees_the_images_as_they_are():
    images = pictures(5, 3, 6, 7)
    viewer = Viewer(images, ViewPlan(2, True), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), "cpu")

    shown = viewer.plain(torch.tensor([4, 1]))

    mean_C11, std_C11 = torch.tensor([0.1, 0.2, 0.3])[:, None, None], torch.tensor([0.5, 0.6, 0.7])[:, None, None]
    assert torch.equal(shown, (images[[4, 1]].float() / 255 - mean_C11) / std_C11)
    assert len(viewer) == 5


def test_the_plain_image_is_one_of_the_views_bit_for_bit():
    viewer = Viewer(pictures(1, 3, 8, 8), ViewPlan(2, True), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "cpu")
    views = torch.arange(viewer.plan.count)

    shown = viewer.show(torch.zeros_like(views), views)

    assert (shown == viewer.plain(torch.tensor([0]))).all(dim=(1, 2, 3)).sum() == 1


def test_a_view_can_be_shown_again_bit_for_bit():
    images = pictures(6, 3, 8, 8)
    image_B, view_B = torch.tensor([5, 2, 2]), torch.tensor([17, 0, 99])

    once, again = (
        Viewer(images, ViewPlan(4, True), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "cpu").show(image_B, view_B) for _ in "ab"
    )
    backwards = Viewer(images, ViewPlan(4, True), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "cpu").show(
        image_B.flip(0), view_B.flip(0)
    )

    assert torch.equal(once, again)
    assert torch.equal(once, backwards.flip(0))


def test_batches_come_in_the_layout_that_convolutions_like():
    viewer = Viewer(pictures(4, 3, 8, 9), ViewPlan(1, True), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "cpu")

    for batch in (viewer.show(torch.arange(4), torch.arange(4)), viewer.plain(torch.arange(4))):
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert batch.dtype == torch.float32


@pytest.mark.gpu
def test_a_gpu_shows_what_a_cpu_shows_and_never_makes_it_wait():
    images = pictures(50, 3, 32, 32)
    plan, mean, std = ViewPlan(4, True), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    image_B, view_B = torch.arange(50), torch.arange(50) * 3
    on_gpu = Viewer(images, plan, mean, std, "cuda")
    there_B, there_view_B = image_B.cuda(), view_B.cuda()
    on_gpu.show(there_B, there_view_B)  # the strides travel once

    torch.cuda.set_sync_debug_mode("error")
    try:
        shown, plain = on_gpu.show(there_B, there_view_B), on_gpu.plain(there_B)
    finally:
        torch.cuda.set_sync_debug_mode("default")

    on_cpu = Viewer(images, plan, mean, std, "cpu")
    torch.testing.assert_close(shown.cpu(), on_cpu.show(image_B, view_B), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(plain.cpu(), on_cpu.plain(image_B), atol=1e-6, rtol=1e-6)
