"""Boxes are drawn as torchvision's RandomResizedCrop draws them, in whole numbers, and lie within their images."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kd.machine.torchvision_import import torchvision_transforms
from kd.randomness import splitmix64
from kd.views.boxes import Boxes, draw, middle

SIDES = st.integers(1, 600)
BOUNDS = st.floats(0.001, 1.0)
RATIOS = st.floats(0.1, 10.0)


def keys(count: int) -> Tensor:
    return splitmix64(torch.arange(count))


def torchvisions(boxes: Boxes, size: tuple[int, int], count: int) -> Tensor:
    """int64 [count, 4]"""
    transforms, image = torchvision_transforms(), torch.empty(1, *size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = [
            transforms.RandomResizedCrop.get_params(image, list(boxes.scale), list(boxes.ratio)) for _ in range(count)
        ]
    return torch.tensor(drawn)


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
@pytest.mark.parametrize("boxes", [Boxes((0.08, 1.0), (3 / 4, 4 / 3)), Boxes((0.35, 0.7), (0.5, 1.0))])
def test_boxes_are_distributed_like_torchvisions(size, boxes):
    height, width = size
    levels = np.linspace(0.05, 0.95, 19)

    theirs, ours = torchvisions(boxes, size, 4_000).numpy(), draw(boxes, keys(20_000), size).numpy()

    for name, of, tolerance in (
        ("area", lambda box: box[:, 2] * box[:, 3] / (height * width), 0.04),
        ("ratio", lambda box: np.log(box[:, 3] / box[:, 2]), 0.05),
        ("top", lambda box: box[:, 0] / height, 0.04),
        ("left", lambda box: box[:, 1] / width, 0.04),
    ):
        wanted = np.quantile(of(theirs), levels)
        assert np.quantile(of(ours), levels) == pytest.approx(wanted, abs=tolerance), name


@given(SIDES, SIDES, st.tuples(BOUNDS, BOUNDS), st.tuples(RATIOS, RATIOS))
@settings(max_examples=60)
def test_a_box_lies_within_its_image(height, width, scale, ratio):
    boxes = Boxes((min(scale), max(scale)), (min(ratio), max(ratio)))

    top_B, left_B, tall_B, wide_B = draw(boxes, keys(50), (height, width)).unbind(dim=1)

    for first_B, count_B, side in ((top_B, tall_B, height), (left_B, wide_B, width)):
        assert (first_B >= 0).all()
        assert (count_B >= 1).all()
        assert (first_B + count_B <= side).all()


@pytest.mark.parametrize(("size", "ratio"), [((40, 40), (2, 3)), ((40, 40), (0.2, 0.5)), ((20, 70), (1, 1.5))])
def test_where_no_box_fits_the_largest_one_is_taken_from_the_middle(size, ratio):
    boxes = Boxes((1.0, 1.0), ratio)

    assert draw(boxes, keys(20), size).tolist() == torchvisions(boxes, size, 20).tolist()


@pytest.mark.parametrize(
    ("size", "shown", "box"),
    [
        ((224, 224), (224, 224), (0, 0, 224, 224)),
        ((256, 256), (224, 224), (16, 16, 224, 224)),
        ((258, 258), (224, 224), (17, 17, 224, 224)),
        ((512, 512), (224, 224), (33, 33, 445, 445)),
        ((256, 400), (224, 224), (16, 88, 224, 224)),
        ((32, 32), (64, 64), (0, 0, 32, 32)),
        ((28, 20), (64, 64), (4, 0, 20, 20)),
    ],
)
def test_the_middle_is_cut_from_an_image_that_was_brought_to_1_15_of_what_is_shown(size, shown, box):
    assert middle(size, shown) == box
