"""Runs on boxes of photos that were packed larger than what the models see, in both modes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kd.data import packing, published
from kd.data.dataset import load_dataset
from kd.data.packing import Chunk
from kd.errors import TeacherUnfit
from kd.evaluation import cost
from kd.events import Saved
from kd.models.build import build
from kd.models.folding import for_inference
from kd.models.weights import load_model, read_facts
from kd.run import run
from kd.spec import parse
from kd.training.run import prepare

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE, SEEN = 24, 16
SHAPE = (3, SEEN, SEEN)
CONFIG = {
    "dataset": "packed/photos",
    "input_size": SEEN,
    "teacher": {"arch": "cnn_small", "epochs": 1},
    "student": {"arch": "cnn_small"},
    "augmentation": {"resized_crop": {"scale": [0.3, 1]}, "flip": True, "strong": 1, "mixup": 0.2, "cutmix": 1},
    "epochs": 2,
    "batch_size": 64,
    "gradient_accumulation": 2,
    "checkpoint_seconds": 0,
}
OWN = {"train": {"views": 2}, "guide": {"rounds": {"epochs": 2, "views": 2}}}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder with 500 of the digits that scikit-learn ships, three times as large and in colour."""
    folder = tmp_path_factory.mktemp("data")
    digits = published.digits()
    large_NHWC = np.kron(digits.images[:500].transpose(0, 2, 3, 1), np.ones((1, SIDE // 8, SIDE // 8, 3), np.uint8))
    packing.pack(folder, "packed/photos", [Chunk(large_NHWC, digits.labels[:500])])
    return folder


def spec_of(mode: str, **changes) -> object:
    return parse(json.dumps({"mode": mode, "config": CONFIG | OWN[mode] | changes}))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """By mode an undisturbed run: its folder, everything it said."""
    found = {}
    for mode in OWN:
        out = tmp_path_factory.mktemp(mode)
        found[mode] = out, list(run(spec_of(mode), out, data_folder=data, label_folder=out / "labels"))
    return found


def last_of(out: Path, events: list, role: str) -> dict[str, torch.Tensor]:
    resume = [event.resume.path for event in events if isinstance(event, Saved)][-1]
    return torch.load(out / resume, weights_only=True)["position"]["outcomes"][role]["last"]


@pytest.mark.parametrize("mode", OWN)
def test_stopped_in_the_middle_of_an_epoch_and_resumed_from_images_on_disk_a_run_ends_with_the_same_weights(
    mode, whole, data, tmp_path
):
    whole_out, events = whole[mode]
    labels = tmp_path / "labels"
    stop_at = next(e.step for e in events if isinstance(e, Saved) and e.phase == "student" and e.epoch == 1) + 2

    for event in run(spec_of(mode), tmp_path / "1", data_folder=data, label_folder=labels):
        if isinstance(event, Saved) and event.step == stop_at:
            break
    current = torch.load(tmp_path / "1" / event.resume.path, weights_only=True)["position"]["current"]
    assert current["batch"] > 0
    state = tmp_path / "1" / event.resume.path
    resumed = list(run(spec_of(mode), tmp_path / "2", state, data_folder=data, label_folder=labels, resident_bytes=0))

    for role in ("teacher", "student", "control"):
        mine, theirs = last_of(tmp_path / "2", resumed, role), last_of(whole_out, events, role)
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert resumed[-1].metrics["student.test.nll"] == events[-1].metrics["student.test.nll"]


def test_models_are_made_for_what_they_see_and_what_is_told_of_them_is_of_that(whole):
    out, events = whole["train"]

    students = [event.student.path for event in events if isinstance(event, Saved) and event.student]
    for name in ("teacher.safetensors", students[-1]):
        assert read_facts(out / name).shape == SHAPE
    assert events[-1].metrics["student.macs"] == cost.macs(build("cnn_small", 10, SHAPE), SHAPE)
    assert "Input size" in (out / "report.html").read_text()
    seen = (
        "It sorts images of 24 × 24 pixels and 3 channels, like those of packed/photos, into 10 classes. Of an image "
    )
    seen += "it sees the middle 21 × 21 pixels, resized to 16 × 16 (bilinear, antialiased)."
    assert seen in (out / "model-card.md").read_text()


def test_the_boxes_that_were_labelled_are_shown_again_from_what_the_table_says_of_them(whole, data):
    out, _ = whole["train"]
    (manifest,) = (out / "labels").glob("*.json")
    facts, table_NVC = json.loads(manifest.read_text()), np.load(manifest.with_suffix(".npy"))
    views_NVP = np.load(manifest.with_suffix(".views.npy"))
    assert facts["plan"]["resized_crop"] == {"scale": [0.3, 1], "ratio": [3 / 4, 4 / 3]}
    assert facts["plan"]["input_size"] == [SEEN, SEEN]
    assert facts["view_parameters"]["columns"][:6] == ["image", "top", "left", "height", "width", "flip"]

    spec = spec_of("train")
    viewer = prepare(
        spec.config,
        load_dataset("packed/photos", data, 0.1),
        torch.device("cpu"),
        autocast_dtype=None,
        out=out,
        labels=out,
        teacher_arch="cnn_small",
    ).train.viewer
    teacher = for_inference(load_model(out / "teacher.safetensors")[0].to(memory_format=torch.channels_last))
    for view in range(2):
        pixels = viewer.replay(torch.arange(len(viewer)), torch.from_numpy(views_NVP[:, view, 1:]))
        with torch.inference_mode():
            said_NC = teacher(pixels)
        torch.testing.assert_close(torch.from_numpy(table_NVC[:, view]).float(), said_NC, rtol=2e-3, atol=2e-3)


def test_a_teacher_of_another_size_is_refused_in_words(whole, data, tmp_path):
    out, _ = whole["train"]
    other = spec_of("train", input_size=20, teacher={"job": "job_00000000000000000000000000"})

    with pytest.raises(TeacherUnfit) as refused:
        list(run(other, tmp_path, data_folder=data, teacher_files=[(out / "teacher.safetensors", None)]))

    assert "images of 16×16 pixels in 3 channels, those of packed/photos are shown at 20×20" in str(refused.value)
