"""A view shows what its integers say, bit for bit, on any device."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kd.views.pixels import Resident, Streamed
from kd.views.plan import ENDLESS, ViewPlan, columns, parameters
from kd.views.resize import resize
from kd.views.viewer import Viewer
from tests.kd.views.noise import pictures
from tests.kd.views.plans import ANY_PLANS, EVERYTHING, EVERYTHING_BOXED, SMALLER

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


def viewer(
    images: Tensor, plan: ViewPlan, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD, device: str = "cpu"
) -> Viewer:
    channels = images.shape[1]
    return Viewer(Resident(images, plan.crop_padding, device), plan, mean[:channels], std[:channels])


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

    shown = viewer(images, plan, mean, std).show(image_B, view_B)

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
    split = viewer(images, EVERYTHING, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))

    shown = split.plain(torch.tensor([4, 1]))

    mean_C11, std_C11 = torch.tensor([0.1, 0.2, 0.3])[:, None, None], torch.tensor([0.5, 0.6, 0.7])[:, None, None]
    assert torch.equal(shown, (images[[4, 1]].float() / 255 - mean_C11) / std_C11)
    assert len(split) == 5


def test_views_do_not_touch_the_hidden_random_state():
    before = torch.random.get_rng_state()

    viewer(pictures(3, 1, 8, 8), EVERYTHING).show(torch.arange(3), torch.arange(3))

    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_plain_image_is_one_of_the_views_bit_for_bit():
    split = viewer(pictures(1, 3, 8, 8), ViewPlan(2, True))
    views = torch.arange(split.plan.count)

    shown = split.show(torch.zeros_like(views), views)

    assert (shown == split.plain(torch.tensor([0]))).all(dim=(1, 2, 3)).sum() == 1


def test_a_view_can_be_shown_again_bit_for_bit():
    images = pictures(6, 3, 8, 8)
    image_B, view_B = torch.tensor([5, 2, 2]), torch.tensor([17, 0, 99])

    once, again = (viewer(images, ViewPlan(4, True)).show(image_B, view_B) for _ in "ab")
    backwards = viewer(images, ViewPlan(4, True)).show(image_B.flip(0), view_B.flip(0))

    assert torch.equal(once, again)
    assert torch.equal(once, backwards.flip(0))


@pytest.mark.parametrize("plan", [ViewPlan(1, True), EVERYTHING, EVERYTHING_BOXED, SMALLER])
def test_batches_come_in_the_layout_that_convolutions_like(plan):
    split = viewer(pictures(4, 3, 8, 9), plan)

    for batch in (split.show(torch.arange(4), torch.arange(4)), split.plain(torch.arange(4))):
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert batch.dtype == torch.float32


def test_pixels_may_be_padded_more_than_a_plan_wants_but_not_less():
    images, plan = pictures(5, 3, 8, 9), ViewPlan(1, True)
    image_B, view_B = torch.arange(5), torch.arange(5)

    roomy = Viewer(Resident(images, 3, "cpu"), plan, MEAN, STD)

    assert torch.equal(roomy.show(image_B, view_B), viewer(images, plan).show(image_B, view_B))
    assert torch.equal(roomy.plain(image_B), viewer(images, plan).plain(image_B))
    with pytest.raises(AssertionError):
        roomy.with_plan(ViewPlan(4, True))


@pytest.mark.parametrize("plan", [ViewPlan(2, True), EVERYTHING, EVERYTHING_BOXED, SMALLER])
def test_where_the_images_are_kept_makes_no_difference(plan):
    images = pictures(9, 3, 8, 8)
    image_B, view_B = torch.tensor([8, 0, 3, 3]), torch.tensor([0, 1, 2, 3])

    streamed = Viewer(Streamed(images, 2, "cpu"), plan, MEAN, STD)

    assert torch.equal(streamed.show(image_B, view_B), viewer(images, plan).show(image_B, view_B))
    assert torch.equal(streamed.plain(image_B), viewer(images, plan).plain(image_B))


@pytest.mark.parametrize("plan", [EVERYTHING_BOXED, replace(EVERYTHING_BOXED, input_size=(8, 9))])
def test_boxes_leave_the_whole_images_to_evaluation(plan):
    images = pictures(5, 3, 8, 9)

    shown = viewer(images, plan).plain(torch.arange(5))

    assert torch.equal(shown, viewer(images, ViewPlan(0, False)).plain(torch.arange(5)))


@pytest.mark.parametrize(
    ("side", "top", "left", "seen"),
    [
        (8, 0, 1, 8),  # of an image of at most 1.15 times that the middle, to the pixel
        (5, 0, 1, 8),  # of a larger one the middle 1 / 1.15, resized
        (12, 0, 1, 9),  # of a smaller one all that a square holds
    ],
)
def test_where_models_see_another_size_evaluation_shows_the_middle_at_that_size(side, top, left, seen):
    images, image_B = pictures(4, 3, 9, 11), torch.tensor([3, 0])
    images_BHWC = images[image_B].permute(0, 2, 3, 1)
    plan = ViewPlan(0, True, input_size=(side, side))

    split = viewer(images, plan, (0.0,) * 3, (1 / 255,) * 3)
    shown, views = split.plain(image_B), split.show(image_B, torch.tensor([0, 1]))

    box_B4 = torch.tensor([[top, left, seen, seen]] * 2)
    wanted = resize(images_BHWC, torch.arange(2), box_B4, (side, side)).permute(0, 3, 1, 2)
    assert split.shape == (3, side, side)
    assert torch.equal(shown.round().byte(), wanted)
    if seen == side:
        assert torch.equal(wanted, images[image_B][:, :, top : top + side, left : left + side])
    assert all(torch.equal(view, own) or torch.equal(view, own.flip(2)) for view, own in zip(views, shown, strict=True))


def test_crop_and_flip_alone_make_exactly_162_views_of_a_padding_of_four():
    images = pictures(2, 3, 8, 8)
    plan = ViewPlan(4, True)

    shown = viewer(images, plan).show(torch.zeros(plan.count, dtype=torch.int64), torch.arange(plan.count))

    assert plan.count == 162
    assert not plan.endless
    assert len(shown.flatten(1).unique(dim=0)) == 162


@given(ANY_PLANS, st.lists(st.tuples(st.integers(0, 6), st.integers(0, ENDLESS - 1)), min_size=1, max_size=6))
@settings(max_examples=40)
def test_a_view_is_shown_again_from_its_integers_on_disk_whoever_is_in_the_batch(tmp_path_factory, plan, pairs):
    images = pictures(7, 3, 8, 8)
    image_B, view_B = torch.tensor(pairs).unbind(dim=1)
    shown = viewer(images, plan).show(image_B, view_B)
    path = tmp_path_factory.mktemp("views") / "parameters.npy"
    np.save(path, viewer(images, plan).parameters(image_B, view_B).to(torch.int32).numpy())

    later = viewer(images, plan)
    stored = torch.from_numpy(np.load(path))

    assert stored.shape == (len(pairs), len(columns(plan)))
    assert torch.equal(later.replay(image_B, stored), shown)
    for i in range(len(pairs)):
        assert torch.equal(later.replay(image_B[[i]], stored[[i]]), shown[[i]])


@pytest.mark.parametrize("plan", [EVERYTHING, EVERYTHING_BOXED])
def test_nothing_shown_depends_on_what_the_numbers_are(plan):
    # On the meta device tensors have shapes but no content: whoever needs a number from there fails.
    split = viewer(pictures(6, 3, 8, 8), plan, device="meta")
    image_B = torch.arange(6)

    view_BP = split.parameters(image_B, image_B)
    mix = split.mix(view_BP)

    assert split.replay(image_B, view_BP).shape == (6, 3, 8, 8)
    assert split.plain(image_B).shape == (6, 3, 8, 8)
    assert mix is not None
    assert mix.share_B.device.type == "meta"


@pytest.mark.parametrize(
    "plan",
    [ViewPlan(4, True), replace(EVERYTHING, crop_padding=4), EVERYTHING_BOXED, replace(SMALLER, input_size=(20, 20))],
)
@pytest.mark.gpu
def test_a_gpu_shows_what_a_cpu_shows_and_never_makes_it_wait(plan):
    images = pictures(50, 3, 32, 32)
    image_B, view_B = torch.arange(50), torch.arange(50) * 3
    on_gpu = viewer(images, plan, device="cuda")
    there_B, there_view_B = image_B.cuda(), view_B.cuda()
    on_gpu.show(there_B, there_view_B)  # the tables travel once

    torch.cuda.set_sync_debug_mode("error")
    try:
        shown, plain = on_gpu.show(there_B, there_view_B), on_gpu.plain(there_B)
    finally:
        torch.cuda.set_sync_debug_mode("default")

    on_cpu = viewer(images, plan)
    assert torch.equal(on_gpu.parameters(image_B, view_B).cpu(), on_cpu.parameters(image_B, view_B))
    torch.testing.assert_close(shown.cpu(), on_cpu.show(image_B, view_B), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(plain.cpu(), on_cpu.plain(image_B), atol=1e-6, rtol=1e-6)
