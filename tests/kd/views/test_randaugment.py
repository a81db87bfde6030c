"""RandAugment's operations do what the papers say, to each image its own, and to the bit."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kd.views.randaugment import NUMBER, OPERATIONS, STRONGEST, apply

MAGNITUDES = range(-STRONGEST, STRONGEST + 1)
WHOLE = 65536


def pictures(count: int, channels: int, height: int, width: int) -> Tensor:
    """Noise; the darker half of it in every other picture, and a flat picture at the end."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)
    images[::2] //= 2
    images[-1] = 77
    return images


def changed(images: Tensor, name: str, magnitude: int) -> Tensor:
    everyone = torch.ones(len(images), dtype=torch.int64)
    return apply(images, everyone * NUMBER[name], everyone * magnitude)


# One image at a time, as nested lists [C][H][W], in exact fractions.


def naive(image: list, name: str, magnitude: int) -> list:
    height, width = len(image[0]), len(image[0][0])
    strength = abs(magnitude)
    factor = Fraction(math.floor(Fraction(WHOLE) * 9 * magnitude / 300) + WHOLE, WHOLE)

    if name in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate"):
        return each(image, lambda c, y, x: source(image[c], name, magnitude, x, y))
    if name == "brightness":
        return each(image, lambda c, y, x: blended(image[c][y][x], 0, factor))
    if name == "colour":
        return each(image, lambda c, y, x: blended(image[c][y][x], grey(image, y, x), factor))
    if name == "contrast":
        totals = [sum(map(sum, plane)) for plane in image]
        mean = half_up(Fraction(grey([[[total]] for total in totals], 0, 0), height * width))
        return each(image, lambda c, y, x: blended(image[c][y][x], mean, factor))
    if name == "sharpness":
        return each(image, lambda c, y, x: blended(image[c][y][x], smooth(image[c], y, x), factor))
    if name == "posterize":
        bits = 8 - half_up(Fraction(4 * strength, 30))
        return each(image, lambda c, y, x: image[c][y][x] // 2 ** (8 - bits) * 2 ** (8 - bits))
    if name == "solarize":
        threshold = 256 - half_up(Fraction(256 * strength, 30))
        return each(image, lambda c, y, x: 255 - image[c][y][x] if image[c][y][x] >= threshold else image[c][y][x])
    if name in ("autocontrast", "equalize"):
        curve_of = {"autocontrast": stretched, "equalize": equalized}[name]
        curves = [curve_of([value for row in plane for value in row]) for plane in image]
        return each(image, lambda c, y, x: curves[c][image[c][y][x]])
    return image


def each(image: list, value) -> list:
    return [[[value(c, y, x) for x in range(len(row))] for y, row in enumerate(plane)] for c, plane in enumerate(image)]


def half_up(number: Fraction) -> int:
    return math.floor(number + Fraction(1, 2))


def blended(value: int, other: int, factor: Fraction) -> int:
    return min(max(half_up(factor * value + (1 - factor) * other), 0), 255)


def grey(image: list, y: int, x: int) -> int:
    if len(image) == 1:
        return image[0][y][x]
    red, green, blue = (plane[y][x] for plane in image)
    return half_up(Fraction(19595 * red + 38470 * green + 7471 * blue, WHOLE))


def smooth(plane: list, y: int, x: int) -> int:
    if y in (0, len(plane) - 1) or x in (0, len(plane[0]) - 1):
        return plane[y][x]
    around = sum(plane[y + dy][x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1))
    return half_up(Fraction(around + 4 * plane[y][x], 13))


def source(plane: list, name: str, magnitude: int, x: int, y: int) -> int:
    """The pixel under the middle of where this one comes from."""
    height, width = len(plane), len(plane[0])
    across, down = x + Fraction(1, 2), y + Fraction(1, 2)
    slope = Fraction(round(0.3 * WHOLE * magnitude / 30), WHOLE)
    shift = [math.trunc(Fraction(150 * side * magnitude, 331 * 30)) for side in (width, height)]
    if name == "shear_x":
        across += slope * down
    elif name == "shear_y":
        down += slope * across
    elif name == "translate_x":
        across -= shift[0]
    elif name == "translate_y":
        down -= shift[1]
    else:
        cosine, sine = (Fraction(round(WHOLE * f(math.radians(magnitude))), WHOLE) for f in (math.cos, math.sin))
        dx, dy = across - Fraction(width, 2), down - Fraction(height, 2)
        across, down = cosine * dx - sine * dy + Fraction(width, 2), sine * dx + cosine * dy + Fraction(height, 2)
    from_x, from_y = math.floor(across), math.floor(down)
    return plane[from_y][from_x] if 0 <= from_x < width and 0 <= from_y < height else 0


def stretched(values: list[int]) -> list[int]:
    low, high = min(values), max(values)
    if low == high:
        return list(range(256))
    return [min(max((value - low) * 255 // (high - low), 0), 255) for value in range(256)]


def equalized(values: list[int]) -> list[int]:
    """As PIL.ImageOps.equalize does."""
    counts = [values.count(value) for value in range(256)]
    present = [count for count in counts if count]
    step = (sum(present) - present[-1]) // 255
    if len(present) <= 1 or not step:
        return list(range(256))
    curve, reached = [], step // 2
    for count in counts:
        curve.append(min(reached // step, 255))
        reached += count
    return curve


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(("channels", "height", "width"), [(1, 9, 6), (3, 17, 16), (3, 1, 2), (1, 20, 30)])
def test_every_operation_is_what_a_plain_loop_would_do(name, channels, height, width):
    images = pictures(3, channels, height, width)

    for magnitude in (-30, -9, -1, 0, 4, 17, 30):
        wanted = [naive(image, name, magnitude) for image in images.tolist()]
        assert changed(images, name, magnitude).tolist() == wanted, magnitude


@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(-30, 30)), min_size=1, max_size=12), st.data())
@settings(max_examples=30)
def test_each_image_of_a_batch_has_an_operation_of_its_own(operations, data):
    images = pictures(len(operations), data.draw(st.sampled_from([1, 3])), 7, 8)
    names, magnitudes = zip(*operations, strict=True)

    together = apply(images, torch.tensor([NUMBER[name] for name in names]), torch.tensor(magnitudes))

    for i, (name, magnitude) in enumerate(operations):
        assert torch.equal(together[i], changed(images[i : i + 1], name, magnitude)[0])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_takes_every_magnitude_and_leaves_the_image_alone(name, channels):
    images = pictures(4, channels, 8, 8)
    before = images.clone()

    shown = [changed(images, name, magnitude) for magnitude in MAGNITUDES]

    assert torch.equal(images, before)
    assert all(one.dtype == torch.uint8 and one.shape == images.shape for one in shown)


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"autocontrast", "equalize"}))
def test_at_magnitude_0_nothing_happens(name):
    images = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16).contiguous()

    assert torch.equal(changed(images, name, 0), images)


def test_a_rotation_leaves_the_middle_where_it_is():
    images = pictures(2, 3, 9, 9)

    for magnitude in MAGNITUDES:
        assert torch.equal(changed(images, "rotate", magnitude)[:, :, 4, 4], images[:, :, 4, 4])


def test_a_positive_rotation_is_counter_clockwise():
    image = torch.zeros(1, 1, 21, 21, dtype=torch.uint8)
    image[0, 0, 10, 20] = 255  # right of the middle

    (row, column) = changed(image, "rotate", 30)[0, 0].nonzero()[0].tolist()

    assert (row, column) == (5, 19)  # and up: sin 30° of 10 is 5, cos 30° is 8.7


def test_translation_moves_by_whole_pixels_and_leaves_black_behind():
    images = pictures(2, 3, 16, 32)

    right, up = changed(images, "translate_x", 9), changed(images, "translate_y", -30)

    assert torch.equal(right[..., 4:], images[..., :-4])  # 150/331 · 32 · 9/30 = 4.35
    assert not right[..., :4].any()
    assert torch.equal(up[:, :, :-7], images[:, :, 7:])  # 150/331 · 16 = 7.25
    assert not up[:, :, -7:].any()


def test_shearing_leaves_one_edge_in_place():
    images = pictures(2, 3, 16, 16)

    assert torch.equal(changed(images, "shear_x", 30)[:, :, 0], images[:, :, 0])
    assert torch.equal(changed(images, "shear_y", 30)[..., 0], images[..., 0])


def test_autocontrast_stretches_every_channel_to_its_ends():
    images = torch.randint(60, 100, (5, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, :, 0, 0], images[:, :, 0, 1] = 60, 99

    shown = changed(images, "autocontrast", 9).flatten(2)

    assert (shown.amin(dim=2) == 0).all()
    assert (shown.amax(dim=2) == 255).all()


def test_equalize_changes_a_uniform_image_hardly_and_flattens_a_dark_one():
    uniform = torch.arange(256, dtype=torch.uint8).repeat(4).view(1, 1, 32, 32)
    dark = (uniform.int() ** 2 // 255).to(torch.uint8)

    assert (changed(uniform, "equalize", 0).int() - uniform.int()).abs().max() <= 1
    assert changed(dark, "equalize", 0).float().mean() == pytest.approx(127.5, abs=6)


def test_posterize_keeps_the_upper_bits_and_solarize_turns_the_light_ones_around():
    images = pictures(3, 3, 8, 8)

    assert torch.equal(changed(images, "posterize", 30), images & 0b11110000)
    assert torch.equal(changed(images, "solarize", 30), 255 - images)
    assert torch.equal(changed(images, "solarize", 15), torch.where(images >= 128, 255 - images, images))


def test_colour_does_nothing_to_grey_images():
    grey = pictures(4, 1, 8, 8)

    for magnitude in MAGNITUDES:
        assert torch.equal(changed(grey, "colour", magnitude), grey)
        assert torch.equal(changed(grey.expand(-1, 3, -1, -1).contiguous(), "colour", magnitude)[:, :1], grey)


def test_signs_go_either_way():
    images = pictures(2, 3, 8, 8)[:1]

    def spread(name: str, magnitude: int) -> float:
        return changed(images, name, magnitude).float().std().item()

    assert changed(images, "brightness", -9).float().mean() < images.float().mean()
    assert changed(images, "brightness", 9).float().mean() > images.float().mean()
    for name in ("contrast", "sharpness"):
        assert spread(name, -20) < spread(name, 0) < spread(name, 20)


def test_operations_run_where_tensors_have_no_content():
    everyone = torch.zeros(4, dtype=torch.int64, device="meta")

    shown = apply(torch.empty(4, 3, 8, 8, dtype=torch.uint8, device="meta"), everyone, everyone)

    assert shown.shape == (4, 3, 8, 8)
    assert shown.dtype == torch.uint8


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bits():
    images = pictures(len(OPERATIONS), 3, 32, 32)
    operation_B = torch.arange(len(OPERATIONS))

    for magnitude in (-30, -9, 9, 30):
        magnitude_B = torch.full_like(operation_B, magnitude)
        there = apply(images.cuda(), operation_B.cuda(), magnitude_B.cuda())
        assert torch.equal(there.cpu(), apply(images, operation_B, magnitude_B))
