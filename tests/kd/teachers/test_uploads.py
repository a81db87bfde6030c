"""A teacher that somebody brings as ONNX teaches as the model does that it was made of."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto

from kd import errors
from kd.data.dataset import load_dataset
from kd.events import Event, Noted
from kd.models.preprocess.said import Preprocess
from kd.models.weights import load_model, read_facts
from kd.run import run
from kd.spec import parse
from kd.teachers import uploads
from kd.teachers.uploads import NoSuchTeacher, Said
from tests.kd.tiny import OF_MODE, SHORT
from tests.support.models.onnx_files import linear

pytestmark = pytest.mark.usefixtures("one_thread")

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def weights(data) -> np.ndarray:
    """A linear layer that knows digits, of pixels in 0..1: float32 [pixels, classes]."""
    train = load_dataset("digits", data, 0.1).train
    images, layer = train.images.flatten(1).float() / 255, torch.nn.Linear(64, 10, bias=False)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(images), train.labels).backward()
        optimizer.step()
    return layer.weight.detach().numpy().T.copy()


@pytest.fixture
def brought(tmp_path) -> Callable[..., str]:
    """Brings a file; its id."""

    def brought(file: Any, preprocess: Preprocess | None = Preprocess(), classes: tuple[str, ...] | None = None) -> str:
        said = Said(name="mine", preprocess=preprocess, classes=classes)
        return uploads.add(tmp_path / "teachers", io.BytesIO(file.SerializeToString()), said)[0].id

    return brought


@pytest.fixture
def taught(tmp_path, data) -> Callable[..., list[Event]]:
    """All that a short run under this teacher says."""

    def taught(teacher_id: str, mode: str = "train", **changes: object) -> list[Event]:
        spec = parse({"mode": mode, "config": SHORT | OF_MODE[mode] | {"teacher": {"upload": teacher_id}} | changes})
        file = uploads.manifest(tmp_path / "teachers", teacher_id)
        return list(run(spec, tmp_path / mode, data_folder=data, teacher_files=[(file, None)]))

    return taught


def accuracy(weights: np.ndarray, data: Path) -> float:
    test = load_dataset("digits", data, 0.1).test
    said = (test.images.flatten(1).double() / 255).numpy() @ weights
    return float((said.argmax(1) == test.labels.numpy()).mean())


@pytest.mark.parametrize("mode", ["train", "guide"])
def test_it_teaches_in_both_modes_and_is_as_good_as_the_model_it_was_made_of(
    data, tmp_path, weights, brought, taught, mode
):
    events = taught(brought(linear(weights=weights)), mode)

    metrics = events[-1].metrics
    assert metrics["teacher.test.top1"] == accuracy(weights, data) > 0.85
    assert (metrics["teacher.parameters"], metrics["teacher.macs"]) == (640, 640)
    (note,) = [event.message for event in events if isinstance(event, Noted) and event.code == "teacher_brought"]
    assert "mine (tch_" in note
    assert "an ONNX model of 640 parameters that sees images of 8×8 pixels: none is trained here" in note
    assert read_facts(tmp_path / mode / "teacher.safetensors").arch == "onnx", "other jobs may have it"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ends_in": "Softmax"}, "gives probabilities, of which the logarithms are taken"),
        ({"shape": (16, 1, 8, 8)}, "8×8 pixels:"),
        ({"shape": (None, 8, 8, 1), "kind": TensorProto.UINT8}, "8×8 pixels:"),
        ({"classes": tuple(reversed(DIGITS))}, "8×8 pixels:"),
    ],
    ids=["probabilities", "sixteen images at a time", "bytes, channels last", "classes in another order"],
)
def test_however_its_file_is_made_it_is_as_good(data, weights, brought, taught, change, said):
    classes = change.pop("classes", None)
    integers = "kind" in change
    # Bytes are 255 times as large; of another order are its columns.
    its = weights / 255 if integers else weights if classes is None else weights[:, ::-1].copy()

    events = taught(brought(linear(weights=its, **change), None if integers else Preprocess(), classes))

    assert events[-1].metrics["teacher.test.top1"] == pytest.approx(accuracy(weights, data), abs=1e-3)
    assert said in next(
        event.message for event in events if isinstance(event, Noted) and event.code == "teacher_brought"
    )


@pytest.mark.parametrize(
    ("file", "preprocess", "classes", "why"),
    [
        ({}, None, None, "its input is no uint8, so it must be said what it sees of pixels"),
        ({"classes": 7}, Preprocess(), None, "it knows 7 classes, and the images have 10"),
        ({"shape": (None, 3, 8, 8)}, Preprocess(mean=(0.1, 0.2), std=(1, 1)), None, "was said to be of 2 channels"),
        ({"shape": (None, 1, 8, 8)}, Preprocess(size=(9, 9)), None, "said to see images of 9×9 pixels, and the file"),
        ({}, Preprocess(), ("a", *DIGITS[1:]), "the classes it was said to know have no '0', which digits has"),
        ({}, Preprocess(), ("a", *DIGITS), "11 classes were named, and the file knows 10"),
        ({"weights": np.full((64, 10), 3e38, np.float32)}, Preprocess(scale=1), None, "are no finite numbers"),
    ],
)
def test_one_that_cannot_teach_here_is_refused_in_words_before_anything_is_labelled(
    brought, taught, file, preprocess, classes, why
):
    with pytest.raises((errors.TeacherUnfit, errors.GraphUnfit), match=why):
        taught(brought(linear(**file), preprocess, classes))


def test_a_file_that_has_changed_is_refused(tmp_path, weights, brought, taught):
    teacher_id = brought(linear(weights=weights))
    (tmp_path / "teachers" / teacher_id / "model.onnx").write_bytes(linear().SerializeToString())

    with pytest.raises(errors.TeacherUnfit, match="its file has changed since it was brought"):
        taught(teacher_id)


def test_a_student_of_it_may_be_taught_on_and_a_committee_may_have_it(data, tmp_path, weights, brought, taught):
    teacher_id = brought(linear(weights=weights))
    taught(teacher_id)

    job = parse(
        {"mode": "train", "config": {**SHORT, "teacher": {"job": "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"}, "views": 2}}
    )
    lent = [(tmp_path / "train" / "teacher.safetensors", None)]
    events = list(run(job, tmp_path / "second", data_folder=data, teacher_files=lent))
    both = {"committee": [{"upload": teacher_id}, {"arch": "mlp", "epochs": 1, "optimizer": {"lr": 0.05}}]}
    spec = parse({"mode": "train", "config": {**SHORT, "teacher": both, "views": 2}})
    files = [(uploads.manifest(tmp_path / "teachers", teacher_id), None)]
    together = list(run(spec, tmp_path / "third", data_folder=data, teacher_files=files))

    assert events[-1].metrics["teacher.test.top1"] == accuracy(weights, data)
    assert "labels_reused" in [event.code for event in events if isinstance(event, Noted)]
    assert together[-1].metrics["teacher.1.test.top1"] == accuracy(weights, data)
    assert load_model(tmp_path / "third" / "teacher.1.safetensors")[1].arch == "onnx"


def test_the_same_file_with_the_same_words_is_the_same_teacher_and_it_goes_when_it_is_removed(tmp_path):
    content = linear().SerializeToString()

    def add(said: Said) -> tuple[str, bool]:
        found, is_new = uploads.add(tmp_path, io.BytesIO(content), said)
        return found.id, is_new

    first, again = add(Said(name="a", preprocess=Preprocess())), add(Said(name="b", preprocess=Preprocess()))
    other = add(Said(name="a", preprocess=Preprocess(scale=1)))

    assert (first[1], again, other[1]) == (True, (first[0], False), True)
    assert [one.id for one in uploads.each(tmp_path)] == [other[0], first[0]]
    uploads.remove(tmp_path, first[0])
    with pytest.raises(NoSuchTeacher, match="there is none"):
        uploads.read(tmp_path, first[0])
    with pytest.raises(NoSuchTeacher, match="is no id of a teacher"):
        uploads.read(tmp_path, "../x")
