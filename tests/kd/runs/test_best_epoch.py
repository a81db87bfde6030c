"""Which student a run offers, where its epochs and seeds do better and worse on the validation split."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kd.events import Event, Saved
from kd.models.weights import load_model
from kd.run import run
from kd.spec import parse
from kd.training import loop
from kd.training.resuming.position import Scores
from tests.kd.tiny import TINY

SHORT = {
    **TINY,
    "teacher": {"arch": "mlp", "epochs": 1, "optimizer": {"lr": 0.05}},
    "epochs": 4,
    "control": False,
    "checkpoint_seconds": 3600,
    "views": 1,
}


@pytest.fixture
def judged(monkeypatch) -> Callable[..., dict[tuple[int, int], dict[str, torch.Tensor]]]:
    """Students score what the test says, after each epoch of each repetition; their weights by both."""

    def judged(*repetitions: list[float]) -> dict[tuple[int, int], dict[str, torch.Tensor]]:
        validate, weights = loop.validate, {}

        def judge(run: object, model: torch.nn.Module, guidance: object = None) -> Scores:
            training, scores = sys._getframe(1).f_locals, validate(run, model, guidance)
            if training["phase"] != "student":
                return scores
            repetition, epoch = training["position"].repetition, training["epoch"]
            weights[repetition, epoch] = {name: value.clone() for name, value in model.state_dict().items()}
            return scores | {"top1": repetitions[repetition][epoch - 1]}

        monkeypatch.setattr(loop, "validate", judge)
        return weights

    return judged


def run_of(data: Path, out: Path, **changes: object) -> tuple[list[Event], dict[str, float]]:
    events = list(run(parse({"mode": "train", "config": SHORT | changes}), out, data_folder=data))
    return events, json.loads((out / "report.json").read_text())["metrics"]


def assert_offered(out: Path, events: list[Event], weights: dict[str, torch.Tensor], epoch: int) -> Saved:
    """The last one that was called the best is the student after that epoch."""
    last = [event for event in events if isinstance(event, Saved) and event.best][-1]
    assert last.student is not None
    state = load_model(out / last.student.path)[0].state_dict()
    assert last.epoch == epoch
    assert all(torch.equal(state[name], value) for name, value in weights.items())
    return last


# Of 143 images an error at 90 % is 2.5 points.
@pytest.mark.parametrize(
    ("accuracies", "best"),
    [
        ([0.80, 0.90, 0.885, 0.70], 3),
        ([0.80, 0.85, 0.90, 0.885], 4),
        ([0.90, 0.85, 0.80, 0.70], 1),
        ([0.90, 0.88, 0.93, 0.88], 3),
    ],
    ids=["a later one within an error", "the last", "the first", "of the highest"],
)
def test_the_student_to_take_is_of_the_latest_epoch_within_an_error_of_the_highest(
    data, tmp_path, judged, accuracies, best
):
    weights = judged(accuracies)

    events, metrics = run_of(data, tmp_path)

    assert metrics["student.best_epoch"] == best
    assert metrics["student.validation.top1"] == accuracies[best - 1]
    saved = assert_offered(tmp_path, events, weights[0, best], best)
    assert saved.metrics["top1"] == accuracies[best - 1]


@pytest.mark.parametrize(
    ("second", "offered"),
    [([0.80, 0.92, 0.898, 0.70], (0, 4)), ([0.80, 0.92, 0.905, 0.70], (1, 3)), ([0.95, 0.70, 0.70, 0.70], (1, 1))],
    ids=["higher on the way only", "higher in the end", "higher at its first epoch"],
)
def test_of_two_seeds_that_one_is_offered_whose_best_epoch_does_better(data, tmp_path, judged, second, offered):
    weights = judged([0.80, 0.85, 0.85, 0.90], second)

    events, metrics = run_of(data, tmp_path, seeds=2)

    repetition, epoch = offered
    assert metrics["student.best_epoch"] == epoch
    assert_offered(tmp_path, events, weights[offered], epoch)
    (seed,) = [one for one in json.loads((tmp_path / "report.json").read_text())["seeds"] if one["is_offered"]]
    assert seed["seed"] == repetition
