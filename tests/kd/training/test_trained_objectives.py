"""What an objective trains beside the student: it learns, a run that was stopped goes on with it, nobody exports it."""

from pathlib import Path

import pytest
import torch

from kd.data.dataset import load_dataset
from kd.evaluation import cost
from kd.events import Saved
from kd.models.build import build
from kd.models.weights import load_model
from kd.run import plan_work, run
from kd.spec import parse
from kd.training.logbook import Logbook
from kd.training.resuming.position import Position
from kd.training.run import prepare

TINY = {
    "dataset": "digits",
    "teacher": {"arch": "cnn_small", "epochs": 1},
    "student": {"arch": "mlp"},
    "epochs": 3,
    "batch_size": 64,
    "checkpoint_seconds": 0,
    "control": False,
    "optimizer": {"clip_norm": 1.0},
}
SPECS = {
    "srd": {"mode": "train", "config": {**TINY, "views": 2, "objective": {"also": [{"method": "srd"}]}}},
    "srd in pairs": {
        "mode": "train",
        "config": {**TINY, "views": 2, "objective": {"method": "cross_view", "also": [{"method": "srd"}]}},
    },
    "ofa": {
        "mode": "train",
        "config": {
            **TINY,
            "teacher": {"arch": "mlp", "epochs": 1},
            "student": {"arch": "cnn_small"},
            "views": 2,
            "objective": {"method": "ofa", "soft_weight": 1, "hard_weight": 1},
        },
    },
    "fitnet": {
        "mode": "guide",
        "config": {
            **TINY,
            "teacher": {"arch": "cnn", "epochs": 1},
            "student": {"arch": "cnn_small"},
            "rounds": {"epochs": 2, "views": 2},
            "objective": {"also": [{"method": "fitnet", "stage": 1}, {"method": "srd"}]},
        },
    },
    "reviewkd": {
        "mode": "guide",
        "config": {
            **TINY,
            "student": {"arch": "cnn_small"},
            "rounds": {"epochs": 3, "views": 1},
            "objective": {"also": [{"method": "reviewkd", "weight": {"start": 0, "end": 1, "epochs": 2}}]},
        },
    },
}

every = pytest.mark.parametrize("name", list(SPECS))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run of each spec that came to its end: its folder, and what it has saved."""
    found = {}

    def finish(name: str) -> tuple[Path, list[Saved]]:
        if name not in found:
            out = tmp_path_factory.mktemp(name)
            saved = [event for event in run(parse(SPECS[name]), out, data_folder=data) if isinstance(event, Saved)]
            found[name] = out, saved
        return found[name]

    return finish


def read(out: Path, saved: Saved) -> dict:
    return torch.load(out / saved.resume.path, weights_only=True)["position"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@every
def test_it_learns_with_the_student(name, finished):
    out, saved = finished(name)
    first, last = (read(out, [event for event in saved if event.phase == "student"][number]) for number in (0, -1))

    before, after = first["current"]["objective"], last["outcomes"]["student"]["objective"]
    assert before.keys() == after.keys() != set()
    assert not any(torch.equal(before[name], after[name]) for name in before if before[name].is_floating_point())


@every
def test_a_run_that_was_stopped_in_the_middle_ends_with_the_same_weights(name, finished, data, tmp_path):
    out, saved = finished(name)
    in_the_middle = [event for event in saved if event.phase == "student"]
    from_here = in_the_middle[len(in_the_middle) // 2]

    again = [
        event
        for event in run(parse(SPECS[name]), tmp_path, out / from_here.resume.path, data_folder=data)
        if isinstance(event, Saved)
    ]

    whole, resumed = (read(*which)["outcomes"]["student"] for which in ((out, saved[-1]), (tmp_path, again[-1])))
    assert same(whole["last"], resumed["last"])
    assert same(whole["objective"], resumed["objective"])


@every
def test_it_is_no_part_of_what_is_exported(name, finished):
    out, saved = finished(name)
    student, facts = load_model(out / [event.student for event in saved if event.student][-1].path)

    assert student.state_dict().keys() == build(facts.arch, 10, (1, 8, 8)).state_dict().keys()


@pytest.mark.parametrize(
    ("name", "teacher", "macs"),
    [
        # Maps of 4×4 in 8 and 32 channels; features of 16 and 128 numbers.
        ("fitnet", "cnn", 16 * 9 * 8 * 32 + 16 * 128),
        # Maps of 2×2 in 16 channels, and of 4×4 in 8, each 1×1 to a middle of 16 and 3×3 back; the attention of both.
        ("reviewkd", "cnn_small", 4 * (16 * 16 + 9 * 16 * 16) + 16 * (8 * 16 + 9 * 16 * 8 + 32 * 2)),
        # A head of 16 by 10 on the second stage; on the first one a convolution of each kind to 2×2 before.
        ("ofa", "mlp", 16 * 10 + 4 * (9 * 8 + 8 * 16) + 16 * 10),
    ],
)
def test_the_estimate_of_the_time_that_is_left_counts_what_it_costs(name, teacher, macs, data, tmp_path):
    dataset = load_dataset("digits", data, 0.1)
    # Beside it the teacher runs once for each of the student's steps, which are three forwards.
    beside = cost.macs(build(teacher, 10, (1, 8, 8)), (1, 8, 8)) // 3 if SPECS[name]["mode"] == "guide" else 0

    def planned(spec: dict) -> float:
        options = {"autocast_dtype": None, "out": tmp_path, "labels": tmp_path, "teacher_arch": teacher}
        one = prepare(parse(spec).config, dataset, torch.device("cpu"), **options)
        log = Logbook(Position(), request={}, out=tmp_path, student=one.facts("cnn_small"), save_seconds=10)
        plan_work(one, log)
        return log.progress.plan["student"]

    without = SPECS[name] | {"config": SPECS[name]["config"] | {"objective": {}}}

    assert planned(SPECS[name]) - planned(without) == len(dataset.train.labels) * 3 * 3 * (macs + beside)


def test_a_run_that_is_extended_goes_on_with_it(finished, data, tmp_path):
    out, saved = finished("srd")
    spec = SPECS["srd"]
    longer = parse(spec | {"config": spec["config"] | {"epochs": 4}})

    events = run(longer, tmp_path, out / saved[-1].resume.path, data_folder=data, extends=True)
    first = next(event for event in events if isinstance(event, Saved) and event.phase == "student")

    born, before, after = (
        position["objective"]["parts.1.weight"]
        for position in (
            read(out, next(event for event in saved if event.phase == "student"))["current"],
            read(out, saved[-1])["outcomes"]["student"],
            read(tmp_path, first)["current"],
        )
    )
    # One step moves it a little; a new one would lie where the first one was born.
    assert 0 < (after - before).abs().max() < (born - before).abs().max() / 10
