"""A run in two processes (gloo, on CPUs): the same result as in one, and nobody outlives the caller."""

import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kd import errors
from kd.events import Finished, PhaseStarted, Saved, Started
from kd.run import run
from kd.spec import parse
from tests.support.waiting import wait_until

# Without batch normalisation, whose statistics on CPUs are those of a process's own share.
CONFIG = {
    "dataset": "digits",
    "teacher": {"arch": "mlp", "epochs": 3},
    "student": {"arch": "mlp"},
    "epochs": 3,
    "views": 3,
    "batch_size": 50,
}
IN_TWO = {"resources": {"gpus": 2}}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def go(out: Path, data: Path, config: dict, mode: str = "train") -> list:
    spec = parse(json.dumps({"mode": mode, "config": config}))
    return list(run(spec, out, data_folder=data, label_folder=out / "labels", device="cpu"))


def outcome(out: Path, events: list, role: str) -> dict[str, torch.Tensor]:
    resume = [event.resume.path for event in events if isinstance(event, Saved)][-1]
    return torch.load(out / resume, weights_only=True)["position"]["outcomes"][role]["last"]


def config_of(mode: str) -> dict:
    return {name: value for name, value in CONFIG.items() if mode == "train" or name != "views"}


@pytest.fixture(scope="module")
def in_two(data, tmp_path_factory) -> Callable[[str], tuple[Path, list]]:
    """A run in two processes that nobody disturbed: its folder and its events."""

    @functools.cache
    def in_two(mode: str) -> tuple[Path, list]:
        out = tmp_path_factory.mktemp("two")
        return out, go(out, data, config_of(mode) | IN_TWO, mode)

    return in_two


@pytest.mark.parametrize("mode", ["train", pytest.param("guide", marks=pytest.mark.slow)])
def test_two_processes_come_to_the_weights_of_one(data, tmp_path, in_two, mode):
    alone = go(tmp_path, data, config_of(mode), mode)
    out, together = in_two(mode)

    assert isinstance(together[0], Started)
    assert isinstance(together[-1], Finished)
    assert len([event for event in together if isinstance(event, Finished)]) == 1, "only the first one speaks"
    for role in ("teacher", "student", "control"):
        one, two = outcome(tmp_path, alone, role), outcome(out, together, role)
        for name in one:
            torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5)
    assert together[-1].metrics["student.test.top1"] == pytest.approx(alone[-1].metrics["student.test.top1"], abs=0.01)


@pytest.mark.slow
def test_a_teacher_with_batch_statistics_is_the_same_in_every_process(data, tmp_path):
    """Also where the objective trains something beside the student, and labels hold the teacher's feature."""
    models = {"teacher": {"arch": "cnn_small", "epochs": 2}, "student": {"arch": "cnn_small"}}
    objective = {"method": "ofa", "also": [{"method": "srd", "weight": 0.1}]}

    events = go(tmp_path, data, CONFIG | IN_TWO | models | {"objective": objective})

    assert isinstance(events[-1], Finished)
    assert "verdict" in [event.code for event in events if event.event == "noted"]
    assert len(list((tmp_path / "labels").glob("*.json"))) == 1


def test_a_batch_has_two_images_for_each_process_or_is_refused():
    with pytest.raises(ValueError, match="batch_size must be at least 8, two images for each of the GPUs"):
        parse(json.dumps({"mode": "train", "config": {"batch_size": 7, "resources": {"gpus": 4}}}))


@pytest.mark.slow
def test_a_team_that_is_asked_to_save_loses_nothing_when_it_is_stopped(data, tmp_path, in_two):
    out, undisturbed = in_two("train")
    spec = parse(json.dumps({"mode": "train", "config": CONFIG | IN_TWO | {"checkpoint_seconds": 3600}}))
    options = {"data_folder": data, "label_folder": tmp_path / "labels", "device": "cpu"}

    saved = stopped_in_training(spec, tmp_path, **options)
    resumed = list(run(spec, tmp_path, resume=tmp_path / saved.resume.path, **options))

    steps_an_epoch = next(e.facts["images"] for e in undisturbed if isinstance(e, PhaseStarted)) // CONFIG["batch_size"]
    assert 0 < saved.step < steps_an_epoch, "in the middle of an epoch, where without the wish nothing is saved"
    assert resumed[0].resumed_from_step == saved.step
    whole, parts = outcome(out, undisturbed, "student"), outcome(tmp_path, resumed, "student")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def stopped_in_training(spec, out: Path, **options) -> Saved:
    """Ask for it as soon as the teacher trains, and stop at the first save."""
    save_now = threading.Event()
    for event in run(spec, out, save_now=save_now, **options):
        if isinstance(event, PhaseStarted):
            save_now.set()
        if isinstance(event, Saved):
            return event
    raise AssertionError("it never saved")


@pytest.mark.slow
def test_a_member_that_is_killed_is_told_apart_from_one_that_failed(data, tmp_path):
    spec = parse(json.dumps({"mode": "train", "config": CONFIG | IN_TWO | {"epochs": 5000, "checkpoint_seconds": 0.1}}))

    with pytest.raises(errors.TeamFailed, match="ended with exit code"):
        list(killing_a_member_in_training(run(spec, tmp_path, data_folder=data, device="cpu"), tmp_path))


def killing_a_member_in_training(events, out: Path):
    for event in events:
        if isinstance(event, Saved) and event.phase == "student":
            os.kill(max(of_team(out)), signal.SIGKILL)  # torchrun itself was the first
        yield event


def test_what_stops_one_of_them_stops_the_run_with_its_own_words(data, tmp_path):
    wild = {"arch": "mlp", "epochs": 3, "optimizer": {"lr": 10, "momentum": 0.99, "weight_decay": 1}}

    with pytest.raises(errors.Diverged, match=r"not finite at step \d+"):
        go(tmp_path, data, CONFIG | IN_TWO | {"teacher": wild})


def test_more_gpus_than_there_are_is_said_in_words(data, tmp_path):
    spec = parse(json.dumps({"mode": "train", "config": CONFIG | {"resources": {"gpus": 16}}}))

    with pytest.raises(errors.DeviceMissing, match=r"wants 16 GPUs, but torch sees \d+ here"):
        list(run(spec, tmp_path, data_folder=data))


CALLER = """
import json, sys
from kd.run import run
from kd.spec import parse
for event in run(parse(sys.argv[1]), sys.argv[2], data_folder=sys.argv[3], device="cpu"):
    print(event.event, flush=True)
"""


def test_when_the_caller_is_killed_the_team_ends(data, tmp_path):
    spec = json.dumps({"mode": "train", "config": CONFIG | IN_TWO | {"epochs": 5000, "checkpoint_seconds": 0.1}})
    arguments = [sys.executable, "-c", CALLER, spec, str(tmp_path), str(data)]
    caller = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    for line in caller.stdout:
        if line.startswith("saved"):
            break
    members = of_team(tmp_path)

    caller.send_signal(signal.SIGKILL)
    caller.wait()

    assert len(members) >= 2
    wait_until(lambda: not of_team(tmp_path), "the team is gone")


def of_team(out: Path) -> list[int]:
    """The processes that train into this folder: torchrun and those it started, whose arguments name their order."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().decode().split("\0")
            orders = [argument for argument in arguments if argument.endswith("order.json")]
            if orders and str(out) in Path(orders[0]).read_text():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
