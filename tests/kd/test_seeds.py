"""Student and control from several seeds under one teacher, against a control of its own recipe, beside baselines."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from kd import errors
from kd.events import Evaluated, Finished, Noted, PhaseStarted, RoundEnded, Saved, Step
from kd.models.weights import read_facts
from kd.run import run
from kd.spec import parse
from kd.training import run as kd_training_run
from tests.kd.chosen import evaluated, to_be_kept
from tests.kd.tiny import VALIDATION_IMAGES

pytestmark = pytest.mark.usefixtures("one_thread")

OWN_RECIPE = {"optimizer": {"name": "adam", "lr": 0.005}, "batch_size": 128, "augmentation": {"crop_padding": 2}}
TINY = {
    "dataset": "digits",
    "teacher": {"arch": "mlp", "epochs": 3},
    "epochs": 2,
    "checkpoint_seconds": 3600,
    "seeds": 2,
    "control": OWN_RECIPE,
    "baselines": {"label_smoothing": 0.1},
}
OF_MODE = {"train": {"views": 2}, "guide": {"rounds": {"epochs": 1, "views": 1}}}
ROLES = ("student", "control", "label_smoothing")


def spec_of(mode: str, **changes: Any):
    return parse({"mode": mode, "config": TINY | OF_MODE[mode] | changes})


@pytest.fixture(scope="module", params=["train", "guide"])
def whole(request, data, tmp_path_factory):
    """An undisturbed run of two seeds: its spec, its folder, everything it said."""
    out, spec = tmp_path_factory.mktemp(request.param), spec_of(request.param)
    return spec, out, list(run(spec, out, data_folder=data))


def report_of(out: Path) -> dict:
    return json.loads((out / "report.json").read_text())


def position(out: Path, saved: Saved) -> dict:
    return torch.load(out / saved.resume.path, weights_only=True)["position"]


def saves(events: list) -> list[Saved]:
    return [event for event in events if isinstance(event, Saved)]


def same(one: Any, other: Any) -> bool:
    """Whether two pieces of a position are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def measured(position: dict) -> list[dict]:
    """What was found of each seed, without how fast it was."""
    return [
        {**one, "metrics": {name: value for name, value in one["metrics"].items() if "latency" not in name}}
        for one in position["measured"]
    ]


def test_each_seed_says_which_it_is_and_the_teacher_s_labels_are_made_once(whole):
    spec, _, events = whole

    phases = [(event.phase, event.repetition, event.repetitions) for event in events if isinstance(event, PhaseStarted)]
    trained = [(phase, number) for phase, number, _ in phases if phase in ROLES]
    assert trained == [(role, number) for number in (1, 2) for role in ROLES]
    labelled = [number for phase, number, _ in phases if phase == "labelling"]
    assert labelled == ([None] if spec.mode == "train" else [1, 1]), "in guide once for each round"
    assert {number_of for _, number, number_of in phases if number is not None} == {2}
    rounds = [event.repetition for event in events if isinstance(event, RoundEnded)]
    assert rounds == ([] if spec.mode == "train" else [1, 1, 2, 2])
    curves = {name for event in events for name, _ in event.points()}
    assert {"student.1.loss", "student.2.loss", "control.2.validation.top1"} <= curves
    assert "student.loss" not in curves


def test_progress_rises_from_0_to_1_over_all_seeds(whole):
    _, _, events = whole

    fractions = [event.fraction for event in events if isinstance(event, Step)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    ends = {(event.phase, event.repetition): event.fraction for event in events if isinstance(event, Step)}
    assert ends["evaluating", 1] < 0.7
    assert [event.fraction for event in saves(events)] == sorted(event.fraction for event in saves(events))
    assert [event.step for event in saves(events)] == sorted({event.step for event in saves(events)})


def test_the_report_has_means_over_the_seeds_and_each_seed_s_own_numbers(whole):
    _, out, events = whole
    metrics, report = events[-1].metrics, report_of(out)

    assert [one["seed"] for one in report["seeds"]] == [0, 1]
    for role in ROLES:
        nll, top1 = ([one["metrics"][f"{role}.test.{name}"] for one in report["seeds"]] for name in ("nll", "top1"))
        assert nll[0] != nll[1], "another seed is another student"
        assert metrics[f"{role}.test.top1.mean"] == pytest.approx(statistics.mean(top1))
        assert metrics[f"{role}.test.top1.std"] == pytest.approx(statistics.stdev(top1))
    for role, name in (("control", "gain"), ("label_smoothing", "gain_over_label_smoothing")):
        gains = [one["metrics"]["student.test.top1"] - one["metrics"][f"{role}.test.top1"] for one in report["seeds"]]
        assert [one["metrics"][name] for one in report["seeds"]] == pytest.approx(gains)
        assert metrics[name] == pytest.approx(statistics.mean(gains)), "of all seeds, not of the one that is offered"
        assert metrics[f"{name}.std"] == pytest.approx(statistics.stdev(gains))
        assert metrics[f"{name}.low"] < metrics[name] < metrics[f"{name}.high"]
        assert report["comparisons"][role]["low"] == metrics[f"{name}.low"]
    assert metrics["seeds"] == 2


def test_the_verdict_comes_first_as_a_code_and_a_sentence(whole):
    _, out, events = whole

    verdict = events[-1].verdict
    assert next(iter(report_of(out))) == "verdict"
    assert report_of(out)["verdict"] == verdict.model_dump()
    notes = [event for event in events if isinstance(event, Noted)]
    assert next(note.message for note in notes if note.code == "verdict") == verdict.message
    assert verdict.code == report_of(out)["comparisons"]["control"]["code"]
    assert verdict.message.startswith(verdict.code.replace("_", " ").upper() + ": ")
    assert "2 seeds" in verdict.message
    assert "label smoothing" in verdict.message


def test_one_student_is_offered_the_best_of_all_on_the_validation_split(whole):
    _, out, events = whole
    report = report_of(out)

    def standing(scores: dict) -> tuple[float, float]:
        return scores["top1"], -scores["nll"]

    scores = {number: to_be_kept(evaluated(events, "student", number), VALIDATION_IMAGES).metrics for number in (1, 2)}
    best = max(scores, key=lambda number: standing(scores[number]))
    (offered,) = [one for one in report["seeds"] if one["is_offered"]]
    assert offered["seed"] == best - 1
    last = [event for event in saves(events) if event.best][-1]
    assert last.metrics["repetition"] == best
    assert last.metrics["top1"] == events[-1].metrics["student.validation.top1"]
    assert events[-1].metrics["student.test.top1"] == offered["metrics"]["student.test.top1"]
    assert read_facts(out / last.student.path).arch == "mlp"
    taken = report["confusion"]["student"]
    right = sum(row.get(name, 0) for name, row in taken.items())
    assert right / sum(sum(row.values()) for row in taken.values()) == offered["metrics"]["student.test.top1"]
    (offer,) = [note.message for note in events if isinstance(note, Noted) and note.code == "offered"]
    assert f"that of seed {offered['seed']} (repetition {best} of 2)," in offer, "by its value, and as events count it"


def test_stopped_at_the_end_of_any_phase_and_resumed_the_seeds_come_out_the_same(whole, data, tmp_path):
    """And within the student of the second seed."""
    spec, out, events = whole
    final = position(out, saves(events)[-1])
    learning = [event for event in saves(events)[:-1] if event.phase not in ("teacher", "labelling")]
    stops = [one for one in learning if one.student is None or one.metrics.get("repetition") == 2]
    assert {(one.phase, one.student is None) for one in stops} > {(phase, True) for phase in (*ROLES, "evaluating")}

    for number, saved in enumerate(stops):
        again = list(run(spec, tmp_path / str(number), out / saved.resume.path, data_folder=data))

        where = (saved.phase, saved.epoch, saved.step)
        end = position(tmp_path / str(number), saves(again)[-1])
        assert same(end["outcomes"], final["outcomes"]), where
        assert same(measured(end), measured(final)), where
        assert same(end["evidence"]["disputed"], final["evidence"]["disputed"]), where
        best = [event for event in saves(again) if event.best]
        whole_best = [event for event in saves(events) if event.best][-1]
        assert not best or best[-1].student.sha256 == whole_best.student.sha256, where
        assert best or whole_best.step <= saved.step, where
        fractions = [event.fraction for event in again if isinstance(event, Step)]
        assert fractions == sorted(fractions), where
        assert not fractions or (fractions[0] >= saved.fraction - 1e-3 and fractions[-1] == 1), where


def test_a_run_of_several_seeds_that_is_over_says_the_same_again(whole, data, tmp_path):
    spec, out, events = whole

    again = list(run(spec, tmp_path, out / saves(events)[-1].resume.path, data_folder=data))

    assert isinstance(again[-1], Finished)
    assert again[-1] == events[-1]
    assert not [event for event in again if isinstance(event, Saved | Evaluated | Step)]
    assert report_of(tmp_path) == report_of(out)


def test_only_the_last_seed_s_models_stay_in_the_resume_state(whole):
    _, out, events = whole
    ends = [event for event in saves(events) if event.phase == "evaluating"]

    first, last = (position(out, saved) for saved in ends)

    assert set(first["outcomes"]) == set(last["outcomes"]) == {"teacher", *ROLES}
    assert last["measured"][1]["predicted"].keys() == set(ROLES)


def test_a_seed_of_several_is_what_it_would_be_alone(whole, data, tmp_path):
    """Under the same teacher, which is brought along."""
    spec, out, _ = whole
    brought = {"teacher": {"job": "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"}}
    files = [(out / "teacher.safetensors", None)]
    options = {"data_folder": data, "label_folder": tmp_path / "labels", "teacher_files": files}

    both = list(run(spec_of(spec.mode, **brought), tmp_path / "both", **options))
    alone = list(run(spec_of(spec.mode, **brought, seeds=1, seed=1), tmp_path / "alone", **options))

    ends = (position(tmp_path / name, saves(events)[-1]) for name, events in (("both", both), ("alone", alone)))
    of_both, of_one = (end["outcomes"] for end in ends)
    for role in ROLES:
        assert same(of_both[role]["last"], of_one[role]["last"]), role
    second = report_of(tmp_path / "both")["seeds"][1]["metrics"]
    assert second["gain"] == pytest.approx(alone[-1].metrics["gain"])


def test_labels_of_rounds_that_are_too_many_to_keep_are_made_anew_and_are_the_same(data, tmp_path, monkeypatch):
    kept = list(run(spec_of("guide"), tmp_path / "kept", data_folder=data))
    monkeypatch.setattr(kd_training_run, "SHARED_BYTES", 0)

    anew = list(run(spec_of("guide"), tmp_path / "anew", data_folder=data))

    labelled = [event.repetition for event in anew if isinstance(event, PhaseStarted) and event.phase == "labelling"]
    assert labelled == [1, 1, 2, 2]
    ends = [position(tmp_path / name, saves(events)[-1]) for name, events in (("kept", kept), ("anew", anew))]
    assert same(ends[0]["outcomes"], ends[1]["outcomes"])
    fractions = [event.fraction for event in anew if isinstance(event, Step)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


@pytest.mark.parametrize("rounds", [{"teacher": "cotrain"}, {"teacher": "route", "route": {"anchors": 1}}])
def test_who_guides_anew_for_each_seed_resumes_in_the_second_as_in_the_first(rounds, data, tmp_path):
    spec = spec_of("guide", epochs=3, control=False, baselines={}, rounds={"epochs": 1, "views": 1, **rounds})
    events = list(run(spec, tmp_path / "whole", data_folder=data))
    final = position(tmp_path / "whole", saves(events)[-1])
    second = [event for event in saves(events) if event.metrics.get("repetition") == 2]

    for number, saved in enumerate(second[:2]):
        again = list(run(spec, tmp_path / str(number), tmp_path / "whole" / saved.resume.path, data_folder=data))

        end = position(tmp_path / str(number), saves(again)[-1])
        assert same(end["outcomes"], final["outcomes"]), (saved.epoch, saved.step)


def test_a_control_learns_by_its_own_recipe_and_the_student_is_the_same_without_it(data, tmp_path):
    plain, own = (
        list(run(spec_of("train", seeds=1, control=control), tmp_path / name, data_folder=data))
        for name, control in (("plain", True), ("own", OWN_RECIPE))
    )

    ends = [position(tmp_path / name, saves(events)[-1]) for name, events in (("plain", plain), ("own", own))]
    assert same(ends[0]["outcomes"]["student"], ends[1]["outcomes"]["student"])
    for role in ("control", "label_smoothing"):
        assert not same(ends[0]["outcomes"][role]["last"], ends[1]["outcomes"][role]["last"]), role
    rates = [event.metrics["lr"] for event in own if isinstance(event, Step) and event.phase == "control"]
    assert max(rates) <= 0.005
    assert max(event.metrics["lr"] for event in own if isinstance(event, Step) and event.phase == "student") > 0.01


def test_with_one_seed_the_verdict_says_that_it_is_one(data, tmp_path):
    events = list(run(spec_of("train", seeds=1), tmp_path, data_folder=data))

    assert "one seed" in events[-1].verdict.message
    assert "student.test.top1.mean" not in events[-1].metrics
    assert {event.repetition for event in events if isinstance(event, Step | Evaluated)} == {None}
    assert not [event for event in events if isinstance(event, Noted) and event.code == "offered"]


def test_several_seeds_without_a_control_have_means_and_no_verdict(data, tmp_path):
    events = list(run(spec_of("train", control=False, baselines={}), tmp_path, data_folder=data))

    assert events[-1].verdict is None
    assert events[-1].metrics["student.test.top1.std"] >= 0
    assert "gain" not in events[-1].metrics


def test_a_run_of_several_seeds_is_not_extended(whole, data, tmp_path):
    spec, out, events = whole
    longer = parse({"mode": spec.mode, "config": {**spec.config.model_dump(mode="json"), "epochs": 6}})

    with pytest.raises(errors.BadResume, match="several seeds"):
        list(run(longer, tmp_path, out / saves(events)[-1].resume.path, data_folder=data, extends=True))
