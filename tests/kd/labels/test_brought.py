"""A run that learns from labels that somebody brought: without any teacher's model."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from kd.data.dataset import load_dataset
from kd.errors import LabelsUnfit
from kd.events import Evaluated, Finished, Noted, PhaseStarted, RoundEnded, Saved
from kd.labels import pushed
from kd.labels.pushed import Images
from kd.run import run
from kd.spec import parse

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {"dataset": "digits", "epochs": 2, "batch_size": 128, "checkpoint_seconds": 3600}
OF = Images("digits", 1_797, 10, (1_797,))


@pytest.fixture(scope="module")
def logits(data) -> np.ndarray:
    """Of every image of the data set in its order, right on most."""
    dataset = load_dataset("digits", data, 0.1)
    said = np.random.default_rng(0).normal(size=(1_797, 10)).astype(np.float32)
    for split in (dataset.train, dataset.validation, dataset.test):
        said[split.numbers.numpy(), split.labels.numpy()] += 4
    return said


def push(data: Path, of: Images = OF, **arrays: np.ndarray) -> str:
    file = io.BytesIO()
    np.savez(file, **arrays)
    entry, _ = pushed.take(file, hashlib.sha256(file.getvalue()).hexdigest(), data / "labels", of, "logits")
    return entry.id


def spec(table: str, **config):
    return parse({"mode": "train", "config": {**TINY, "teacher": {"labels": table}, **config}})


@pytest.fixture(scope="module")
def whole(data, logits, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    wanted = spec(push(data, logits=logits))
    return wanted, out, list(run(wanted, out, data_folder=data))


def test_no_teacher_is_trained_and_the_report_has_what_the_labels_are_worth(whole, logits):
    _, out, events = whole

    assert [event.phase for event in events if isinstance(event, PhaseStarted)] == [
        "labelling", "student", "control", "evaluating",
    ]  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    assert report["archs"] == {"teacher": "labels", "student": "mlp", "control": "mlp"}
    assert 0.8 < report["metrics"]["teacher.test.top1"] < 1
    assert "teacher.parameters" not in report["metrics"]
    assert {"student.test.agreement", "gain", "student.validation.kl"} <= report["metrics"].keys()
    (measured,) = [event for event in events if isinstance(event, Evaluated) and event.phase == "teacher"]
    assert measured.metrics["top1"] > 0.8
    assert not (out / "teacher.safetensors").exists()
    page, card = ((out / name).read_text() for name in ("report.html", "model-card.md"))
    assert "labels → mlp on digits" in page
    assert "made elsewhere" in page
    assert "distilled from labels that a teacher made elsewhere" in card


def test_its_views_are_the_images_as_they_are(whole):
    config = whole[0].config

    assert (config.views, config.augmentation.crop_padding, config.augmentation.flip) == (1, 0, False)


def test_an_augmentation_that_was_asked_for_shows_other_views_of_the_same_label(whole, data, tmp_path):
    plain, _, events = whole
    wanted = spec(plain.config.teacher.labels, augmentation={"crop_padding": 1})

    said = list(run(wanted, tmp_path, data_folder=data))

    assert said[-1].metrics["student.test.nll"] != events[-1].metrics["student.test.nll"]


@pytest.mark.parametrize("phase", ["labelling", "student", "control"])
def test_a_run_that_was_cut_off_goes_on_to_the_same_student(phase, whole, data, tmp_path):
    wanted, out, events = whole
    stopped = next(event for event in events if isinstance(event, Saved) and event.phase == phase)

    resumed = list(run(wanted, tmp_path, out / stopped.resume.path, data_folder=data))

    for name in ("student.test.nll", "control.test.nll", "teacher.test.nll"):
        assert resumed[-1].metrics[name] == events[-1].metrics[name]


def test_labels_of_the_training_images_alone_will_do_and_the_report_says_less(data, logits, tmp_path):
    number_N = load_dataset("digits", data, 0.1).train.numbers.numpy()[::-1].copy()
    wanted = spec(push(data, logits=logits[number_N], image=number_N))

    events = list(run(wanted, tmp_path, data_folder=data))

    assert isinstance(events[-1], Finished)
    assert not [
        name for name in events[-1].metrics if name.startswith("teacher.") or "agreement" in name or "kl" in name
    ]
    assert "verdict" in [event.code for event in events if isinstance(event, Noted)]


def test_the_order_in_which_rows_come_changes_nothing(whole, data, logits, tmp_path):
    order = np.random.default_rng(1).permutation(1_797)
    wanted = spec(push(data, logits=logits[order], image=order))

    events = list(run(wanted, tmp_path, data_folder=data))

    assert events[-1].metrics["student.test.nll"] == whole[2][-1].metrics["student.test.nll"]


@pytest.mark.parametrize("knows_the_test_split", [True, False])
def test_all_seeds_learn_from_the_same_labels(knows_the_test_split, data, logits, tmp_path):
    number_N = np.arange(1_797) if knows_the_test_split else load_dataset("digits", data, 0.1).train.numbers.numpy()
    own = {"epochs": 1, "seeds": 2, "baselines": {"label_smoothing": 0.1}, "objective": {"also": [{"method": "dist"}]}}
    wanted = spec(push(data, logits=logits[number_N], image=number_N), **own)

    events = list(run(wanted, tmp_path / "whole", data_folder=data))

    phases = [event.phase for event in events if isinstance(event, PhaseStarted)]
    assert (phases.count("labelling"), phases.count("student")) == (1, 2)
    metrics, report = events[-1].metrics, json.loads((tmp_path / "whole" / "report.json").read_text())
    assert ("teacher.test.top1" in metrics) is ("student.test.agreement.mean" in metrics) is knows_the_test_split
    assert ("teacher" in report["confusion"]) is ("teacher" in report["archs"]) is knows_the_test_split
    assert {"student", "control", "label_smoothing"} <= set(report["confusion"])

    between = next(event for event in events if isinstance(event, Saved) and event.phase == "evaluating")
    state = tmp_path / "whole" / between.resume.path
    resumed = list(run(wanted, tmp_path / "again", state, data_folder=data))
    assert resumed[-1].metrics["student.test.nll.mean"] == metrics["student.test.nll.mean"]
    assert resumed[-1].metrics.get("teacher.test.nll") == metrics.get("teacher.test.nll")


def test_labels_in_another_order_are_found_out_before_anything_is_learnt(data, logits, tmp_path):
    wanted = spec(push(data, logits=np.roll(logits, 100, axis=0)))

    with pytest.raises(LabelsUnfit, match=r"hardly better than guessing.*or in another order"):
        list(run(wanted, tmp_path, data_folder=data))


def test_labels_that_are_missing_gone_or_of_something_else_are_refused_in_words(data, logits, tmp_path):
    missing = spec(push(data, logits=logits[:1_000], image=np.arange(1_000)))
    others = spec(push(data, Images("mnist5k", 1_797, 10, (1_797,)), logits=logits))

    for wanted, why in (
        (missing, r"it knows nothing of \d+ of the training images, such as image 1000"),
        (others, "its labels are of mnist5k, and this run is on digits"),
        (spec("ab" * 16), "it is not there, or damaged"),
    ):
        with pytest.raises(LabelsUnfit, match=why):
            list(run(wanted, tmp_path, data_folder=data))


@pytest.mark.parametrize(
    ("mode", "config", "why"),
    [
        ("guide", {}, "teacher.labels cannot guide"),
        ("train", {"views": 4}, "views must be 1 with teacher.labels"),
        ("train", {"views": "all"}, "views must be 1 with teacher.labels"),
        ("train", {"augmentation": {"mixup": 0.2}}, "augmentation.mixup blends two images"),
        (
            "train",
            {"student": {"arch": "cnn"}, "objective": {"method": "rkd"}},
            "objective.method rkd compares features, and labels that were pushed have none: take one teacher",
        ),
        ("train", {"objective": {"method": "cross_view"}}, "two views of an image, and labels that were pushed are of"),
        ("train", {"teacher": {"labels": "x"}}, "is no id of a label table"),
    ],
)
def test_what_makes_no_sense_with_labels_is_refused(mode, config, why):
    with pytest.raises(ValueError, match=why):
        parse({"mode": mode, "config": {"teacher": {"labels": "ab" * 16}, **config}})


def test_a_spec_with_labels_is_the_same_after_a_round_trip(whole):
    assert parse(whole[0].model_dump_json()) == whole[0]
    assert not [event for event in whole[2] if isinstance(event, RoundEnded)]
