"""What a failed job says: a code for programs, words for people, and a patch of the spec where there is one."""

import errno
import signal
from pathlib import Path

import pytest
import torch

from jobs import endings
from jobs.endings import Code
from jobs.queue.fence import Claim
from kd.errors import (
    BadLabels,
    BadModel,
    BadResume,
    DamagedResume,
    DataError,
    DeviceMissing,
    FeatureTooLarge,
    LossDiverged,
    ModelMissing,
    ModelUnfit,
    ScoresDiverged,
    SpecUnfit,
    TeacherUnfit,
)
from kd.events import PhaseStarted, Step
from kd.spec import TeacherOfJob, parse
from worker import remedies
from worker.children.failures import explain
from worker.children.machine_failures import passes
from worker.recorder import Recorder


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_machine_that_is_out_of_files_says_nothing_of_the_run_whatever_it_was_taken_for(number):
    caught = DataError("digits", "it is not there")
    caught.__cause__ = OSError(number, "Too many open files")

    assert passes(caught)
    assert passes(caught.__cause__)
    assert not passes(DataError("digits", "it is not there"))
    assert not passes(OSError(errno.ENOSPC, "No space left on device"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), "out_of_memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
            "out_of_memory",
        ),
        (RuntimeError("std::bad_alloc"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out_of_memory"),
        (RuntimeError("CUDA error: out of memory"), "out_of_memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out_of_memory"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "cuda_error"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (LossDiverged(7, 0.1, {"loss": float("nan")}), "diverged"),
        (DataError("cifar10", "it is not there"), "bad_data"),
        (DamagedResume(Path("resume.pt"), "it is cut off"), "bad_checkpoint"),
        (BadResume(Path("resume.pt"), "it was saved by another version"), "unfit_checkpoint"),
        (DeviceMissing("cuda"), "no_device"),
        (ModelMissing("timm/resnet18", "timm is not installed"), "no_package"),
        (BadModel("own/tiny", "its factory gives a dict, and no torch.nn.Module"), "bad_spec"),
        (TeacherUnfit("it knows 7 classes"), "bad_teacher"),
        (OSError(errno.EACCES, "Permission denied"), "disk_error"),
        (OSError(errno.EROFS, "Read-only file system"), "disk_error"),
        (ModelUnfit("torchvision/resnet18", (4, 32, 32), "it was made for 1 or 3 channels"), "bad_spec"),
        (SpecUnfit("objective.class_weights", "must be 10 numbers"), "bad_spec"),
        (ScoresDiverged("student", "validation", 3, {"nll": float("nan")}), "diverged"),
        (BadLabels("cnn"), "diverged"),
        (FeatureTooLarge("cnn"), "bad_spec"),
        (KeyError("surprise"), "internal_error"),
    ],
)
def test_what_a_trainer_can_say_itself_has_a_code_and_a_hint(error, code):
    failure = explain(error)

    assert failure.code == code
    assert failure.message
    assert failure.hint


@pytest.mark.parametrize(
    ("exit_code", "memory_ran_out", "code", "says"),
    [
        (-signal.SIGKILL, False, "killed", "SIGKILL"),
        (-signal.SIGKILL, True, "out_of_memory", "memory ran out"),
        (-signal.SIGTERM, True, "killed", "SIGTERM"),
        (-signal.SIGSEGV, False, "crashed", "SIGSEGV"),
        (-signal.SIGBUS, False, "crashed", "SIGBUS"),
        (-99, False, "crashed", "signal 99"),
        (0, False, "crashed", "exit code 0"),
        (3, True, "crashed", "exit code 3"),
    ],
)
def test_a_death_without_a_word_is_read_off_the_exit_code(exit_code, memory_ran_out, code, says):
    ending = endings.death(exit_code, memory_ran_out=memory_ran_out)

    assert ending.code == code
    assert says in ending.message
    assert ending.hint


def test_a_trainer_that_native_code_ended_for_want_of_memory_says_so_in_its_log():
    said = "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n"

    assert endings.death(-signal.SIGABRT, last_words=said).code == "out_of_memory"
    assert endings.death(-signal.SIGABRT, last_words="free(): invalid pointer").code == "crashed"


def merged(target, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


GIVEN = {
    "plain": {"mode": "train", "config": {}},
    "views": {"mode": "train", "config": {"views": 16}},
    "guide": {"mode": "guide", "config": {"dataset": "digits"}},
    "gpus": {
        "mode": "train",
        "config": {"resources": {"gpus": 8}, "batch_size": 64, "teacher": {"batch_size": 16}},
    },
    "borrowed": {"mode": "train", "config": {"teacher": {"job": "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"}}},
    "clipped": {"mode": "train", "config": {"optimizer": {"clip_norm": 0.5}}},
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("phase", [None, "teacher", "labelling", "student", "control", "evaluating"])
@pytest.mark.parametrize("code", [Code.OUT_OF_MEMORY, Code.DIVERGED, Code.NO_DEVICE])
def test_a_suggested_patch_makes_another_valid_spec(code, phase, given):
    spec = parse(given)

    patch = remedies.suggest(code, spec.model_dump(mode="json"), phase)

    if code is Code.DIVERGED and (
        phase == "evaluating" or (phase == "labelling" and isinstance(spec.config.teacher, TeacherOfJob))
    ):
        assert patch is None, "nobody knows whose recipe it is, or there is none here"
        return
    assert patch is not None
    assert parse(merged(given, patch)) != spec


@pytest.mark.parametrize("code", [Code.OUT_OF_MEMORY, Code.DIVERGED])
def test_so_does_one_for_a_teacher_that_learns_on(code):
    given = {"mode": "guide", "config": {"rounds": {"teacher": "cotrain"}}}
    spec = parse(given)

    patch = remedies.suggest(code, spec.model_dump(mode="json"), "cotrain")

    assert parse(merged(given, patch)) != spec


def test_a_teacher_that_learns_on_between_rounds_is_not_taken_for_one_in_training(tmp_path):
    recorder = Recorder(None, Claim("job", 1, "worker", {}, None, -1), tmp_path, tmp_path)

    phases = []
    for event in (
        PhaseStarted(phase="teacher"),
        Step(phase="teacher", step=1),
        PhaseStarted(phase="student"),
        PhaseStarted(phase="labelling"),
        Step(phase="student", step=2),
        Step(phase="teacher", step=3),
        Step(phase="teacher", step=4),
        Step(phase="control", step=5),
    ):
        recorder.hear(event)
        phases.append(recorder.phase)

    assert phases == ["teacher", "teacher", "student", "labelling", "student", "cotrain", "cotrain", "control"]


@pytest.mark.parametrize(
    ("code", "phase", "patch"),
    [
        ("out_of_memory", "teacher", {"config": {"teacher": {"batch_size": 32}}}),
        ("out_of_memory", "student", {"config": {"batch_size": 32}}),
        ("out_of_memory", "labelling", {"config": {"views": 2}}),
        ("out_of_memory", "evaluating", {"config": {"batch_size": 32}}),
        ("diverged", "student", {"config": {"optimizer": {"lr": 0.005, "clip_norm": 1.0}}}),
        ("diverged", "teacher", {"config": {"teacher": {"optimizer": {"lr": 0.005, "clip_norm": 1.0}}}}),
        ("diverged", "labelling", {"config": {"teacher": {"optimizer": {"lr": 0.005, "clip_norm": 1.0}}}}),
        ("bad_data", "student", None),
        ("killed", "student", None),
    ],
)
def test_the_patch_is_for_what_failed(code, phase, patch):
    own = {"optimizer": {"lr": 0.05}, "views": 4}
    spec = parse({"mode": "train", "config": own}).model_dump(mode="json")

    assert remedies.suggest(Code(code), spec, phase) == patch


@pytest.mark.parametrize("phase", ["control", "label_smoothing"])
def test_what_fails_by_the_control_s_own_recipe_has_that_mended(phase):
    own = {"optimizer": {"lr": 0.5}, "batch_size": 128}
    spec = parse({"mode": "train", "config": {"control": own}}).model_dump(mode="json")
    constant = {"optimizer": {"lr": 0.05}, "control": {"schedule": {"name": "constant"}}}
    inherits = parse({"mode": "train", "config": constant}).model_dump(mode="json")

    gentler = {"optimizer": {"lr": 0.05, "clip_norm": 1.0}}
    assert remedies.suggest(Code.DIVERGED, spec, phase) == {"config": {"control": gentler}}
    assert remedies.suggest(Code.OUT_OF_MEMORY, spec, phase) == {"config": {"control": {"batch_size": 64}}}
    gentler = {"optimizer": {"lr": 0.005, "clip_norm": 1.0}}
    assert remedies.suggest(Code.DIVERGED, inherits, phase) == {"config": gentler}
    assert remedies.suggest(Code.OUT_OF_MEMORY, inherits, phase) == {"config": {"batch_size": 32}}


@pytest.mark.parametrize(
    ("code", "changed"),
    [("out_of_memory", {"batch_size": 32}), ("diverged", {"optimizer": {"lr": 0.005, "clip_norm": 1.0}})],
)
def test_a_patch_for_a_member_of_a_committee_leaves_the_others_as_they_are(code, changed):
    given = {"mode": "train", "config": {"teacher": {"committee": [{"arch": "cnn_small"}, {}]}}}
    spec = parse(given).model_dump(mode="json")

    patch = remedies.suggest(Code(code), spec, "teacher.2")

    before, after = (each["config"]["teacher"]["committee"] for each in (spec, patch))
    assert after[0] == before[0]
    assert (
        parse({"mode": "train", "config": patch["config"]}).config.teacher.committee[1]
        == parse({"mode": "train", "config": {"teacher": {"committee": [{}, changed]}}}).config.teacher.committee[1]
    )
    assert remedies.suggest(Code.DIVERGED, spec, "labelling") is None, "nobody knows whose labels they were"


@pytest.mark.parametrize(
    ("phase", "memory_gb", "patch"),
    [
        ("student", 0.25, {"config": {"resources": {"memory_gb": 1.0}}}),  # less than torch takes at rest
        ("student", 2.0, {"config": {"batch_size": 32}}),
    ],
)
def test_a_limit_that_a_trainer_cannot_live_with_is_raised(phase, memory_gb, patch):
    given = {"mode": "train", "config": {"resources": {"memory_gb": memory_gb}}}

    assert remedies.suggest(Code.OUT_OF_MEMORY, parse(given).model_dump(mode="json"), phase) == patch


def test_a_brought_teacher_whose_labels_overflow_has_no_recipe_to_mend():
    given = {"mode": "train", "config": {"teacher": {"job": "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"}}}

    assert remedies.suggest(Code.DIVERGED, parse(given).model_dump(mode="json"), "labelling") is None


def test_the_patch_for_what_happened_in_rounds_is_for_the_rounds():
    spec = parse(GIVEN["guide"]).model_dump(mode="json")

    assert remedies.suggest(Code.OUT_OF_MEMORY, spec, "labelling") == {"config": {"rounds": {"views": 1}}}
    assert remedies.suggest(Code.DIVERGED, spec, "cotrain") == {"config": {"rounds": {"cotrain": {"lr": 0.0005}}}}


def test_what_cannot_be_smaller_has_no_patch():
    least = {"mode": "guide", "config": {"batch_size": 2, "teacher": {"batch_size": 3}}}

    assert remedies.suggest(Code.OUT_OF_MEMORY, parse(least).model_dump(mode="json"), "student") is None
