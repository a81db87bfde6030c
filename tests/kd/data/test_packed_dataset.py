"""A packed data set is one as the named ones are: cut the same way, known by a digest, said in a spec."""

import numpy as np
import pytest
import torch

from kd import spec
from kd.data import packing, published
from kd.data.dataset import load_dataset
from kd.data.packing import Chunk
from kd.errors import DataError
from kd.run import run
from tests.kd.data.sixty import IMAGES, IS_TEST, LABELS, NAME, in_chunks


def test_a_packed_data_set_is_cut_as_it_was_told_without_copying_an_image(tmp_path, place):
    dataset = load_dataset(NAME, tmp_path, 0.2)

    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (32, 8, 20)
    assert dataset.shape == (3, 6, 5)
    assert {split.source.data_ptr() for split in (dataset.train, dataset.validation, dataset.test)} == {
        dataset.train.source.data_ptr()
    }
    for split in (dataset.train, dataset.validation, dataset.test):
        assert torch.equal(split.images, torch.from_numpy(IMAGES).permute(0, 3, 1, 2)[split.rows])
        assert split.labels.tolist() == LABELS[split.rows].tolist()
    assert np.array_equal(dataset.test.rows, np.flatnonzero(IS_TEST))


def test_one_without_a_test_split_is_cut_as_a_named_one_is(tmp_path):
    digits, source = load_dataset("digits", tmp_path, 0.1), published.digits()
    packing.pack(tmp_path, NAME, [Chunk(source.images.transpose(0, 2, 3, 1), source.labels)])

    dataset = load_dataset(NAME, tmp_path, 0.1)

    assert dataset.mean == pytest.approx(digits.mean, abs=1e-3)
    assert dataset.std == pytest.approx(digits.std, abs=1e-3)
    for name in ("train", "validation", "test"):
        assert torch.equal(getattr(dataset, name).images, getattr(digits, name).images)
        assert torch.equal(getattr(dataset, name).labels, getattr(digits, name).labels)


def test_its_digest_says_what_was_packed_and_how_it_was_cut(tmp_path, place):
    dataset = load_dataset(NAME, tmp_path, 0.2)
    packing.pack(tmp_path, "packed/other", in_chunks(), ["a", "b", "c", "d"])

    assert load_dataset(NAME, tmp_path, 0.2).digest == dataset.digest
    assert load_dataset(NAME, tmp_path, 0.5).digest != dataset.digest
    assert load_dataset("packed/other", tmp_path, 0.2).digest != dataset.digest


def test_a_spec_may_name_one_and_crops_nothing_unless_told():
    config = spec.parse({"mode": "train", "config": {"dataset": NAME}}).config
    padded = spec.parse({"mode": "train", "config": {"dataset": NAME, "augmentation": {"crop_padding": 4}}}).config

    assert (config.dataset, config.augmentation.crop_padding, config.augmentation.flip) == (NAME, 0, False)
    assert padded.augmentation.crop_padding == 4
    assert list(padded.misfits(4, (3, 8, 9), images=40, own_validation=False)) == []
    assert list(padded.misfits(4, (3, 9, 7), images=40, own_validation=False)) == [
        ("augmentation.crop_padding", "must be at most 3, half of the side of an image of packed/mine")
    ]


def test_a_flipped_bit_in_images_that_go_into_memory_is_found_before_anything_is_learnt(tmp_path, place):
    wanted = spec.parse({"mode": "train", "config": {"dataset": NAME, "teacher": {"arch": "mlp"}}})
    content = bytearray((place / "images.npy").read_bytes())
    content[-1] ^= 1
    (place / "images.npy").write_bytes(content)

    with pytest.raises(DataError, match=r"the images in .* are not those that were packed"):
        list(run(wanted, tmp_path / "out", data_folder=tmp_path, device="cpu"))

    streamed = run(wanted, tmp_path / "out", data_folder=tmp_path, device="cpu", resident_bytes=0)
    assert "phase" in (event.event for event in streamed), "images that stay on disk are not read for it"
