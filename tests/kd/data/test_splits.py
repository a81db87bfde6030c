"""Data sets are cut the same way for everyone."""

import pytest
import torch
from torch import Tensor

from kd.data.catalog import DATASETS
from kd.data.dataset import load_dataset
from tests.kd.data.contents import rows


def shares(labels: Tensor) -> list[float]:
    return (torch.bincount(labels, minlength=10) / len(labels)).tolist()


@pytest.mark.parametrize("name", ["mnist5k", "digits"])
def test_splits_share_no_image_lose_none_and_have_every_class_in_its_share(name, folder):
    dataset = load_dataset(name, folder, 0.2)
    train, validation, test = rows(dataset.train), rows(dataset.validation), rows(dataset.test)

    # Both data sets hold each image once, so that sets of pixels tell.
    assert len(train) + len(validation) + len(test) == DATASETS[name].train
    assert len(train | validation | test) == DATASETS[name].train
    for split in (dataset.validation, dataset.test):
        assert shares(split.labels) == pytest.approx(shares(dataset.train.labels), abs=0.01)


def test_the_test_split_does_not_depend_on_the_size_of_the_validation_split(folder):
    small, large = (load_dataset("digits", folder, fraction) for fraction in (0.05, 0.4))

    assert torch.equal(small.test.images, large.test.images)
    assert rows(small.validation) < rows(large.validation)
