"""Two images in one: drawn fairly, and mixed exactly as the integers say."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kd.views.mixup import CUTMIX, MIXUP, NEITHER, RANKS, WHOLE, beta, blend, mix_images
from kd.views.pixels import Resident
from kd.views.plan import ViewPlan, columns, parameters
from kd.views.viewer import Viewer
from tests.kd.views.noise import pictures

BOTH = ViewPlan(2, True, mixup=0.2, cutmix=1.0)


def drawn(plan: ViewPlan, count: int = 20_000, size: tuple[int, int] = (32, 32)) -> dict[str, Tensor]:
    image_N = torch.arange(count)
    shown = parameters(plan, image_N, image_N * 3, images=count, size=size)
    return dict(zip(columns(plan), shown.unbind(dim=1), strict=True))


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5, 1.0, 2.0, 8.0, 100.0])
def test_shares_are_distributed_like_numpys_beta(alpha):
    sample = np.random.default_rng(0).beta(alpha, alpha, 400_000)

    shares = np.array(beta(alpha)) / WHOLE

    assert len(shares) == RANKS
    assert (np.diff(shares) >= 0).all()
    assert np.array_equal(shares, 1 - shares[::-1])
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=1e-3)
    levels = np.linspace(0.02, 0.98, 49)
    assert np.quantile(shares, levels) == pytest.approx(np.quantile(sample, levels), abs=0.01)


@pytest.mark.parametrize("alpha", [5e-324, 1e-6, 0.01])
def test_of_a_tiny_alpha_little_is_left_but_all_or_nothing(alpha):
    shares = np.array(beta(alpha)) / WHOLE

    assert len(shares) == RANKS
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=1e-3)


def test_a_beta_of_one_is_uniform():
    even = (np.arange(RANKS) + 0.5) / RANKS * WHOLE

    assert np.abs(np.array(beta(1.0)) - even).max() <= 1


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_draws_its_shares_from_the_whole_distribution(alpha):
    share_N = drawn(ViewPlan(0, False, mixup=alpha))["share"] / WHOLE

    assert share_N.mean() == pytest.approx(0.5, abs=0.015)
    assert share_N.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)
    levels = torch.linspace(0.05, 0.95, 19)
    assert share_N.quantile(levels).tolist() == pytest.approx(np.quantile(beta(alpha), levels) / WHOLE, abs=0.04)


@pytest.mark.parametrize(
    ("plan", "kinds"),
    [
        (ViewPlan(2, True, mixup=0.2), {MIXUP}),
        (ViewPlan(2, True, cutmix=1.0), {CUTMIX}),
        (BOTH, {MIXUP, CUTMIX}),
    ],
)
def test_a_view_is_mixed_in_a_way_that_its_plan_knows(plan, kinds):
    kind_N = drawn(plan)["kind"]

    counts = torch.bincount(kind_N, minlength=3) / len(kind_N)

    assert set(kind_N.tolist()) == kinds
    assert all(counts[kind] == pytest.approx(1 / len(kinds), abs=0.02) for kind in kinds)


def test_partners_are_any_other_image_as_likely():
    views = torch.arange(40_000)

    shown = parameters(BOTH, torch.full_like(views, 3), views, images=41, size=(8, 8))

    counts = torch.bincount(shown[:, columns(BOTH).index("partner")], minlength=41)
    assert counts[3] == 0
    others = counts[torch.arange(41) != 3]
    assert others.min() > 850  # of 1000 expected, with a standard deviation of 31
    assert others.max() < 1150


def test_an_image_that_is_alone_is_not_mixed():
    split = Viewer(Resident(pictures(1, 3, 8, 8), 2, "cpu"), BOTH, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    image_B, view_B = torch.zeros(20, dtype=torch.int64), torch.arange(20)

    view_BP = split.parameters(image_B, view_B)
    mix = split.mix(view_BP)

    assert (view_BP[:, columns(BOTH).index("kind")] == NEITHER).all()
    assert mix is not None
    assert (mix.share_B == 1).all()
    assert torch.equal(split.replay(image_B, view_BP), split.with_plan(BOTH.plain()).show(image_B, view_B))


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (5, 9)])
def test_a_cutmix_share_is_what_the_box_leaves_of_the_image(size):
    height, width = size
    view = drawn(ViewPlan(2, True, cutmix=1.0), size=size)
    top, left, bottom, right = (view[f"box_{side}"] for side in ("top", "left", "bottom", "right"))

    outside = height * width - (bottom - top) * (right - left)

    assert ((top >= 0) & (top <= bottom) & (bottom <= height)).all()
    assert ((left >= 0) & (left <= right) & (right <= width)).all()
    assert (2 * (view["share"] * height * width - outside * WHOLE)).abs().max() <= height * width
    if WHOLE % (height * width) == 0:
        assert torch.equal(view["share"] * height * width, outside * WHOLE)


def test_cutmix_boxes_are_as_published():
    # Shares before the clipping are uniform; boxes have the image's shape, lie around any pixel, and are cut off.
    rng = np.random.default_rng(0)
    side = (32 * np.sqrt(1 - rng.beta(1, 1, 100_000))).astype(int)
    areas = np.ones(100_000)
    for _ in range(2):
        start = rng.integers(0, 32, 100_000) - side // 2
        areas *= np.minimum(start + side, 32) - np.maximum(start, 0)

    share_N = drawn(ViewPlan(0, False, cutmix=1.0))["share"] / WHOLE

    assert share_N.mean() == pytest.approx(1 - areas.mean() / 1024, abs=0.01)
    levels = torch.linspace(0.05, 0.95, 19)
    assert share_N.quantile(levels).tolist() == pytest.approx(np.quantile(1 - areas / 1024, levels), abs=0.02)


def test_no_box_is_shown_where_nothing_is_cut():
    view = drawn(BOTH)

    area_N = (view["box_bottom"] - view["box_top"]) * (view["box_right"] - view["box_left"])

    assert not area_N[view["kind"] == MIXUP].any()


def naive_mix(own: np.ndarray, partner: np.ndarray, kind: int, share: int, box: list[int]) -> np.ndarray:
    """Mix one image in plain numpy; [H, W, C]."""
    top, left, bottom, right = box
    shown = own.copy()
    if kind == MIXUP:
        shown = np.floor((share * own.astype(np.int64) + (WHOLE - share) * partner.astype(np.int64)) / WHOLE + 0.5)
    if kind == CUTMIX:
        shown[top:bottom, left:right] = partner[top:bottom, left:right]
    return shown.astype(np.uint8)


@given(st.data(), st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=60)
def test_mixing_is_what_plain_numpy_would_do(data, channels, height, width):
    count = 4
    own, partner = pictures(2 * count, channels, height, width).permute(0, 2, 3, 1).contiguous().chunk(2)
    kinds = [data.draw(st.sampled_from([NEITHER, MIXUP, CUTMIX])) for _ in range(count)]
    shares = [data.draw(st.integers(0, WHOLE)) if kind == MIXUP else WHOLE for kind in kinds]
    boxes = [[0, 0, 0, 0] for _ in kinds]
    for box, kind in zip(boxes, kinds, strict=True):
        if kind == CUTMIX:
            box[0], box[2] = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
            box[1], box[3] = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))

    rows = [[kind, share, *box, 0] for kind, share, box in zip(kinds, shares, boxes, strict=True)]
    shown = mix_images(own, partner, torch.tensor(rows)).numpy()

    for i in range(count):
        wanted = naive_mix(own[i].numpy(), partner[i].numpy(), kinds[i], shares[i], boxes[i])
        assert np.array_equal(shown[i], wanted)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(-WHOLE, 3 * WHOLE))
def test_a_blend_is_rounded_and_held_within_a_byte(one, other, share):
    wanted = min(max((share * one + (WHOLE - share) * other + WHOLE // 2) >> 16, 0), 255)

    assert blend(torch.tensor([one]), torch.tensor([other]), torch.tensor([share])).tolist() == [wanted]


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 8, 8), (3, 7, 10)])
def test_a_mixed_view_is_made_of_the_two_views_it_names(channels, height, width):
    mean, std = (0.0,) * channels, (1 / 255,) * channels  # so that what is shown are the bytes
    split = Viewer(Resident(pictures(30, channels, height, width), 2, "cpu"), BOTH, mean, std)
    image_B, view_B = torch.arange(30), torch.arange(30) * 11
    alone = split.with_plan(BOTH.plain())

    view_BP = split.parameters(image_B, view_B)
    shown = split.replay(image_B, view_BP)
    mix = split.mix(view_BP)

    assert mix is not None
    assert mix.share_B.dtype == torch.float32
    own, partner = (
        alone.show(which_B, view_B).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        for which_B in (image_B, mix.partner_B)
    )
    for i, row in enumerate(view_BP.tolist()):
        kind, share, *box = row[3:9]
        wanted = naive_mix(own[i], partner[i], kind, share, box)
        assert np.array_equal(shown[i].permute(1, 2, 0).round().numpy(), wanted)
        assert mix.share_B[i] == share / WHOLE
        assert mix.partner_B[i] == row[9]


def test_plans_that_do_not_mix_have_no_mix():
    split = Viewer(Resident(pictures(3, 3, 8, 8), 2, "cpu"), ViewPlan(2, True, strong=1), (0.0,) * 3, (1.0,) * 3)

    assert split.mix(split.parameters(torch.arange(3), torch.arange(3))) is None
