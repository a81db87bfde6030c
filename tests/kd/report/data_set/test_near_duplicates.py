"""Near duplicates: what was compressed, brightened or cut is found, others are not, and the filter misses nobody."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kd.data.parts import TEST, TRAIN, VALIDATION
from kd.report.data_set import near_duplicates
from kd.report.data_set.near_duplicates import find, thumbnails
from tests.kd.data.ingest.photos import encoded, photo

SIDE = 96
Edit = Callable[[Image.Image], Image.Image]


def pictures(seeds: range) -> list[Image.Image]:
    return [Image.fromarray(photo(seed, SIDE, SIDE)) for seed in seeds]


def as_array(images: list[Image.Image]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(image.convert("RGB")) for image in images])


def compressed(image: Image.Image) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, "JPEG", quality=60)))


EDITS: dict[str, Edit] = {
    "another compression": compressed,
    "a little brighter": lambda image: image.point([min(255, value * 11 // 10) for value in range(256)] * 3),
    "less contrast": lambda image: image.point([32 + value * 3 // 4 for value in range(256)] * 3),
    "made smaller": lambda image: image.resize((40, 40)).resize(image.size),
    "gray": lambda image: image.convert("L"),
    "a hundredth cut off": lambda image: image.resize(image.size, box=(1, 1, SIDE, SIDE)),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_image_that_was_edited_is_found_and_others_are_not(edit: Edit) -> None:
    originals = pictures(range(20))
    images = as_array([*originals, *map(edit, originals)])

    near = find(thumbnails(images), np.zeros(40, np.int64), np.full(40, TRAIN, np.uint8))

    assert near.in_split_SN[TRAIN].tolist() == [-1] * 20 + list(range(20))
    assert (near.similarity_SN[TRAIN, 20:] >= near_duplicates.SIMILAR).all()


def test_what_is_turned_over_or_cut_by_a_quarter_is_another_image() -> None:
    image = pictures(range(1))[0]
    images = as_array([image, image.rotate(180), image.resize(image.size, box=(24, 24, SIDE, SIDE))])

    near = find(thumbnails(images), np.zeros(3, np.int64), np.zeros(3, np.uint8))

    assert (near.in_split_SN == -1).all()


def test_a_thumbnail_is_the_mean_of_what_its_cells_cover() -> None:
    chance = np.random.default_rng(0)
    even = chance.integers(0, 256, (2, 32, 48, 3), np.uint8)
    small = chance.integers(0, 256, (1, 5, 8, 1), np.uint8)

    gray = even @ np.array([0.299, 0.587, 0.114])
    assert thumbnails(even) == pytest.approx(gray.reshape(2, 16, 2, 16, 3).mean(axis=(2, 4)).reshape(2, -1), rel=1e-5)
    # By parts of pixels: the mean over 16 pixels for each is that over the cells.
    fine = small[0, :, :, 0].repeat(16, axis=0).repeat(2, axis=1).reshape(16, 5, 16)
    assert thumbnails(small).reshape(16, 16) == pytest.approx(fine.mean(axis=1), abs=1e-3)


def test_however_the_work_is_cut_all_pairs_are_found_that_a_plain_loop_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    scenes = thumbnails(as_array(pictures(range(25))))
    # Many copies of a few scenes, more and less like them.
    count = 150
    given_ND = scenes[chance.integers(0, 25, count)] + chance.normal(0, 1, (count, 256)) * chance.uniform(
        0, 15, (count, 1)
    )
    given_ND = given_ND.astype(np.float32)
    labels_N, split_N = chance.integers(0, 3, count), chance.integers(0, 3, count).astype(np.uint8)
    first_N = np.arange(count)
    first_N[1::10] = first_N[::10]  # pretend that these are the same: they are told elsewhere

    monkeypatch.setattr(near_duplicates, "ROWS", 16)
    monkeypatch.setattr(near_duplicates, "COLUMNS", 40)
    near = find(given_ND.copy(), labels_N, split_N, first_N)

    unit_ND = given_ND - given_ND.mean(axis=1, keepdims=True)
    unit_ND /= np.linalg.norm(unit_ND, axis=1, keepdims=True)
    fine_ND = unit_ND.reshape(count, 4, 4, 4, 4)
    fine_ND = (fine_ND - fine_ND.mean(axis=(2, 4), keepdims=True)).reshape(count, 256)
    fine_ND /= np.linalg.norm(fine_ND, axis=1, keepdims=True)
    similar = unit_ND @ unit_ND.T
    is_near = (similar >= near_duplicates.SIMILAR) & (fine_ND @ fine_ND.T >= near_duplicates.SIMILAR_IN_DETAIL)
    is_near &= first_N[:, None] != first_N
    is_before = np.arange(count)[:, None] > np.arange(count)
    assert 100 < is_near.sum() < count**2 / 4
    for split in (TRAIN, VALIDATION, TEST):
        allowed = is_near & (split_N == split) & ((split_N[:, None] != split) | is_before)
        expected = np.where(allowed.any(axis=1), np.where(allowed, similar, -1).max(axis=1), 0)
        assert near.similarity_SN[split] == pytest.approx(expected, abs=1e-5)
        assert ((near.in_split_SN[split] >= 0) == allowed.any(axis=1)).all()
    contrary = is_near & is_before & (labels_N[:, None] != labels_N)
    assert ((near.contrary_N >= 0) == contrary.any(axis=1)).all()


def test_of_many_images_only_those_in_different_splits_are_compared_and_of_too_many_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = pictures(range(1))[0]
    images = as_array([image, compressed(image), EDITS["a little brighter"](image)])
    split_N = np.array([TRAIN, TRAIN, TEST], np.uint8)

    def found() -> list[list[int]]:
        return find(thumbnails(images), np.zeros(3, np.int64), split_N).in_split_SN.tolist()

    monkeypatch.setattr(near_duplicates, "MOST_IMAGES", 2)
    across = found()
    monkeypatch.setattr(near_duplicates, "MOST_ACROSS", 2)

    assert [across[TRAIN][:2], across[TRAIN][2] in (0, 1), across[TEST]] == [[-1, -1], True, [2, 2, -1]]
    assert found() == [[-1] * 3] * 3


def test_images_that_show_nothing_are_like_no_other() -> None:
    flat = np.full((3, 32, 32, 1), 128, np.uint8)
    flat[1:, :16] += 1

    near = find(thumbnails(flat), np.zeros(3, np.int64), np.zeros(3, np.uint8))

    assert (near.in_split_SN == -1).all()
