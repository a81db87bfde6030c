"""Several teachers at once: got one after the other, labelled one after the other, heard as one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kd.errors import TeacherMissing, TeacherUnfit
from kd.events import Evaluated, Finished, Noted, PhaseStarted, RoundEnded, Saved, Step
from kd.labels.manifest import read_manifest
from kd.models.weights import digest_of, load_model
from kd.run import run
from kd.spec import parse

pytestmark = pytest.mark.usefixtures("one_thread")

JOB, OTHER = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW", "job_01JZ3V6M8Q4T2B7XK9D5FHNCRX"
TINY = {"dataset": "digits", "epochs": 2, "batch_size": 128, "checkpoint_seconds": 3600, "views": 2}
SMALL = {"arch": "cnn_small", "epochs": 2}


def train(*members: dict, **config) -> dict:
    return parse({"mode": "train", "config": {**TINY, "teacher": {"committee": list(members)}, **config}})


TWINS = train(SMALL, SMALL)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A committee of two with one recipe: its folder and what it said."""
    out = tmp_path_factory.mktemp("whole")
    return out, list(run(TWINS, out, data_folder=data))


def notes(events: list) -> list[str]:
    return [event.code for event in events if isinstance(event, Noted)]


def tables(data: Path) -> dict[str, np.ndarray]:
    """The label tables, by whose they are."""
    manifests = {path: read_manifest(path) for path in (data / "labels").glob("*.json")}
    return {said.teacher: np.load(path.with_suffix(".npy")) for path, said in manifests.items()}


def test_each_member_has_a_phase_of_its_own_and_differs_from_its_twin(whole):
    out, events = whole

    phases = [event.phase for event in events if isinstance(event, PhaseStarted)]
    assert phases == ["teacher.1", "teacher.2", *["labelling"] * 3, "student", "control", "evaluating"]
    assert (
        len({digest_of("", load_model(out / f"teacher.{number}.safetensors")[0].state_dict()) for number in (1, 2)})
        == 2
    )
    fractions = [event.fraction for event in events if isinstance(event, Step)]
    assert fractions == sorted(fractions)
    assert {"teacher.1.loss", "teacher.2.loss"} <= {name for event in events for name, _ in event.points()}


def test_its_table_is_the_mean_of_its_members_tables_which_are_kept_beside_it(whole, data):
    out, _ = whole

    kept = tables(data)

    models = [load_model(out / f"teacher.{number}.safetensors") for number in (1, 2)]
    one, other = (kept.pop(digest_of(facts.arch, model.state_dict())) for model, facts in models)
    (together,) = kept.values()
    both = [torch.from_numpy(table).float().softmax(dim=-1) for table in (one, other)]
    assert torch.allclose(torch.from_numpy(together).float().softmax(dim=-1), sum(both) / 2, atol=2e-3)


def test_the_report_shows_each_member_and_what_they_are_worth_together(whole):
    out, events = whole
    report = json.loads((out / "report.json").read_text())
    metrics = report["metrics"]

    assert report["archs"] == {
        "teacher.1": "cnn_small", "teacher.2": "cnn_small", "teacher": "cnn_small + cnn_small",
        "student": "mlp", "control": "mlp",
    }  # fmt: skip
    members = [metrics[f"teacher.{number}.test.top1"] for number in (1, 2)]
    better = metrics["teacher.test.top1"] > max(members)
    assert ("committee_not_better" in notes(events)) is not better
    assert metrics["teacher.parameters"] == 2 * metrics["teacher.1.parameters"]
    assert set(report["confusion"]) == set(report["archs"])
    assert {"teacher.1", "teacher.2", "student"} <= set(report["seconds"])
    page, card = ((out / name).read_text() for name in ("report.html", "model-card.md"))
    assert "a committee: cnn_small, 2 epochs; cnn_small, 2 epochs" in page
    assert "| | teacher | student | control | teacher.1 | teacher.2 |" in card
    assert {"teacher.1", "teacher.2"} <= set(report["curves"])
    assert set(report["reliability"]) == {"teacher", "student", "control"}, "of the committee, not of each"
    (together,) = [event for event in events if isinstance(event, Evaluated) and event.phase == "teacher"]
    assert metrics["teacher.validation.nll"] == together.metrics["nll"]


def test_the_same_committee_in_another_order_and_for_another_student_labels_nothing(whole, data, tmp_path):
    out, _ = whole
    files = [(out / f"teacher.{number}.safetensors", None) for number in (2, 1)]
    student = {"student": {"arch": "cnn_small"}, "objective": {"method": "ofa"}}
    spec = train({"job": JOB}, {"job": OTHER}, **student, control=False)

    events = list(run(spec, tmp_path, data_folder=data, teacher_files=files))

    assert "labels_reused" in notes(events)
    assert not [event for event in events if isinstance(event, Step) and event.phase in ("labelling", "teacher.1")]
    assert isinstance(events[-1], Finished)


def test_the_first_member_is_the_teacher_that_a_run_without_a_committee_trains(whole, data, tmp_path):
    alone = parse({"mode": "train", "config": {**TINY, "teacher": SMALL, "control": False}})

    events = list(run(alone, tmp_path, data_folder=data))

    assert "labels_reused" in notes(events)


@pytest.mark.parametrize("phase", ["teacher.1", "teacher.2", "teacher", "labelling", "student"])
def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(phase, whole, data, tmp_path):
    out, events = whole
    stopped = next(event for event in events if isinstance(event, Saved) and event.phase == phase)

    resumed = list(run(TWINS, tmp_path, out / stopped.resume.path, data_folder=data))

    ends = [
        torch.load(folder / [event.resume.path for event in said if isinstance(event, Saved)][-1], weights_only=True)
        for folder, said in ((out, events), (tmp_path, resumed))
    ]
    for role in ("teacher.1", "teacher.2", "student", "control"):
        mine, others = (end["position"]["outcomes"][role]["best"]["weights"] for end in ends)
        assert all(torch.equal(mine[name], others[name]) for name in mine), role
    assert resumed[-1].metrics["student.test.nll"] == events[-1].metrics["student.test.nll"]


def test_labels_are_averaged_anew_when_the_committees_table_is_damaged(whole, data, tmp_path):
    (together,) = [path for path in (data / "labels").glob("*.json") if "+" in (read_manifest(path).teacher_arch or "")]
    before = together.with_suffix(".npy").read_bytes()
    together.with_suffix(".npy").write_bytes(before[:-1] + b"\x7f")

    events = list(run(TWINS, tmp_path, data_folder=data))

    assert together.with_suffix(".npy").read_bytes() == before
    assert notes(events).count("labels_reused") == 2, "its members' tables are what they were"


def test_it_guides_in_rounds_as_it_labels_a_table(whole, data, tmp_path):
    """With a round that shows all views, guide is train with another table: the very same mean."""
    out, events = whole
    files = [(out / f"teacher.{number}.safetensors", None) for number in (1, 2)]
    config = {name: value for name, value in TINY.items() if name != "views"}
    members = {"teacher": {"committee": [{"job": JOB}, {"job": OTHER}]}}
    spec = parse({"mode": "guide", "config": {**config, **members, "rounds": {"epochs": 1, "views": 1}}})

    said = list(run(spec, tmp_path, data_folder=data, teacher_files=files))

    rounds = [event for event in said if isinstance(event, RoundEnded)]
    assert {event.guide for event in rounds} == {"committee"}
    metrics = events[-1].metrics
    assert rounds[0].metrics["teacher_top1"] == metrics["teacher.validation.top1"]
    # Half precision in the table, single in the round.
    assert said[-1].metrics["student.test.nll"] == pytest.approx(metrics["student.test.nll"], rel=1e-3)
    fractions = [event.fraction for event in said if isinstance(event, Step)]
    assert fractions == sorted(fractions)


@pytest.mark.parametrize("mode", ["train", "guide"])
def test_all_seeds_learn_from_one_committee_which_is_measured_once(mode, whole, data, tmp_path):
    out, _ = whole
    files = [(out / f"teacher.{number}.safetensors", None) for number in (1, 2)]
    own = {"views": 2} if mode == "train" else {"rounds": {"epochs": 1, "views": 1}}
    config = {**{name: value for name, value in TINY.items() if name != "views"}, **own, "epochs": 1, "seeds": 2}
    members = {"teacher": {"committee": [{"job": JOB}, {"job": OTHER}]}}
    spec = parse({"mode": mode, "config": {**config, **members, "baselines": {"label_smoothing": 0.1}}})

    events = list(run(spec, tmp_path / "whole", data_folder=data, teacher_files=files))

    phases = [event.phase for event in events if isinstance(event, PhaseStarted)]
    assert [phases.count(phase) for phase in ("teacher.1", "teacher.2", "labelling", "student")] == [1, 1, 1, 2]
    metrics = events[-1].metrics
    assert {"teacher.test.top1", "teacher.2.test.top1", "student.test.top1.std", "gain.std"} <= set(metrics)
    assert not [name for name in metrics if name.startswith("teacher") and name.endswith(".std")]
    report = json.loads((tmp_path / "whole" / "report.json").read_text())
    roles = {"teacher.1", "teacher.2", "teacher", "student", "control", "label_smoothing"}
    assert set(report["confusion"]) == set(report["archs"]) == roles
    assert all("teacher.1.test.top1" not in seed["metrics"] for seed in report["seeds"])

    between = next(event for event in events if isinstance(event, Saved) and event.phase == "evaluating")
    state = tmp_path / "whole" / between.resume.path
    resumed = list(run(spec, tmp_path / "again", state, data_folder=data, teacher_files=files))
    for name in ("teacher.1.test.nll", "teacher.test.nll", "student.test.nll.mean", "control.test.nll.mean"):
        assert resumed[-1].metrics[name] == metrics[name], name


def test_it_labels_views_in_pairs_as_one_teacher_does(whole, data, tmp_path):
    files = [(whole[0] / f"teacher.{number}.safetensors", None) for number in (1, 2)]
    own = {"objective": {"method": "cross_view"}, "control": False, "epochs": 1, "views": 1}

    events = list(run(train({"job": JOB}, {"job": OTHER}, **own), tmp_path, data_folder=data, teacher_files=files))

    assert isinstance(events[-1], Finished)
    assert events[-1].metrics["student.images_seen"] == 2 * 1_295


# -- what makes no committee ------------------------------------------------------------------------------


def test_a_member_that_is_another_once_more_is_refused(whole, data, tmp_path):
    file = whole[0] / "teacher.1.safetensors"

    with pytest.raises(TeacherUnfit, match=r"as teacher.2 does not fit: it is teacher.1 once more"):
        list(run(train({"job": JOB}, {"job": OTHER}), tmp_path, data_folder=data, teacher_files=[(file, None)] * 2))


def test_it_is_said_how_many_files_are_wanted(data, tmp_path):
    with pytest.raises(TeacherMissing, match=r"names a model from elsewhere, and no files came: teacher_files"):
        list(run(train({"job": JOB}, SMALL), tmp_path, data_folder=data))
