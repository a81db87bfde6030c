"""Boxes are resized as torchvision does it, and to the bit as whole numbers say."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kd.machine.torchvision_import import torchvision_transforms
from kd.views.boxes import Boxes, draw
from kd.views.pixels import Resident, middle
from kd.views.resize import resize
from tests.kd.views.noise import pictures

WHOLE = 65536


def resized(images: Tensor, image_B: Tensor, box_B4: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 [B, C, H, W]"""
    return resize(images.permute(0, 2, 3, 1).contiguous(), image_B, box_B4, size).permute(0, 3, 1, 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("images", "size"),
    [((32, 32), (32, 32)), ((40, 30), (12, 16)), ((60, 60), (24, 24)), ((20, 24), (33, 31)), ((9, 9), (2, 3))],
)
def test_boxes_are_resized_as_torchvision_does_it(channels, images, size):
    torchvision_transforms()  # beside a torch for CPUs alone it needs this first
    from torchvision.transforms.v2.functional import resized_crop

    pixels, image_B = pictures(5, channels, *images), torch.arange(40) % 5
    box_B4 = draw(Boxes((0.05, 1.0), (0.5, 2.0)), torch.arange(40) * 7919, images)

    shown = resized(pixels, image_B, box_B4, size)

    error = 0.0
    for image, box, found in zip(image_B.tolist(), box_B4.tolist(), shown, strict=True):
        exact = resized_crop(pixels[image].float(), *box, size=list(size), antialias=True)
        bytes_ = resized_crop(pixels[image], *box, size=list(size), antialias=True)
        # Rounded twice: after the rows, and after the columns. Theirs are, too, in the other order.
        assert (found - exact).abs().max() <= 1.01
        assert (found.int() - bytes_.int()).abs().max() <= 2
        error += (found - exact).mean() / len(shown)
    assert abs(error) < 0.15


def naive_line(line: list[int], wanted: int) -> list[int]:
    """One line of pixels, one value each, in exact fractions."""
    scale = Fraction(len(line), wanted)
    reach = max(scale, 1)
    shown = []
    for number in range(wanted):
        place = (number + Fraction(1, 2)) * scale
        heights = [max(0, 1 - abs(k + Fraction(1, 2) - place) / reach) for k in range(len(line))]
        sums = [sum(heights[: k + 1]) / sum(heights) for k in range(len(line))]
        rounded = [0, *(math.floor(share * WHOLE + Fraction(1, 2)) for share in sums)]
        weights = [after - before for before, after in pairwise(rounded)]
        shown.append(round(Fraction(sum(w * value for w, value in zip(weights, line, strict=True)), WHOLE)))
    return shown


def naive(image_HW: list[list[int]], height: int, width: int) -> list[list[int]]:
    columns = [naive_line(list(column), height) for column in zip(*image_HW, strict=True)]
    return [naive_line(list(row), width) for row in zip(*columns, strict=True)]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_every_bit_is_what_whole_numbers_say(height, width, tall, wide, chance):
    top, left = chance.randrange(3), chance.randrange(3)
    pixels = pictures(2, 2, 12, 11) // chance.choice([1, 2]) + chance.choice([0, 128])

    shown = resized(pixels, torch.tensor([1]), torch.tensor([[top, left, height, width]]), (tall, wide))[0]

    box_CHW = pixels[1, :, top : top + height, left : left + width]
    assert shown.tolist() == [naive(plane, tall, wide) for plane in box_CHW.tolist()]


def test_a_box_as_large_as_what_is_shown_is_cut_out_as_it_is():
    pixels = pictures(3, 3, 20, 18)

    shown = resized(pixels, torch.tensor([2, 0]), torch.tensor([[4, 1, 12, 10], [8, 8, 12, 10]]), (12, 10))

    assert torch.equal(shown[0], pixels[2, :, 4:16, 1:11])
    assert torch.equal(shown[1], pixels[0, :, 8:20, 8:18])


@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_what_is_of_one_colour_stays_so_at_any_size(value):
    flat, box_B4 = torch.full((1, 1, 50, 41), value, dtype=torch.uint8), torch.tensor([[0, 0, 50, 41], [3, 7, 20, 2]])

    for size in ((3, 3), (17, 50), (64, 64)):
        assert (resized(flat, torch.zeros(2, dtype=torch.int64), box_B4, size) == value).all()


def test_nothing_of_a_padding_is_seen():
    pixels = pictures(4, 3, 14, 15)
    image_B, box_B4 = torch.tensor([1, 3, 0]), draw(Boxes((0.1, 1.0), (0.5, 2.0)), torch.arange(3), (14, 15))
    padded_NHWC, index_B = Resident(pixels, 3, "cpu").padded(image_B)

    shown = resize(middle(padded_NHWC, 3), index_B, box_B4, (8, 8))

    assert torch.equal(shown.permute(0, 3, 1, 2), resized(pixels, image_B, box_B4, (8, 8)))


@pytest.mark.parametrize("context", [torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)])
def test_a_forward_around_it_changes_no_bit(context):
    pixels, image_B = pictures(4, 3, 30, 30), torch.arange(4)
    box_B4 = draw(Boxes((0.1, 1.0), (0.5, 2.0)), image_B, (30, 30))

    with context:
        shown = resized(pixels, image_B, box_B4, (16, 16))

    assert torch.equal(shown, resized(pixels, image_B, box_B4, (16, 16)))


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(12, 12), (32, 32), (70, 70)])
def test_a_gpu_finds_the_same_bytes_and_is_not_waited_for(size):
    pixels, image_B = pictures(50, 3, 32, 32), torch.arange(50)
    box_B4 = draw(Boxes((0.05, 1.0), (0.5, 2.0)), image_B, (32, 32))
    there = [tensor.cuda() for tensor in (pixels.permute(0, 2, 3, 1).contiguous(), image_B, box_B4)]
    resize(*there, size)

    torch.cuda.set_sync_debug_mode("error")
    try:
        shown = resize(*there, size)
    finally:
        torch.cuda.set_sync_debug_mode("default")

    assert torch.equal(shown.cpu().permute(0, 3, 1, 2), resized(pixels, image_B, box_B4, size))
