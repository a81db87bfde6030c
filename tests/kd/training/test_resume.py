"""Runs that are killed without warning, again and again, in every phase: they end as if nothing had happened."""

import random
from pathlib import Path

import pytest
import torch

from tests.support.running import Halt, Run

CONFIG = {
    "dataset": "digits",
    "teacher": {"arch": "cnn_small", "epochs": 4, "augmentation": {"crop_padding": 1, "flip": False, "strong": 1}},
    "student": {"arch": "cnn_small"},
    "epochs": 4,
    "ema": 0.9,
    "augmentation": {"mixup": 0.5, "cutmix": 1.0},
    "objective": {
        "soft_weight": {"start": 0.1, "end": 0.9},
        "also": [{"method": "dist", "standardize": True}, {"method": "srd", "weight": 0.1}],
    },
    "batch_size": 32,
    "checkpoint_seconds": 0.05,
}
SPECS = {
    "train": {"mode": "train", "config": CONFIG | {"views": 12}},
    "fixed": {"mode": "guide", "config": CONFIG | {"rounds": {"epochs": 2, "views": 2}}},
    "route": {"mode": "guide", "config": CONFIG | {"rounds": {"epochs": 1, "views": 1, "teacher": "route"}}},
    "cotrain": {
        "mode": "guide",
        "config": CONFIG
        | {"rounds": {"epochs": 1, "views": 1, "teacher": "cotrain", "cotrain": {"epochs": 0.5, "lr": 0.01}}},
    },
}
KILLS = 5
ORDER = ("teacher", "labelling", "student", "control", "evaluating")


def soon_after(aim: str, chance: random.Random) -> Halt:
    # In rounds the student is announced before the first labelling; it has begun when it was first evaluated.
    return Halt("evaluated" if aim == "student" else "phase", aim, after_seconds=chance.uniform(0, 0.05))


def aims(undisturbed: Run, kills: int, chance: random.Random) -> list[str]:
    """In which phases to kill: in each of them, in the order in which a run comes to them."""
    turns = [event["phase"] for event in undisturbed.events("phase")]
    if len(turns) > kills:  # rounds take turns; some of their turns will do
        turns = [turns[0], *chance.sample(turns[1:-2], kills - 3), *turns[-2:]]
    return sorted(turns + chance.choices(turns, k=kills - len(turns)), key=ORDER.index)


def weights(outcome: dict, which: str) -> dict:
    return outcome["best"]["weights"] if which == "best" else outcome["last"]


def outcome(run: Run) -> dict:
    return torch.load(run.newest_resume, weights_only=True)["position"]["outcomes"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize(
    "name", ["train", *(pytest.param(name, marks=pytest.mark.slow) for name in SPECS if name != "train")]
)
def test_killed_at_random_moments_in_every_phase_a_run_ends_with_the_same_weights(name, data, tmp_path):
    spec, chance = SPECS[name], random.Random(name)
    whole = Run(spec, tmp_path / "whole", data=data, labels=tmp_path / "labels of the whole")
    whole.finish()

    resume, killed = None, []
    for number, aim in enumerate(aims(whole, KILLS, chance)):
        folders = {"data": data, "labels": tmp_path / "labels"}
        run = Run(spec, tmp_path / str(number), **folders, resume=resume, halt=soon_after(aim, chance))
        if run.was_killed():  # else it was faster, or had that phase behind it; the next one starts from before
            killed.append(run.events("phase", "step", "evaluated")[-1]["phase"])
            resume = run.newest_resume or resume
    last = Run(spec, tmp_path / "last", data=data, labels=tmp_path / "labels", resume=resume)
    last.finish()

    assert len(killed) >= KILLS - 2
    # In rounds labelling and the student take turns faster than a run speaks.
    turns = {"labelling", "student"} if name == "train" else {"labelling", "student"} & set(killed)
    assert turns
    assert set(killed) == turns | {"teacher", "control", "evaluating"}
    undisturbed, survived = outcome(whole), outcome(last)
    for role in ("teacher", "student", "control"):
        for which in ("best", "last"):
            expected, got = (weights(run[role], which) for run in (undisturbed, survived))
            assert expected.keys() == got.keys()
            assert all(torch.equal(expected[key], got[key]) for key in expected), (role, which, killed)
