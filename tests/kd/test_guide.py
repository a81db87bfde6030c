"""The rounds of `guide`: who guides, what is said of each round, and that it is online distillation."""

import copy
import itertools
import json
from pathlib import Path

import pytest
import torch

from kd.data.dataset import load_dataset
from kd.events import Noted, PhaseStarted, RoundEnded, Saved
from kd.models import weights
from kd.models.build import build
from kd.models.folding import for_inference
from kd.objectives.objective import Answer, Objective
from kd.parallel.team import Team
from kd.randomness import derive, permutation
from kd.run import run
from kd.spec import parse
from kd.teachers.cotrain import Cotrain
from kd.training.batches import cut_evenly
from kd.training.logbook import Logbook
from kd.training.recipe import learning_rate
from kd.training.resuming.position import Moment, Outcome, Position
from kd.training.run import prepare
from kd.views.pixels import place
from kd.views.plan import ViewPlan
from kd.views.viewer import Viewer

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {
    "dataset": "digits",
    "teacher": {"arch": "cnn_small", "epochs": 9, "patience": 9},
    "student": {"arch": "cnn_small"},
    "epochs": 6,
    "control": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


def guided(folder: Path, out: Path, rounds: dict, **config) -> list:
    spec = parse(json.dumps({"mode": "guide", "config": TINY | config | {"rounds": rounds}}))
    return list(run(spec, out, data_folder=folder))


def finished(out: Path, events: list, role: str = "student") -> dict:
    resume = [event.resume.path for event in events if isinstance(event, Saved)][-1]
    return torch.load(out / resume, weights_only=True)["position"]["outcomes"][role]


def test_every_round_says_how_teacher_and_student_stand(folder, tmp_path):
    events = guided(folder, tmp_path, {"epochs": 2, "views": 2})

    rounds = [event for event in events if isinstance(event, RoundEnded)]
    assert [(event.round, event.rounds, event.guide) for event in rounds] == [(n, 3, "best") for n in (1, 2, 3)]
    best = finished(tmp_path, events, "teacher")["best"]["scores"]["top1"]
    for event in rounds:
        assert event.metrics["teacher_top1"] == best
        assert 0 <= event.metrics["agreement"] <= 1
        assert event.metrics["kl"] >= 0
    assert rounds[-1].metrics["agreement"] > rounds[0].metrics["agreement"]


def test_on_a_route_anchors_guide_in_their_order_and_the_best_teacher_guides_last(folder, tmp_path):
    rounds = {"epochs": 1, "views": 1, "teacher": "route", "route": {"anchors": 3, "share": 0.5}}

    events = guided(folder, tmp_path, rounds)

    guides = [event.guide for event in events if isinstance(event, RoundEnded)]
    anchors = [moment["epoch"] for moment in finished(tmp_path, events, "teacher")["anchors"]]
    assert anchors == sorted(set(anchors))
    assert len(anchors) == 3
    assert guides == [*(f"anchor of epoch {epoch}" for epoch in anchors), "best", "best", "best"]


def test_an_anchor_that_the_student_has_overtaken_is_dropped_with_a_word(folder, tmp_path):
    # A student that learns much faster than its teacher did.
    slow = TINY["teacher"] | {"optimizer": {"lr": 0.003}, "schedule": {"name": "constant"}}
    rounds = {"epochs": 1, "views": 1, "teacher": "route", "route": {"anchors": 4, "share": 1.0}}

    events = guided(folder, tmp_path, rounds, teacher=slow, objective={"hard_weight": 1.0, "soft_weight": 0.0})

    dropped = [event.message for event in events if isinstance(event, Noted) and event.code == "anchor_dropped"]
    assert dropped
    assert "worse than the student" in dropped[0]
    ended = [event for event in events if isinstance(event, RoundEnded)]
    for before, after in itertools.pairwise(ended):
        if after.guide.startswith("anchor"):
            assert after.metrics["teacher_top1"] >= before.metrics["top1"]


def test_a_teacher_that_learns_on_never_gets_worse(folder, tmp_path):
    weak = TINY["teacher"] | {"epochs": 3}
    rounds = {"epochs": 1, "views": 1, "teacher": "cotrain", "cotrain": {"epochs": 1.5, "lr": 0.02}}

    events = guided(folder, tmp_path, rounds, teacher=weak)

    standing = [event.metrics["teacher_top1"] for event in events if isinstance(event, RoundEnded)]
    assert standing == sorted(standing)
    assert standing[-1] > standing[0]


def test_learning_on_that_makes_the_teacher_worse_is_taken_back(folder, tmp_path):
    rounds = {"epochs": 2, "views": 1, "teacher": "cotrain", "cotrain": {"lr": 5.0}}

    events = guided(folder, tmp_path, rounds, teacher=TINY["teacher"] | {"epochs": 20})

    notes = [event.message for event in events if isinstance(event, Noted) and event.code == "teacher_rolled_back"]
    standing = {event.metrics["teacher_top1"] for event in events if isinstance(event, RoundEnded)}
    assert len(notes) == 2
    assert "made the teacher worse" in notes[0]
    assert len(standing) == 1


def test_a_round_names_its_guide_when_it_starts(folder, tmp_path):
    events = guided(folder, tmp_path, {"epochs": 3, "views": 1, "teacher": "cotrain"})

    facts = [event.facts for event in events if isinstance(event, PhaseStarted) and event.phase == "labelling"]
    assert [fact["guide"] for fact in facts] == ["learning on"] * 2
    assert [fact["round"] for fact in facts] == [1, 2]


@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.4, "cutmix": 1.0}], ids=["plain", "mixed"])
def test_with_as_many_views_as_epochs_guiding_is_online_distillation_bit_for_bit(folder, tmp_path, mixing):
    events = guided(folder, tmp_path, {"epochs": 3, "views": 3}, augmentation=mixing)

    assert same(finished(tmp_path, events)["last"], online(folder, tmp_path, ViewPlan(1, False, **mixing)))


def test_with_fewer_views_it_is_not(folder, tmp_path):
    events = guided(folder, tmp_path, {"epochs": 3, "views": 2})

    assert not same(finished(tmp_path, events)["last"], online(folder, tmp_path, ViewPlan(1, False)))


def online(folder: Path, out: Path, plan: ViewPlan) -> dict[str, torch.Tensor]:
    """A loop as in any tutorial: the teacher is request about every batch, at the moment the student sees it."""
    dataset = load_dataset("digits", folder, 0.1)
    config = parse(json.dumps({"mode": "guide", "config": TINY})).config
    viewer = Viewer(place(dataset.train, plan.crop_padding, torch.device("cpu")), plan, dataset.mean, dataset.std)
    teacher, _ = weights.load_model(out / "teacher.safetensors")
    teacher = for_inference(teacher.to(memory_format=torch.channels_last))
    torch.manual_seed(derive(0, "weights", "student"))
    student = build("cnn_small", 10, dataset.shape).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True)
    objective, labels = Objective(config.objective), dataset.train.labels
    batches = -(-len(labels) // config.batch_size)
    for epoch in range(config.epochs):
        order = permutation(len(labels), derive(0, "order", epoch))
        for number, image_B in enumerate(cut_evenly(order, config.batch_size, Team())):
            view_BP = viewer.parameters(image_B, torch.full_like(image_B, epoch))
            pixels = viewer.replay(image_B, view_BP)
            mix = viewer.mix(view_BP)
            mix = mix and type(mix)(labels[mix.partner_B], mix.share_B)
            with torch.inference_mode():
                said = teacher(pixels)
            loss = objective(student(pixels), labels[image_B], Answer(said.clone()), mix).total
            optimizer.param_groups[0]["lr"] = learning_rate(config, epoch + number / batches)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return student.state_dict()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_teacher_that_is_taken_back_has_its_old_momentum_too(folder, tmp_path):
    rounds = {"epochs": 1, "views": 1, "teacher": "cotrain"}
    run = prepare(
        parse(json.dumps({"mode": "guide", "config": TINY | {"rounds": rounds}})).config,
        load_dataset("digits", folder, 0.1),
        torch.device("cpu"),
        autocast_dtype=None,
        out=tmp_path,
        labels=tmp_path,
        teacher_arch="cnn_small",
    )
    newborn = weights.copy_of(run.build("cnn_small", "teacher"))
    position = Position(outcomes={"teacher": Outcome(Moment(0, newborn, {"top1": 0.0}), newborn, epochs=0)})
    log = Logbook(position, request={}, out=tmp_path, student=run.facts("cnn_small"), save_seconds=10)
    guide, student = Cotrain(run, log), run.build("cnn_small", "student")
    list(guide.turn(1, 3, student, {}))
    before = copy.deepcopy(guide.state())

    guide.top1 = 2.0  # better than anything it can learn
    told = list(guide.turn(2, 3, student, {}))

    assert [event.code for event in told if isinstance(event, Noted)] == ["teacher_rolled_back"]
    assert same(guide.learner.state_dict(), before["weights"])
    momentum = [
        [state["momentum_buffer"] for state in optimizer["state"].values()]
        for optimizer in (guide.optimizer.state_dict(), before["optimizer"])
    ]
    assert len(momentum[0]) > 0
    assert all(torch.equal(now, then) for now, then in zip(*momentum, strict=True))
