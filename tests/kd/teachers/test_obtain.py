"""A teacher that is brought along: taken as if it had been trained here, or refused in words."""

import json
from pathlib import Path

import pytest
import torch

from kd.errors import BadWeights, TeacherMissing, TeacherUnfit
from kd.events import Evaluated, Finished, Noted, PhaseStarted, RoundEnded, Saved, Step
from kd.models.safetensors.facts import Facts
from kd.models.weights import load_model, read_facts, save_weights
from kd.run import run
from kd.spec import parse

pytestmark = pytest.mark.usefixtures("one_thread")

JOB = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"
TINY = {"dataset": "digits", "epochs": 2, "batch_size": 128, "checkpoint_seconds": 3600, "views": 2}
TRAINED = parse({"mode": "train", "config": {**TINY, "teacher": {"arch": "cnn_small", "epochs": 3}}})
BROUGHT = parse({"mode": "train", "config": {**TINY, "teacher": {"job": JOB}}})


@pytest.fixture(scope="module")
def first(data, tmp_path_factory):
    """A run that trains its teacher: its folder and what it said."""
    out = tmp_path_factory.mktemp("first")
    return out, list(run(TRAINED, out, data_folder=data))


@pytest.fixture(scope="module")
def teacher_file(first) -> Path:
    return first[0] / "teacher.safetensors"


@pytest.fixture(scope="module")
def second(first, teacher_file, data, tmp_path_factory):
    """A run on the same data that takes that teacher."""
    out = tmp_path_factory.mktemp("second")
    return out, list(run(BROUGHT, out, data_folder=data, teacher_files=[(teacher_file, None)]))


def student_of(out: Path, events: list) -> dict[str, torch.Tensor]:
    last = [event.student for event in events if isinstance(event, Saved) and event.student][-1]
    return load_model(out / last.path)[0].state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def notes(events: list) -> list[str]:
    return [event.code for event in events if isinstance(event, Noted)]


def test_a_teacher_that_is_brought_along_is_measured_and_not_trained(second):
    _, events = second

    assert "teacher_brought" in notes(events)
    assert not [event for event in events if isinstance(event, Step) and event.phase == "teacher"]
    (measured,) = [event for event in events if isinstance(event, Evaluated) and event.phase == "teacher"]
    assert (measured.split, measured.epoch) == ("validation", 0)
    phases = [event.phase for event in events if isinstance(event, PhaseStarted)]
    assert phases == ["teacher", "labelling", "student", "control", "evaluating"]
    fractions = [event.fraction for event in events if isinstance(event, Step)]
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.8, "what is left is the evaluation"


def test_it_scores_as_it_did_where_it_was_trained_and_its_labels_are_there_already(first, second):
    trained, brought = first[1][-1].metrics, second[1][-1].metrics

    scores = [name for name in trained if name.startswith(("teacher.test.", "teacher.validation."))]
    assert len(scores) > 4
    assert {name: brought[name] for name in scores} == {name: trained[name] for name in scores}
    assert (brought["teacher.best_epoch"], brought["teacher.epochs"]) == (0, 0)
    assert "labels_reused" in notes(second[1])


def test_the_same_student_comes_of_it_and_the_teacher_can_be_passed_on(first, second):
    assert same(student_of(*first), student_of(*second))
    weights = [load_model(out / "teacher.safetensors")[0].state_dict() for out, _ in (first, second)]
    assert same(*weights)


def test_a_student_teaches_the_next_one(first, data, tmp_path):
    out, events = first
    best = [event.student for event in events if isinstance(event, Saved) and event.best][-1]
    spec = parse({"mode": "train", "config": {**TINY, "teacher": {"job": JOB, "role": "student"}, "control": False}})

    finished = list(run(spec, tmp_path, data_folder=data, teacher_files=[(out / best.path, None)]))[-1]

    assert isinstance(finished, Finished)
    assert finished.metrics["teacher.test.top1"] == events[-1].metrics["student.test.top1"]
    assert read_facts(tmp_path / "teacher.safetensors").arch == "mlp"


@pytest.mark.parametrize("guide", ["fixed", "cotrain"])
def test_it_guides_too(guide, first, teacher_file, data, tmp_path):
    config = {name: value for name, value in TINY.items() if name != "views"}
    rounds = {"epochs": 1, "views": 1, "teacher": guide}
    spec = parse({"mode": "guide", "config": {**config, "teacher": {"job": JOB}, "rounds": rounds, "control": False}})

    events = list(run(spec, tmp_path, data_folder=data, teacher_files=[(teacher_file, None)]))

    rounds = [event for event in events if isinstance(event, RoundEnded)]
    assert len(rounds) == 2
    assert rounds[0].metrics["teacher_top1"] == first[1][-1].metrics["teacher.validation.top1"]
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("phase", ["teacher", "student", "control"])
def test_a_run_that_was_cut_off_goes_on_to_the_same_student(phase, second, teacher_file, data, tmp_path):
    out, events = second
    stopped = next(event for event in events if isinstance(event, Saved) and event.phase == phase)

    resumed = list(
        run(BROUGHT, tmp_path, out / stopped.resume.path, data_folder=data, teacher_files=[(teacher_file, None)])
    )

    assert "teacher_brought" not in notes(resumed)
    mine, others = (
        torch.load(files(folder, said), weights_only=True) for folder, said in (second, (tmp_path, resumed))
    )
    for role in ("teacher", "student", "control"):
        assert same(
            mine["position"]["outcomes"][role]["best"]["weights"],
            others["position"]["outcomes"][role]["best"]["weights"],
        )
    assert resumed[-1].metrics["student.test.nll"] == events[-1].metrics["student.test.nll"]


def files(folder: Path, events: list) -> Path:
    return folder / [event.resume.path for event in events if isinstance(event, Saved)][-1]


# -- refusals ---------------------------------------------------------------------------------------------

MISFITS = [
    ({"classes": tuple("012")}, "it knows 3 classes, digits has 10"),
    ({"classes": tuple("0123456798")}, "class 8 is '9' to it, but '8' in digits"),
    ({"shape": (3, 8, 8)}, "it sees images of 8×8 pixels in 3 channels, those of digits are 8×8 pixels in 1 channel"),
    ({"mean": (0.5,)}, "it wants pixels with the mean (0.5,) and deviation"),
]


@pytest.mark.parametrize(("change", "why"), MISFITS, ids=lambda value: str(value)[:30])
def test_a_teacher_of_something_else_is_refused_in_words(change, why, teacher_file, data, tmp_path):
    facts = read_facts(teacher_file).model_copy(update=change)
    file = weights_of(facts, tmp_path)

    with pytest.raises(TeacherUnfit) as refused:
        list(run(BROUGHT, tmp_path, data_folder=data, teacher_files=[(file, None)]))

    assert why in str(refused.value)


def weights_of(facts: Facts, folder: Path) -> Path:
    from kd.models.build import build

    state = build(facts.arch, len(facts.classes), facts.shape).state_dict()
    return folder / save_weights(state, facts, folder, Path("other.safetensors")).path


def test_a_run_that_is_not_given_its_teacher_says_so(data, tmp_path):
    with pytest.raises(TeacherMissing, match="teacher_file"):
        list(run(BROUGHT, tmp_path, data_folder=data))


@pytest.mark.parametrize("content", [None, b"", b"no weights at all"])
def test_a_file_that_holds_no_teacher_is_refused(content, data, tmp_path):
    file = tmp_path / "teacher.safetensors"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(BadWeights, match=r"^teacher.safetensors does not hold the weights of a model: "):
        list(run(BROUGHT, tmp_path, data_folder=data, teacher_files=[(file, None)]))


# -- the spec ---------------------------------------------------------------------------------------------


def test_a_spec_with_either_kind_of_teacher_is_the_same_after_a_round_trip():
    for spec in (TRAINED, BROUGHT):
        assert parse(spec.model_dump_json()) == spec
    assert json.loads(BROUGHT.model_dump_json())["config"]["teacher"] == {"job": JOB, "role": "teacher"}


def test_anchors_of_a_training_elsewhere_cannot_guide():
    route = {"teacher": {"job": JOB}, "rounds": {"teacher": "route"}}

    with pytest.raises(ValueError, match="needs a teacher that is trained here"):
        parse({"mode": "guide", "config": route})
