"""A run from spec to report, in both modes, on real digits."""

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kd import errors
from kd.evaluation.predict import predict
from kd.events import Evaluated, Finished, Noted, PhaseStarted, RoundEnded, Saved, Started, Step, Wrote
from kd.models.weights import load_model, save_weights
from kd.report import evaluate
from kd.report.shown.page import page
from kd.run import run
from kd.spec import parse
from kd.training import loop
from kd.training.resuming.position import Scores
from tests.kd.chosen import evaluated, of_the_highest, to_be_kept
from tests.kd.tiny import SPECS, TINY, VALIDATION_IMAGES


def weights(out: Path, events: list) -> dict[str, torch.Tensor]:
    """The last student a run saved."""
    last = [event.student for event in events if isinstance(event, Saved) and event.student][-1]
    model, _ = load_model(out / last.path)
    return model.state_dict()


def test_a_run_tells_its_story_from_started_to_finished(whole):
    spec, _, events = whole

    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    phases = [event.phase for event in events if isinstance(event, PhaseStarted)]
    rounds = ["labelling"] if spec.mode == "train" else ["student", "labelling", "labelling"]
    assert sorted(phases) == sorted(
        ["teacher", *rounds, *(["student"] if spec.mode == "train" else []), "control", "evaluating"]
    )
    fractions = [event.fraction for event in events if isinstance(event, Step)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1, "the end is where all is done"
    assert [event.eta_seconds for event in events if isinstance(event, Step)][-1] == 0
    saved = [event.step for event in events if isinstance(event, Saved)]
    assert saved == sorted(set(saved)), "every checkpoint is later than the one before"


def test_teacher_student_and_control_are_reported_side_by_side(whole):
    _, out, events = whole
    metrics = events[-1].metrics

    for role in ("teacher", "student", "control"):
        assert 0.5 < metrics[f"{role}.test.top1"] <= 1, "ten classes of digits, so guessing would give 0.1"
    assert metrics["gain"] == pytest.approx(metrics["student.test.top1"] - metrics["control.test.top1"])
    report = json.loads((out / "report.json").read_text())
    assert report["metrics"] == metrics
    assert set(report["per_class"]) == set("0123456789")
    confusion = report["confusion"]["student"]
    assert sum(sum(taken.values()) for taken in confusion.values()) == metrics["test.images"]
    assert report["per_class"]["3"]["student"] == confusion["3"]["3"] / sum(confusion["3"].values())
    recalls = [of_class["student"] for of_class in report["per_class"].values()]
    assert metrics["student.test.balanced_accuracy"] == pytest.approx(sum(recalls) / 10)
    assert 0.5 < metrics["student.test.macro_f1"] <= 1
    assert [note for note in events if isinstance(note, Noted) and note.code == "verdict"]


def test_a_run_leaves_its_evidence_as_a_page_and_as_a_model_card(whole, monkeypatch):
    spec, out, events = whole
    report, text = json.loads((out / "report.json").read_text()), (out / "report.html").read_text()

    assert text == page(report), "whoever has the report can have the page"
    assert len(text) < 300_000
    assert text.count("<svg") == 2 + 2 + 3 + 1, "costs, learning, calibration of three, classes"
    assert len(report["disputed"]) == 24
    assert ("suspects" in report) == (spec.mode == "train"), "only there a table has all labels"
    assert text.count("<img") == 24 + len(report.get("suspects", []))
    for role, epochs in (("teacher", spec.config.teacher.epochs), ("student", 4), ("control", 4)):
        curve = report["curves"][role]
        assert curve["epoch"] == list(range(1, epochs + 1))
        found = [event for event in events if isinstance(event, Evaluated) and event.phase == role]
        assert curve["validation.top1"] == pytest.approx([event.metrics["top1"] for event in found], rel=1e-5)
        assert curve["train.hard_loss"][-1] < curve["train.hard_loss"][0]
    card = (out / "model-card.md").read_text()
    assert f"{report['metrics']['student.test.top1'] * 100:.2f} %" in card
    # What it shows is what works: on the student, where `kd run` puts it.
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir((out / [e.student for e in events if isinstance(e, Saved) and e.student][-1].path).parent)
    shown: dict = {}
    exec(code, shown)
    assert shown["probabilities"].sum().item() == pytest.approx(1)


def test_files_are_what_the_events_say_they_are(whole):
    _, out, events = whole

    files = [event.file for event in events if isinstance(event, Wrote)]
    files += [file for event in events if isinstance(event, Saved) for file in (event.resume, event.student) if file]
    assert len(files) > 5
    for file in files:
        content = (out / file.path).read_bytes()
        assert len(content) == file.size
        assert hashlib.sha256(content).hexdigest() == file.sha256


def test_the_saved_student_scores_what_the_report_says(whole, data):
    from kd.data.dataset import load_dataset
    from kd.evaluation.scores import score
    from kd.views.pixels import place
    from kd.views.plan import ViewPlan
    from kd.views.viewer import Viewer

    spec, out, events = whole
    best = [event.student for event in events if isinstance(event, Saved) and event.best][-1]

    model, facts = load_model(out / best.path)

    test = load_dataset("digits", data, spec.config.validation_fraction).test
    viewer = Viewer(place(test, 0, torch.device("cpu")), ViewPlan(0, False), facts.mean, facts.std)
    assert score(predict(model, viewer), test.labels)["top1"] == events[-1].metrics["student.test.top1"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_the_run_with_the_facts(data, tmp_path):
    wild = {"arch": "mlp", "epochs": 4, "optimizer": {"lr": 10, "momentum": 0.99, "weight_decay": 1}}
    spec = parse({"mode": "train", "config": {**TINY, "teacher": wild}})

    with pytest.raises(errors.Diverged, match=r"not finite at step \d+: loss nan.* at a learning rate of") as caught:
        list(run(spec, tmp_path, data_folder=data))

    assert caught.value.step > 0


def test_a_guide_that_stops_early_comes_to_its_end_all_the_same(data, tmp_path):
    rounds = {"epochs": 5, "views": 5}
    spec = parse(
        {"mode": "guide", "config": {**TINY, "epochs": 200, "patience": 2, "rounds": rounds, "control": False}}
    )

    events = list(run(spec, tmp_path, data_folder=data))

    assert events[-1].metrics["student.epochs"] < 200
    assert [event.fraction for event in events if isinstance(event, Step)][-1] == 1
    ends = [event.step for event in events if isinstance(event, Evaluated) and event.phase == "student"]
    assert [event for event in events if isinstance(event, RoundEnded)][-1].step == ends[-1]


@pytest.mark.parametrize("role", ["teacher", "student", "control"])
def test_a_model_that_answers_with_nan_is_never_the_best_one(data, tmp_path, monkeypatch, role):
    """Its loss was finite to the last; the update after it was not."""
    monkeypatch.setattr(loop, "validate", spoilt(loop.validate, role))

    with pytest.raises(errors.Diverged, match=f"The {role} answers the validation images .* not finite .* nll nan"):
        list(run(SPECS["train"], tmp_path, data_folder=data))


def test_a_brought_teacher_that_answers_with_nan_is_unfit(whole, data, tmp_path):
    _, out, _ = whole
    model, facts = load_model(out / "teacher.safetensors")
    state = {name: tensor * torch.nan for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    state = model.state_dict() | state
    save_weights(state, facts, tmp_path, Path("spoilt.safetensors"))
    spec = parse({"mode": "train", "config": {**TINY, "teacher": {"job": "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"}}})

    with pytest.raises(errors.TeacherUnfit, match="no finite numbers"):
        list(run(spec, tmp_path, data_folder=data, teacher_files=[(tmp_path / "spoilt.safetensors", None)]))


def test_a_test_image_at_which_a_model_answers_with_nan_stops_the_report(whole, data, tmp_path, monkeypatch):
    spec, out, events = whole
    before = [event for event in events if isinstance(event, Saved)][-2]
    monkeypatch.setattr(evaluate, "predict", lambda *given: predict(*given) * torch.tensor(float("inf")))

    with pytest.raises(errors.Diverged, match="The teacher answers the test images with numbers that are not finite"):
        list(run(spec, tmp_path, out / before.resume.path, data_folder=data))


def spoilt(validate: Callable[..., Scores], role: str) -> Callable[..., Scores]:
    def judge(run: object, model: torch.nn.Module, guidance: object = None) -> Scores:
        if sys._getframe(1).f_locals["phase"] == role and sys._getframe(1).f_locals["epoch"] == 2:
            for parameter in model.parameters():
                parameter.data.fill_(torch.nan)
        return validate(run, model, guidance)

    return judge


def test_a_student_that_has_learnt_nothing_is_told(data, tmp_path):
    still = {"lr": 1e-9, "weight_decay": 0}
    spec = parse({"mode": "train", "config": {**TINY, "optimizer": still, "epochs": 1}})

    events = list(run(spec, tmp_path, data_folder=data))

    remarks = {event.code: event.message for event in events if isinstance(event, Noted)}
    assert "hardly better than guessing" in remarks["weak_student"]
    assert "weak_teacher" not in remarks


def test_batches_in_pieces_come_to_the_same_student(data, tmp_path):
    """But for rounding, since an mlp has no batch statistics."""
    config = {**TINY, "student": {"arch": "mlp"}, "epochs": 2}
    teacher = {"arch": "mlp", "epochs": 2}
    whole, pieces = (
        parse({"mode": "train", "config": config | changes})
        for changes in (
            {"teacher": teacher},
            {"teacher": teacher | {"gradient_accumulation": 3}, "gradient_accumulation": 4},
        )
    )

    students = [
        weights(tmp_path / name, list(run(spec, tmp_path / name, data_folder=data, label_folder=tmp_path / f"l{name}")))
        for name, spec in (("whole", whole), ("pieces", pieces))
    ]

    for name, tensor in students[0].items():
        torch.testing.assert_close(students[1][name], tensor, rtol=1e-2, atol=1e-3)


def test_student_and_control_have_patience_if_they_are_told_to(data, tmp_path):
    spec = parse({"mode": "train", "config": {**TINY, "epochs": 300, "patience": 2}})

    events = list(run(spec, tmp_path, data_folder=data))

    metrics = events[-1].metrics
    for role in ("student", "control"):
        epochs = evaluated(events, role)
        assert metrics[f"{role}.epochs"] == len(epochs) < 300
        assert len(epochs) - of_the_highest(epochs).epoch == 2
        assert metrics[f"{role}.best_epoch"] == to_be_kept(epochs, VALIDATION_IMAGES).epoch


def test_without_a_control_the_run_says_that_nothing_was_compared(data, tmp_path):
    spec = parse({"mode": "train", "config": {**TINY, "control": False}})

    events = list(run(spec, tmp_path, data_folder=data))

    assert "gain" not in events[-1].metrics
    assert [event.fraction for event in events if isinstance(event, Step)][-1] == 1
    assert [note for note in events if isinstance(note, Noted) and note.code == "no_control"]


def test_early_stopping_keeps_the_best_teacher(data, tmp_path):
    teacher = {"arch": "cnn_small", "epochs": 60, "patience": 2}
    spec = parse({"mode": "train", "config": {**TINY, "teacher": teacher, "epochs": 1}})

    events = list(run(spec, tmp_path, data_folder=data))

    epochs = evaluated(events, "teacher")
    assert len(epochs) < 60
    assert len(epochs) - of_the_highest(epochs).epoch == 2
    kept = to_be_kept(epochs, VALIDATION_IMAGES)
    assert events[-1].metrics["teacher.validation.top1"] == kept.metrics["top1"]
    assert events[-1].metrics["teacher.best_epoch"] == kept.epoch


def test_a_cuda_device_that_is_not_there_is_said_in_words(tmp_path):
    with pytest.raises(errors.DeviceMissing, match="no cuda:99 device here: torch does not see"):
        list(run(SPECS["train"], tmp_path, device="cuda:99"))
    for name in ("nonsense", "meta"):
        with pytest.raises(errors.DeviceMissing, match=f"no {name} device here: it may be auto, cpu, cuda"):
            list(run(SPECS["train"], tmp_path, device=name))
