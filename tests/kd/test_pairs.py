"""Runs that show a weak and a strong view of each image together, in both modes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kd.data.dataset import load_dataset
from kd.events import PhaseStarted, Saved, Step
from kd.models import weights
from kd.models.build import build
from kd.models.folding import for_inference
from kd.objectives.objective import Answer, Objective
from kd.parallel.team import Team
from kd.randomness import derive, permutation
from kd.run import run
from kd.spec import parse
from kd.train import TableLabels
from kd.training.batches import cut_evenly
from kd.training.recipe import learning_rate
from kd.views.pixels import place
from kd.views.plan import ViewPlan
from kd.views.viewer import Viewer

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = {
    "dataset": "digits",
    "teacher": {"arch": "cnn_small", "epochs": 2},
    "student": {"arch": "cnn_small"},
    "objective": {"method": "cross_view", "preset": "crld", "batch": {"weight": 1}},
    "epochs": 3,
    "batch_size": 200,
    "checkpoint_seconds": 0,
}
IMAGES = 1295
SPECS = {
    "train": {"mode": "train", "config": CONFIG | {"views": 2}},
    "guide": {"mode": "guide", "config": CONFIG | {"rounds": {"epochs": 2, "views": 2}}},
}


def spec_of(mode: str, **changes) -> object:
    return parse(json.dumps({"mode": mode, "config": SPECS[mode]["config"] | changes}))


@pytest.fixture(scope="module", params=["train", "guide"])
def whole(request, data, tmp_path_factory):
    """An undisturbed run: its mode, its folder, everything it said."""
    out = tmp_path_factory.mktemp(request.param)
    return request.param, out, list(run(spec_of(request.param), out, data_folder=data, label_folder=out / "labels"))


def last_of(out: Path, events: list, role: str) -> dict[str, torch.Tensor]:
    resume = [event.resume.path for event in events if isinstance(event, Saved)][-1]
    return torch.load(out / resume, weights_only=True)["position"]["outcomes"][role]["last"]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_two_views_of_an_image_are_two_images_seen_by_the_student_and_by_its_control(whole):
    mode, _, events = whole
    metrics = events[-1].metrics

    assert metrics["student.images_seen"] == metrics["control.images_seen"] == 3 * 2 * IMAGES
    begun = {event.phase: event.facts for event in events if isinstance(event, PhaseStarted)}
    at_once = {phase: begun[phase]["views_at_once"] for phase in ("teacher", "student", "control")}
    assert at_once == {"teacher": 1, "student": 2, "control": 2}
    labelled = [event.facts["views"] for event in events if isinstance(event, PhaseStarted) and "views" in event.facts]
    assert labelled == ([4] if mode == "train" else [4, 2])
    fractions = [event.fraction for event in events if isinstance(event, Step)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_a_run_of_pairs_that_is_stopped_in_the_middle_of_an_epoch_ends_with_the_same_weights(whole, data, tmp_path):
    mode, whole_out, events = whole
    labels = tmp_path / "labels"
    # The student saves after every step here: this is in the middle of its second epoch.
    saves = [event for event in events if isinstance(event, Saved) and event.phase == "student"]
    stop_at = next(event.step for event in saves if event.epoch == 2)

    for event in run(spec_of(mode), tmp_path / "1", data_folder=data, label_folder=labels):
        if isinstance(event, Saved) and event.step == stop_at + 3:
            break
    current = torch.load(tmp_path / "1" / event.resume.path, weights_only=True)["position"]["current"]
    assert current["epoch"] == 1
    assert current["batch"] > 0
    resumed = list(
        run(spec_of(mode), tmp_path / "2", tmp_path / "1" / event.resume.path, data_folder=data, label_folder=labels)
    )

    for role in ("student", "control"):
        assert same(last_of(tmp_path / "2", resumed, role), last_of(whole_out, events, role))


def test_images_that_stay_on_disk_are_shown_in_the_same_pairs(data, tmp_path):
    spec = spec_of("train", epochs=1, control=False, checkpoint_seconds=1000)

    resident, streamed = (
        last_of(out, list(run(spec, out, data_folder=data, label_folder=out, resident_bytes=size)), "student")
        for out, size in ((tmp_path / "1", None), (tmp_path / "2", 0))
    )

    assert same(resident, streamed)


def test_a_table_holds_what_the_teacher_says_of_the_weak_and_the_strong_views_in_turn(data, tmp_path):
    spec = spec_of("train", epochs=1, control=False, checkpoint_seconds=1000)
    list(run(spec, tmp_path, data_folder=data, label_folder=tmp_path / "labels"))

    (manifest,) = (tmp_path / "labels").glob("*.json")
    facts, table_NVC = json.loads(manifest.read_text()), np.load(manifest.with_suffix(".npy"))
    assert facts["plan"]["paired"] is True
    assert (facts["views"], table_NVC.shape) == (4, (IMAGES, 4, 10))
    teacher, viewer = teacher_and_viewer(data, tmp_path)
    image_N = torch.arange(IMAGES)
    for view in range(4):
        with torch.inference_mode():
            said_NC = teacher(viewer.show(image_N, torch.full_like(image_N, view)))
        torch.testing.assert_close(torch.from_numpy(table_NVC[:, view]).float(), said_NC, rtol=2e-3, atol=2e-3)
    operations = np.load(manifest.with_suffix(".views.npy"))[
        :, :, facts["view_parameters"]["columns"].index("operation_1")
    ]
    assert len(np.unique(operations[:, ::2])) == 1
    assert len(np.unique(operations[:, 1::2])) > 10


def test_of_a_pair_a_table_says_the_logits_and_the_features_of_both_views():
    table_NVC = torch.arange(3 * 4 * 5.0).view(3, 4, 5)  # two classes, and a feature of three numbers
    labels = TableLabels(table_NVC, torch.zeros(1, 2), torch.device("cpu"), classes=2, at_once=2)

    said = labels.answer(torch.tensor([2, 0]), epoch=3)

    rows = torch.stack([table_NVC[2, 2], table_NVC[2, 3], table_NVC[0, 2], table_NVC[0, 3]])
    assert torch.equal(said.logits_BC, rows[:, :2])
    assert said.pooled_BD is not None
    assert torch.equal(said.pooled_BD, rows[:, 2:])


@pytest.mark.parametrize(
    ("mode", "also", "own", "labelled"),
    [
        ("train", ({"method": "srd"}, {"method": "ofa"}), {"views": 1}, [2]),
        ("guide", ({"method": "fitnet", "stage": 1}, {"method": "sp"}), {"rounds": {"epochs": 1, "views": 1}}, [2, 2]),
    ],
)
def test_other_objectives_baselines_and_seeds_see_both_views_of_a_pair(mode, also, own, labelled, data, tmp_path):
    spec = spec_of(
        mode,
        objective={"method": "cross_view", "also": also},
        epochs=2,
        seeds=2,
        control={"augmentation": {"strong": 0, "crop_padding": 0}},
        baselines={"label_smoothing": 0.1},
        checkpoint_seconds=1000,
        **own,
    )

    events = list(run(spec, tmp_path, data_folder=data))

    begun = [event for event in events if isinstance(event, PhaseStarted)]
    for phase in ("student", "control", "label_smoothing"):
        assert [event.facts["views_at_once"] for event in begun if event.phase == phase] == [2, 2]
        assert events[-1].metrics[f"{phase}.images_seen"] == 2 * 2 * IMAGES
    # The second seed has the labels of the first.
    assert [event.facts["views"] for event in begun if event.phase == "labelling"] == labelled


def test_with_as_many_pairs_as_epochs_guiding_is_online_distillation_bit_for_bit(data, tmp_path):
    spec = spec_of("guide", epochs=2, rounds={"epochs": 2, "views": 2}, control=False)
    events = list(run(spec, tmp_path, data_folder=data))

    teacher, viewer = teacher_and_viewer(data, tmp_path)
    labels, config = load_dataset("digits", data, 0.1).train.labels, spec.config
    torch.manual_seed(derive(0, "weights", "student"))
    student = build("cnn_small", 10, (1, 8, 8)).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True)
    objective, batches = Objective(config.objective), -(-IMAGES // config.batch_size)
    for epoch in range(config.epochs):
        order_N = permutation(IMAGES, derive(0, "order", epoch))
        for number, image_B in enumerate(cut_evenly(order_N, config.batch_size, Team())):
            row_R = image_B.repeat_interleave(2)
            pixels = viewer.show(row_R, torch.tensor([2 * epoch, 2 * epoch + 1]).repeat(len(image_B)))
            with torch.inference_mode():
                said = teacher(pixels)
            loss = objective(student(pixels), labels[row_R], Answer(said.clone())).total
            optimizer.param_groups[0]["lr"] = learning_rate(config, epoch + number / batches)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert same(last_of(tmp_path, events, "student"), student.state_dict())


def teacher_and_viewer(data: Path, out: Path) -> tuple[torch.nn.Module, Viewer]:
    dataset, plan = load_dataset("digits", data, 0.1), ViewPlan(1, False, strong=2, paired=True)
    pixels = place(dataset.train, plan.crop_padding, torch.device("cpu"))
    teacher, _ = weights.load_model(out / "teacher.safetensors")
    teacher = for_inference(teacher.to(memory_format=torch.channels_last))
    return teacher, Viewer(pixels, plan, dataset.mean, dataset.std)


def test_pairs_are_strong_unless_it_is_said_how_strong():
    for objective in ({"method": "cross_view"}, {"also": [{"method": "cross_view"}]}):
        spec = spec_of("train", objective=objective)
        assert (spec.config.objective.paired, spec.config.augmentation.strong) == (True, 2)
        assert parse(spec.model_dump_json()) == spec

    assert spec_of("guide", augmentation={"strong": 1}).config.augmentation.strong == 1
    plain = spec_of("train", objective={"method": "kd"}).config
    assert (plain.objective.paired, plain.augmentation.strong) == (False, 0)
