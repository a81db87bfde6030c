"""A teacher that somebody brings is evaluated before it teaches: how good it is, and which labels it doubts."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kd import errors
from kd.data.dataset import load_dataset, sample
from kd.data.packing import Chunk, pack
from kd.data.parts import TEST, TRAIN
from kd.evaluate_teacher import STEPS, evaluate_teacher
from kd.events import Evaluated, Event, Finished, Noted, Step, Wrote
from kd.models.own.files import registered
from kd.models.preprocess.said import Preprocess
from kd.report.shown.teacher import teacher_page
from kd.spec import TeacherUploaded
from kd.spec.evaluate import EvaluateConfig
from kd.teachers import uploads
from kd.teachers.uploads import Said
from tests.kd.report.reading import HOSTILE, assert_it_loads_and_runs_nothing
from tests.support.models.onnx_files import linear

pytestmark = pytest.mark.usefixtures("one_thread")

Evaluation = tuple[list[Event], dict[str, Any], str]


@pytest.fixture(scope="module")
def layer(data) -> np.ndarray:
    """A linear layer that knows digits, of pixels in 0..1: float32 [pixels, classes]."""
    train = load_dataset("digits", data, 0.1).train
    images, wanted = train.images.flatten(1).double() / 255, torch.eye(10).double()[train.labels]
    return (10 * torch.linalg.lstsq(images, wanted, driver="gelsd").solution).float().numpy()


@pytest.fixture
def brought(tmp_path) -> Callable[..., str]:
    """Brings a file; its id."""

    def brought(weights: np.ndarray, name: str = "mine", classes: tuple[str, ...] | None = None, **file: Any) -> str:
        said = Said(name=name, preprocess=Preprocess(), classes=classes)
        content = linear(weights=weights, **file).SerializeToString()
        return uploads.add(tmp_path / "teachers", io.BytesIO(content), said)[0].id

    return brought


@pytest.fixture
def evaluated(tmp_path, data) -> Callable[..., Evaluation]:
    """What an evaluation says, its report and its page."""

    def evaluated(teacher_id: str, folder: Path = data, **wanted: Any) -> Evaluation:
        config = EvaluateConfig(**({"dataset": "digits"} | wanted), teacher=TeacherUploaded(upload=teacher_id))
        file = uploads.manifest(tmp_path / "teachers", teacher_id)
        said = list(evaluate_teacher(config, tmp_path, data_folder=folder, teacher_file=(file, None)))
        return said, json.loads((tmp_path / "report.json").read_text()), (tmp_path / "report.html").read_text("utf-8")

    return evaluated


@pytest.mark.parametrize("ends_in", [None, "Softmax"])
def test_it_is_as_good_as_the_model_that_it_was_made_of_on_each_split_that_was_asked_for(
    data, layer, brought, evaluated, ends_in
):
    said, report, page = evaluated(brought(layer, ends_in=ends_in), splits=("train", "test"))

    dataset = load_dataset("digits", data, 0.1)
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        answers = (split.images.flatten(1).double() / 255) @ torch.from_numpy(layer).double()
        hits = (answers.argmax(1) == split.labels).double().mean().item()
        assert report["metrics"][f"teacher.{name}.top1"] == pytest.approx(hits, abs=1e-3)
        assert report["images"][name] == report["metrics"][f"{name}.images"] == len(split)
    assert [event.split for event in said if isinstance(event, Evaluated)] == ["train", "test"]
    assert said[-1].metrics == report["metrics"]
    assert isinstance(said[-1], Finished)
    assert [event.file.name for event in said if isinstance(event, Wrote)] == ["report.json", "report.html"]
    steps = [event.fraction for event in said if isinstance(event, Step)]
    assert steps == sorted(steps)
    assert (steps[-1], len(steps) <= STEPS + 1) == (1, True)
    assert not [event for event in said if isinstance(event, Noted) and "hardly better" in event.message]
    assert_it_loads_and_runs_nothing(page)
    assert f"{report['metrics']['teacher.test.top1'] * 100:.2f}" in page


def test_labels_that_it_doubts_are_shown_with_their_images(tmp_path, layer, brought, evaluated, data):
    """Of a data set of which some labels are wrong, those are found, and of a class that is there no other."""
    source = load_dataset("digits", data, 0.1)
    images = source.train.images.permute(0, 2, 3, 1).numpy()
    labels = source.train.labels.numpy().copy()
    sure = (source.train.images.flatten(1).float() / 255 @ torch.from_numpy(layer)).softmax(1)
    known = [int(number) for number in (sure.gather(1, source.train.labels[:, None]).flatten() > 0.97).nonzero()]
    wrong = known[:5]
    labels[wrong] = (labels[wrong] + 1) % 10
    split = np.where(np.arange(len(labels)) % 4 == 3, TEST, TRAIN).astype(np.uint8)
    pack(tmp_path / "sets", "packed/wrong", [Chunk(images, labels, split)], tuple("0123456789"))

    teacher_id = brought(layer)
    said, report, page = evaluated(teacher_id, tmp_path / "sets", dataset="packed/wrong", splits=("train", "test"))

    doubted = {one["number"]: one["label"] for images in report["suspects"].values() for one in images}
    assert {number: str(labels[number]) for number in wrong}.items() <= doubted.items()
    notes = [event.message for event in said if isinstance(event, Noted)]
    assert any("It is sure of another class than their label says on" in note for note in notes)
    for name, images in report["suspects"].items():
        assert (f"Labels of the {name} split that it doubts" in page) == bool(images)


def test_classes_in_another_order_are_put_into_that_of_the_data_set(layer, brought, evaluated):
    turned = tuple(reversed("0123456789"))

    straight = evaluated(brought(layer))[1]
    named = evaluated(brought(np.ascontiguousarray(layer[:, ::-1]), classes=turned))[1]
    unsaid, report, _ = evaluated(brought(np.ascontiguousarray(layer[:, ::-1])))

    assert named["metrics"]["teacher.test.top1"] == straight["metrics"]["teacher.test.top1"] > 0.9
    assert report["metrics"]["teacher.test.top1"] < 0.2
    assert any("how its classes are ordered" in event.message for event in unsaid if isinstance(event, Noted))
    assert report["remarks"], "and the page says so"


def test_weights_are_evaluated_as_an_onnx_model_is(tmp_path, bring, weights, trained, evaluated):
    """Those of a teacher that was trained here: its job found the same."""
    found = evaluated(bring(weights))[1]["metrics"]

    of_its_job = trained[1][-1].metrics
    assert found["teacher.test.top1"] == of_its_job["teacher.test.top1"]
    assert found["teacher.test.nll"] == pytest.approx(of_its_job["teacher.test.nll"], rel=1e-5)
    assert found["teacher.parameters"] == of_its_job["teacher.parameters"]


@pytest.mark.parametrize(
    ("classes", "wanted", "error", "why"),
    [
        (7, {}, errors.TeacherUnfit, "knows 7 classes"),
        (10, {"dataset": "packed/none"}, errors.DataError, "no packed one at all"),
    ],
)
def test_one_that_does_not_know_these_images_is_refused_in_words(brought, evaluated, classes, wanted, error, why):
    weights = np.ones((64, classes), np.float32)

    with pytest.raises(error, match=why):
        evaluated(brought(weights, classes=None), **wanted)


def test_answers_that_are_no_numbers_are_refused(tmp_path, brought, evaluated):
    """Its weights are finite, and so is what it says of images that are not white all over."""
    images = np.random.default_rng(0).integers(0, 16, (60, 8, 8, 1), np.uint8)
    images[-1] = 255
    split = np.where(np.arange(60) < 40, TRAIN, TEST).astype(np.uint8)
    pack(tmp_path / "sets", "packed/white", [Chunk(images, np.arange(60) % 10, split)])
    largest = np.full((64, 10), np.finfo(np.float32).max / 40, np.float32)

    with pytest.raises(errors.TeacherUnfit, match="what it says of the test images are no finite numbers"):
        evaluated(brought(largest), tmp_path / "sets", dataset="packed/white")


def test_of_a_large_split_it_is_shown_some_images_the_same_each_time(data, layer, brought, evaluated):
    teacher_id = brought(layer)

    some, again, all_of_them = (evaluated(teacher_id, splits=("test",), images=images)[1] for images in (50, 50, 359))

    assert some["images"] == {"test": 50}
    assert all_of_them["images"] == {"test": 359}
    assert some["metrics"] == again["metrics"]
    drawn = sample(load_dataset("digits", data, 0.1), 50).test
    whole = load_dataset("digits", data, 0.1).test
    assert len(set(drawn.numbers.tolist())) == 50
    place = {number: place for place, number in enumerate(whole.numbers.tolist())}
    for image, number in enumerate(drawn.numbers.tolist()):
        assert drawn.labels[image] == whole.labels[place[number]]
        assert (drawn.pixels(image) == whole.pixels(place[number])).all()


def test_more_answers_than_fit_into_memory_are_refused(brought, evaluated, layer, monkeypatch):
    monkeypatch.setattr("kd.spec.evaluate.MOST_NUMBERS", 1_000)

    with pytest.raises(errors.SpecUnfit, match="may be at most 100 where there are 10 classes"):
        evaluated(brought(layer), images=101)


def test_an_architecture_of_ones_own_that_gives_no_logits_is_refused_in_words(tmp_path, bring, evaluated):
    file = tmp_path / "theirs.py"
    file.write_text(OWN)
    with registered([file]):
        teacher_id = bring({"layer.weight": torch.zeros(10, 64), "layer.bias": torch.zeros(10)}, "own/theirs")

        with pytest.raises(errors.BadModel, match="it answers with a dict"):
            evaluated(teacher_id)


OWN = """
from torch import nn


class Theirs(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer = nn.Linear(64, classes)

    def forward(self, images):
        return {"logits": self.layer(images.flatten(1))}


def theirs(classes, channels):
    return Theirs(classes)


MODELS = {"theirs": theirs}
"""


def test_whatever_it_is_called_the_page_is_harmless(brought, evaluated, layer):
    _, report, _ = evaluated(brought(layer))
    assert report["suspects"]["test"], "else nothing is shown of them"

    for text in HOSTILE:
        hostile = json.loads(json.dumps(report))
        hostile["teacher"]["name"] = hostile["teacher"]["described"] = hostile["dataset"]["name"] = text
        hostile["remarks"] = [text]
        hostile["per_class"] = {text: {"teacher": 0.5}}
        hostile["confusion"] = {"teacher": {text: {text: 1, text + "2": 1}}}
        hostile["suspects"] = {"test": [{**one, "label": text} for one in report["suspects"]["test"]]}
        assert_it_loads_and_runs_nothing(teacher_page(hostile))
