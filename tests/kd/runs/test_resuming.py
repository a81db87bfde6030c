"""What must survive a kill: a run that was cut off goes on to the same end, and one that is over to a later one."""

import hashlib
import json
import random

import pytest
import torch

from kd import errors
from kd.events import Evaluated, Finished, Noted, Saved, Step, Wrote
from kd.run import run
from kd.spec import parse
from kd.training.resuming.request import request_of, why_not
from tests.kd.chosen import evaluated, to_be_kept
from tests.kd.tiny import STEP_BY_STEP, TINY, VALIDATION_IMAGES


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_is_stopped_anywhere_and_resumed_ends_with_the_same_weights(whole, data, tmp_path, seed):
    spec, whole_out, whole_events = whole
    checkpoints = [number for number, event in enumerate(whole_events) if isinstance(event, Saved)]
    stop_at = random.Random(seed).choice(checkpoints)

    first = []
    for event in run(spec, tmp_path / "1", data_folder=data, label_folder=tmp_path / "labels"):
        first.append(event)
        if len([e for e in first if isinstance(e, Saved)]) > checkpoints.index(stop_at):
            break
    resume = tmp_path / "1" / first[-1].resume.path
    second = list(run(spec, tmp_path / "2", resume, data_folder=data, label_folder=tmp_path / "labels"))

    whole_position = torch.load(whole_out / last_resume(whole_events), weights_only=True)["position"]
    position = torch.load(tmp_path / "2" / last_resume(second), weights_only=True)["position"]
    for role in ("teacher", "student", "control"):
        assert same(whole_position["outcomes"][role]["last"], position["outcomes"][role]["last"])
        assert same(whole_position["outcomes"][role]["best"]["weights"], position["outcomes"][role]["best"]["weights"])
        curves = [kept["outcomes"][role]["curve"] for kept in (whole_position, position)]
        # The means of an epoch are summed in other pieces.
        assert list(curves[1]) == [pytest.approx(point) for point in curves[0]]
    accuracies = [name for name in whole_events[-1].metrics if ".test." in name]
    assert {name: second[-1].metrics[name] for name in accuracies} == {
        name: whole_events[-1].metrics[name] for name in accuracies
    }


def last_resume(events: list) -> str:
    return [event.resume.path for event in events if isinstance(event, Saved)][-1]


def test_a_run_resumed_after_its_last_checkpoint_finishes(whole, data, tmp_path):
    spec, out, events = whole

    again = list(run(spec, tmp_path, out / last_resume(events), data_folder=data))

    assert isinstance(again[-1], Finished)
    assert again[-1] == events[-1], "nothing is measured a second time"
    assert not [event for event in again if isinstance(event, Saved | Evaluated | Step)]
    remarks = [[event.message for event in said if isinstance(event, Noted)] for said in (again, events)]
    assert remarks[0] == remarks[1][-len(remarks[0]) :] != []
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads((out / "report.json").read_text())


def test_only_what_brings_a_run_further_counts_as_progress(whole, data, tmp_path):
    """Resumed from each of its checkpoints, a run saves nothing with which a smaller share of it would be safe."""
    spec, out, events = whole
    saved = [event for event in events if isinstance(event, Saved)]
    ends = {event.phase: event for event in saved}

    assert [event.fraction for event in saved] == sorted(event.fraction for event in saved)
    assert (saved[-1].phase, saved[-1].fraction) == ("evaluating", 1)
    for phase in ("teacher", "student", "control"):
        last_epoch, end = [event for event in saved if event.phase == phase][-2:]
        assert end is ends[phase]
        assert last_epoch.fraction <= end.fraction
    resumed = run(spec, tmp_path, out / ends["control"].resume.path, data_folder=data)
    assert [event.fraction for event in resumed if isinstance(event, Saved)] == [1]


def test_a_resume_state_of_another_spec_is_refused(whole, data, tmp_path):
    spec, out, events = whole
    other = parse({"mode": spec.mode, "config": {**TINY, "seed": 7}})

    with pytest.raises(errors.BadResume, match=r"another spec: .*config\.seed was the default and is 7"):
        list(run(other, tmp_path, out / last_resume(events), data_folder=data))


def test_a_truncated_resume_state_is_refused_in_words(whole, data, tmp_path):
    spec, out, events = whole
    broken = tmp_path / "resume.pt"
    broken.write_bytes((out / last_resume(events)).read_bytes()[:-100])

    with pytest.raises(errors.DamagedResume, match="is not what was saved"):
        list(run(spec, tmp_path, broken, data_folder=data))


def test_a_resume_state_of_which_one_bit_has_flipped_is_refused(whole, data, tmp_path):
    spec, out, events = whole
    saved = (out / last_resume(events)).read_bytes()
    flipped, chance = tmp_path / "resume.pt", random.Random(0)
    sha256 = hashlib.sha256(saved).hexdigest()
    assert next(run(spec, tmp_path, out / last_resume(events), data_folder=data, resume_sha256=sha256))

    found = 0
    for place in chance.sample(range(len(saved)), 40):
        content = bytearray(saved)
        content[place] ^= 1 << chance.randrange(8)
        flipped.write_bytes(content)
        with pytest.raises(errors.DamagedResume):
            next(run(spec, tmp_path, flipped, data_folder=data, resume_sha256=sha256))
        # Where nobody knows the digest: what is no content (names, times, padding) may differ and do no harm.
        try:
            next(run(spec, tmp_path, flipped, data_folder=data))
        except errors.DamagedResume:
            found += 1
    assert found >= 30


def test_a_resume_state_that_the_disk_does_not_give_is_not_called_damaged(whole, data, tmp_path):
    spec, _, _ = whole

    with pytest.raises(errors.BadResume, match="the disk does not give it") as not_mounted:
        list(run(spec, tmp_path, tmp_path / "not mounted" / "resume.pt", data_folder=data))
    with pytest.raises(errors.DamagedResume, match="it is gone"):
        list(run(spec, tmp_path, tmp_path / "resume.pt", data_folder=data))

    assert not isinstance(not_mounted.value, errors.DamagedResume)


def test_a_run_stopped_between_the_teacher_s_checkpoint_and_its_file_still_writes_the_file(data, tmp_path):
    spec = STEP_BY_STEP["train"]
    first = []
    for event in run(spec, tmp_path / "1", data_folder=data):
        first.append(event)
        if isinstance(event, Saved) and event.phase == "teacher" and event.epoch == 3 and len(first) > 3:
            following = event
        if isinstance(event, Wrote):
            break
    second = list(run(spec, tmp_path / "2", tmp_path / "1" / following.resume.path, data_folder=data))

    assert "teacher.safetensors" in [event.file.name for event in second if isinstance(event, Wrote)]


def test_a_resumed_run_knows_how_far_it_is(whole, data, tmp_path):
    spec, out, events = whole
    checkpoint_in_control = next(e for e in events if isinstance(e, Saved) and e.phase == "control")

    resumed = run(spec, tmp_path, out / checkpoint_in_control.resume.path, data_folder=data)
    steps = [event for event in resumed if isinstance(event, Step)]

    assert steps[0].fraction > 0.6
    assert steps[-1].fraction > 0.9


# -- with more epochs -------------------------------------------------------------------------------------------


def test_a_run_of_more_epochs_is_another_one_unless_it_is_to_extend_this_one(whole, data, tmp_path):
    spec, out, events = whole
    longer = parse({"mode": spec.mode, "config": {**spec.config.model_dump(mode="json"), "epochs": 6}})
    shorter = parse({"mode": spec.mode, "config": {**spec.config.model_dump(mode="json"), "epochs": 3}})
    resume = out / last_resume(events)

    with pytest.raises(errors.BadResume, match=r"another spec: config\.epochs was 4 and is 6"):
        list(run(longer, tmp_path, resume, data_folder=data))
    with pytest.raises(errors.BadResume, match=r"another spec: config\.epochs was 4 and is 3"):
        list(run(shorter, tmp_path, resume, data_folder=data, extends=True))
    extended = list(run(longer, tmp_path, resume, data_folder=data, extends=True))

    trained = [(event.phase, event.epoch) for event in extended if isinstance(event, Evaluated)][:4]
    assert trained == [("student", 5), ("student", 6), ("control", 5), ("control", 6)], "the teacher is the same"
    assert "extended to 6" in next(event.message for event in extended if isinstance(event, Noted))
    assert extended[-1].metrics["student.epochs"] == 6
    of_all = [*evaluated(events, "student"), *evaluated(extended, "student")]
    kept = to_be_kept(of_all, VALIDATION_IMAGES)
    assert extended[-1].metrics["student.best_epoch"] == kept.epoch, "what came before counts"
    report = json.loads((tmp_path / "report.json").read_text())
    assert [(extension["epochs"], extension["to"]) for extension in report["extensions"]] == [(4, 6)]
    again = list(run(longer, tmp_path / "2", tmp_path / last_resume(extended), data_folder=data))
    assert again[-1] == extended[-1]


def test_a_run_that_is_extended_before_its_end_takes_up_the_very_batch_it_had_come_to(whole, data, tmp_path):
    spec, out, events = whole
    longer = parse({"mode": spec.mode, "config": {**spec.config.model_dump(mode="json"), "epochs": 6}})
    halfway = next(event for event in events if isinstance(event, Saved) and event.student and event.epoch == 2)

    extended = list(run(longer, tmp_path, out / halfway.resume.path, data_folder=data, extends=True))

    trained = [event.epoch for event in extended if isinstance(event, Evaluated) and event.phase == "student"]
    assert trained == [3, 4, 5, 6]
    assert extended[-1].metrics["control.epochs"] == 6


def test_a_run_that_is_extended_in_its_control_trains_that_anew(whole, data, tmp_path):
    spec, out, events = whole
    longer = parse({"mode": spec.mode, "config": {**spec.config.model_dump(mode="json"), "epochs": 6}})
    in_control = next(event for event in events if isinstance(event, Saved) and event.phase == "control")

    extended = list(run(longer, tmp_path, out / in_control.resume.path, data_folder=data, extends=True))

    trained = [(event.phase, event.epoch) for event in extended if isinstance(event, Evaluated)][:-3]
    assert trained == [("student", 5), ("student", 6), *(("control", epoch) for epoch in range(1, 7))]


@pytest.mark.parametrize(
    ("mode", "changes", "why"),
    [
        ("train", {"patience": 2}, "a run with patience"),
        ("guide", {"rounds": {"epochs": 2, "views": 2, "teacher": "cotrain"}}, "'cotrain' was planned for 4 epochs"),
    ],
)
def test_what_was_planned_for_its_epochs_is_not_extended(mode, changes, why):
    before, longer = (parse({"mode": mode, "config": {**TINY, **changes, "epochs": epochs}}) for epochs in (4, 6))

    assert why in why_not(request_of(before), request_of(longer), extends=True)
