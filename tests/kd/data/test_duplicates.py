"""Images with the same pixels are told, and no split that is made here parts them."""

import json

import numpy as np
import pytest

from kd.data import packed_images, packing
from kd.data.dataset import load_dataset
from kd.data.origin import Files
from kd.data.packing import CannotPack, Chunk
from kd.data.parts import TEST, TRAIN, VALIDATION
from kd.errors import DataError
from tests.kd.data.sixty import IMAGES, LABELS, NAME, in_chunks

# Each image three times, the second time in another order.
THRICE = np.concatenate([IMAGES, IMAGES[::-1], IMAGES])
LABELS_OF_THREE = np.concatenate([LABELS, LABELS[::-1], LABELS])


def pack(folder, images, labels, split=TRAIN) -> list[str]:
    told: list[str] = []
    files = Files("photos", [f"{number}.jpg" for number in range(len(images))])
    packing.pack(folder, NAME, [Chunk(images, labels, split)], tell=told.append, files=files)
    return told


def pixels(split) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.images}


@pytest.mark.parametrize("given", [TRAIN, TEST, VALIDATION])
def test_they_stay_on_one_side_of_a_split_that_is_made(tmp_path, given):
    # Where a split is given it is whole groups that are in it, but for the image that is on both sides.
    split = np.where(np.isin(np.arange(180) % 60, [0, 1, 2, 3]), given, TRAIN).astype(np.uint8)
    split = np.concatenate([split[:60], split[:60][::-1], split[:60]])
    told = pack(tmp_path, THRICE, LABELS_OF_THREE, split)
    dataset = load_dataset(NAME, tmp_path, 0.2)
    train, validation, test = map(pixels, (dataset.train, dataset.validation, dataset.test))

    assert told == [
        "120 images are the same, pixel for pixel, as an earlier one; where a split is made, they stay on one side "
        "of it."
    ]
    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == 180
    assert not train & validation
    assert not train & test
    assert not validation & test
    for part in (dataset.train, dataset.validation, dataset.test):
        assert set(part.labels.tolist()) == {0, 1, 2, 3}
    assert len(dataset.test) == pytest.approx(36 if given != TEST else 12, abs=6)


def test_a_data_set_without_any_is_what_it_was_before_they_were_looked_for(tmp_path):
    facts = packing.pack(tmp_path, NAME, in_chunks())

    assert facts.digest == "82376c8b59a43d3bf54b710425dba60f39a3bfc66d364e61361d84f00824795f"
    assert not (tmp_path / NAME / "duplicates.npy").exists()
    assert "duplicates" not in json.loads((tmp_path / NAME / "facts.json").read_text())


def test_those_on_both_sides_of_a_split_or_with_two_labels_are_told(tmp_path):
    images, labels = IMAGES.copy(), LABELS.copy()
    split = np.repeat([TRAIN, VALIDATION, TEST], 20).astype(np.uint8)
    images[40], images[21], images[41] = images[0], images[5], images[22]
    images[7] = images[6]
    told = pack(tmp_path, images, labels, split)

    assert told == [
        "1 image is both to learn from and for the test: 40.jpg = 0.jpg. What is learnt by heart counts as "
        "understood there.",
        "1 image is both to learn from and for validation: 21.jpg = 5.jpg. What is learnt by heart counts as "
        "understood there.",
        "1 image is both for validation and for the test: 41.jpg = 22.jpg. What is learnt by heart counts as "
        "understood there.",
        "2 images are there with another label as well: 7.jpg = 6.jpg, 41.jpg = 22.jpg. One of the labels is wrong.",
        "4 images are the same, pixel for pixel, as an earlier one; where a split is made, they stay on one side "
        "of it.",
    ]


def test_a_class_of_one_image_again_and_again_cannot_be_split(tmp_path):
    images = IMAGES.copy()
    images[LABELS == 2] = images[2]

    with pytest.raises(CannotPack, match=r"class '2' has 1 images to learn from; .* the same pixels count once"):
        pack(tmp_path, images, LABELS)


def test_what_is_said_of_them_cannot_be_changed_unseen(tmp_path):
    pack(tmp_path, THRICE, LABELS_OF_THREE)
    place = tmp_path / NAME / "duplicates.npy"
    np.save(place, np.arange(180))

    with pytest.raises(DataError, match=r"the labels in .* are not those that were packed"):
        packed_images.read(tmp_path, NAME)
