"""What a failed job says: a code for programs, words for people, and a patch of the spec where there is one."""

import signal

import pytest

from kd.spec import parse
from worker import endings, remedies


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

    assert ending["code"] == code
    assert says in ending["message"]
    assert ending["hint"]


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
@pytest.mark.parametrize("code", ["out_of_memory", "diverged", "no_device"])
def test_a_suggested_patch_makes_another_valid_spec(code, phase, given):
    spec = parse(given)

    patch = remedies.suggest(code, spec.model_dump(mode="json"), phase)

    assert patch is not None
    assert parse(merged(given, patch)) != spec


@pytest.mark.parametrize(
    ("code", "phase", "patch"),
    [
        ("out_of_memory", "teacher", {"config": {"teacher": {"batch_size": 32}}}),
        ("out_of_memory", "student", {"config": {"batch_size": 32}}),
        ("out_of_memory", "labelling", {"config": {"views": 2}}),
        ("diverged", "student", {"config": {"optimizer": {"lr": 0.005, "clip_norm": 1.0}}}),
        ("diverged", "teacher", {"config": {"teacher": {"optimizer": {"lr": 0.005, "clip_norm": 1.0}}}}),
        ("bad_data", "student", None),
        ("killed", "student", None),
    ],
)
def test_the_patch_is_for_what_failed(code, phase, patch):
    spec = parse(GIVEN["plain"]).model_dump(mode="json")

    assert remedies.suggest(code, spec, phase) == patch


def test_what_cannot_be_smaller_has_no_patch():
    least = {"mode": "guide", "config": {"batch_size": 2, "teacher": {"batch_size": 3}}}

    assert remedies.suggest("out_of_memory", parse(least).model_dump(mode="json"), "student") is None
