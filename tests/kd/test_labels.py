"""A run labels the views that it shows, once: what fits is used again, what is damaged is written again."""

import json

import numpy as np
import pytest

from kd import errors
from kd.data import packing, published
from kd.data.dataset import load_dataset
from kd.data.packing import Chunk
from kd.events import Finished, Noted, PhaseStarted, Step
from kd.run import run
from kd.spec import parse
from tests.kd.tiny import SPECS, TINY


def test_a_second_run_with_the_same_teacher_labels_nothing(data, tmp_path):
    for seed, out in ((1, "a"), (1, "b")):
        spec = parse(
            {
                "mode": "train",
                "config": {**TINY, "views": 2, "seed": seed, "objective": {"temperature": 2 if out == "a" else 8}},
            }
        )
        events = list(run(spec, tmp_path / out, data_folder=data, label_folder=tmp_path / "labels"))

    assert [event for event in events if isinstance(event, Noted) and event.code == "labels_reused"]
    assert not [event for event in events if isinstance(event, Step) and event.phase == "labelling"]


def test_a_table_says_of_which_image_of_the_data_set_each_row_is(data, tmp_path):
    source = published.digits()
    packing.pack(data, "packed/digits", [Chunk(source.images.transpose(0, 2, 3, 1), source.labels)])

    for name in ("digits", "packed/digits"):
        spec = parse({"mode": "train", "config": {**TINY, "dataset": name, "views": 2}})
        labels = tmp_path / name
        list(run(spec, tmp_path / "out" / name, data_folder=data, label_folder=labels))

        (manifest,) = labels.glob("*.json")
        columns = json.loads(manifest.read_text())["view_parameters"]["columns"]
        views_NVP = np.load(manifest.with_suffix(".views.npy"))
        number_NV = views_NVP[:, :, columns.index("image")]
        train = load_dataset(name, data, spec.config.validation_fraction).train
        assert (number_NV == number_NV[:, :1]).all()
        assert (source.images[number_NV[:, 0]] == train.images.numpy()).all()
        assert (source.labels[number_NV[:, 0]] == train.labels.numpy()).all()


def test_a_damaged_label_table_is_written_again(data, tmp_path):
    spec = SPECS["train"]
    list(run(spec, tmp_path / "a", data_folder=data, label_folder=tmp_path / "labels"))
    (manifest,) = (tmp_path / "labels").glob("*.json")
    table = manifest.with_suffix(".npy")
    content = bytearray(table.read_bytes())
    content[-1] ^= 1
    table.write_bytes(content)

    events = list(run(spec, tmp_path / "b", data_folder=data, label_folder=tmp_path / "labels"))

    assert [event for event in events if isinstance(event, Step) and event.phase == "labelling"]
    assert not [event for event in events if isinstance(event, Noted) and event.code == "labels_reused"]


@pytest.mark.parametrize("damage", ["empty", "not numpy", "a folder", "no manifest keys"])
def test_a_label_table_that_is_damaged_in_any_way_is_written_again(data, tmp_path, damage):
    spec = SPECS["train"]
    list(run(spec, tmp_path / "a", data_folder=data, label_folder=tmp_path / "labels"))
    (manifest,) = (tmp_path / "labels").glob("*.json")
    table = manifest.with_suffix(".npy")
    if damage == "empty":
        table.write_bytes(b"")
    if damage == "not numpy":
        table.write_bytes(b"PK\x03\x04 not really a zip")
    if damage == "a folder":
        table.unlink()
        table.mkdir()
    if damage == "no manifest keys":
        table.with_suffix(".json").write_text("[]")

    if damage == "a folder":  # nothing of ours: it is in the way, and says so
        with pytest.raises(OSError, match="directory"):
            list(run(spec, tmp_path / "b", data_folder=data, label_folder=tmp_path / "labels"))
        return
    events = list(run(spec, tmp_path / "b", data_folder=data, label_folder=tmp_path / "labels"))

    assert [event for event in events if isinstance(event, Step) and event.phase == "labelling"]
    assert isinstance(events[-1], Finished)


def test_labels_that_do_not_fit_into_half_precision_are_the_teacher_s_fault(data, tmp_path):
    teacher = {"arch": "mlp", "epochs": 3, "optimizer": {"name": "adamw", "lr": 10}}
    spec = parse({"mode": "train", "config": {**TINY, "teacher": teacher, "views": 9}})

    with pytest.raises(errors.KdError, match=r"teacher \(mlp\) gives logits that are not finite|not finite at step"):
        list(run(spec, tmp_path, data_folder=data))


@pytest.mark.parametrize(
    "rounds", [{"epochs": 3, "views": 3}, {"epochs": 1000, "views": 50}, {"epochs": 2, "views": 1}]
)
def test_a_guide_labels_no_view_that_is_never_shown(data, tmp_path, rounds):
    spec = parse({"mode": "guide", "config": {**TINY, "control": False, "rounds": rounds}})

    events = list(run(spec, tmp_path, data_folder=data))

    labelled = [
        event.facts["views"] for event in events if isinstance(event, PhaseStarted) and event.phase == "labelling"
    ]
    assert sum(labelled) == {3: 4, 50: 4, 1: 2}[rounds["views"]], "four epochs show at most four views"
    assert [event for event in events if isinstance(event, Step)][-1].fraction > 0.9
