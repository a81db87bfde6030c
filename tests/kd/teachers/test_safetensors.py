"""A teacher that somebody brings as weights teaches as the network does that they are of."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from kd.data.dataset import load_dataset
from kd.events import Event, Finished, Noted, PhaseStarted, Saved
from kd.models.build import build
from kd.models.own.names import Registered, registered
from kd.models.preprocess.said import Preprocess
from kd.models.preprocess.usual import usual
from kd.models.safetensors.facts import Facts
from kd.models.timm.networks import timm_of
from kd.models.weights import load_model, read_facts, save_weights
from kd.run import run
from kd.spec import parse
from kd.teachers import uploads
from kd.teachers.uploads import Said
from tests.kd.tiny import OF_MODE, SHORT

pytestmark = pytest.mark.usefixtures("one_thread")

JOB = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"
DIGITS = tuple("0123456789")
HEAD = ("9.weight", "9.bias")
"""Of `cnn_small`."""
State = dict[str, torch.Tensor]


def brought(events: list[Event]) -> str:
    return next(event.message for event in events if isinstance(event, Noted) and event.code == "teacher_brought")


def codes(events: list[Event]) -> list[str]:
    return [event.code for event in events if isinstance(event, Noted)]


@pytest.mark.parametrize("mode", ["train", "guide"])
def test_it_teaches_in_both_modes_as_it_did_where_it_was_trained(trained, weights, tmp_path, bring, teach, mode):
    out, before = trained

    events = teach(bring(weights), mode, labels=out / "labels")

    metrics = events[-1].metrics
    assert metrics["teacher.test.top1"] == before[-1].metrics["teacher.test.top1"] > 0.5
    assert metrics["teacher.parameters"] == before[-1].metrics["teacher.parameters"]
    assert "mine (tch_" in brought(events)
    assert (
        f"the network cnn_small of {metrics['teacher.parameters']:,.0f} parameters that sees images of 8×8 pixels "
        "(loaded 14 of 14 tensors): none is trained here" in brought(events)
    )
    assert ("labels_reused" in codes(events)) == (mode == "train"), "it is the very model whose labels are there"
    assert read_facts(tmp_path / mode / "teacher.safetensors").arch == "cnn_small", "other jobs may have it"


def reversed_head(state: State) -> State:
    return state | {name: state[name].flip(0) for name in HEAD}


def of_colour(state: State) -> State:
    return state | {"0.weight": state["0.weight"].repeat(1, 3, 1, 1) / 3}


def test_what_stillhouse_has_trained_says_itself_what_it_is(trained, tmp_path, teach):
    """Of the same data set it is the very model that its job would lend."""
    out, before = trained
    with open(out / "teacher.safetensors", "rb") as file:
        found, _ = uploads.add(tmp_path / "teachers", file, Said(name="mine"))

    events = teach(found.id, labels=out / "labels")

    assert (found.arch, found.said.classes) == ("cnn_small", DIGITS)
    assert events[-1].metrics["teacher.test.top1"] == before[-1].metrics["teacher.test.top1"]
    assert "labels_reused" in codes(events)


def test_of_another_data_set_it_sees_and_answers_as_it_did_there(data, tmp_path, teach):
    """A network of timm's, which is shown small images enlarged where it is trained here; and once more, as a job that
    learnt from it would lend it."""
    torch.manual_seed(0)
    facts = Facts(arch="timm/test_vit", classes=DIGITS[::-1], shape=(1, 9, 9), mean=(0.4,), std=(0.7,))
    network = build(facts.arch, 10, facts.shape).eval()
    save_weights(network.state_dict(), facts, tmp_path, Path("there.safetensors"))

    def bring(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
        with open(path, "rb") as file:
            teach(uploads.add(tmp_path / "teachers", file, Said(name="mine"))[0].id)
        return load_model(tmp_path / "train" / "teacher.safetensors")[0]

    once = bring(tmp_path / "there.safetensors")
    again = bring((tmp_path / "train" / "teacher.safetensors").rename(tmp_path / "here.safetensors"))

    digits = load_dataset("digits", data, 0.1)
    images = digits.test.images[:8].float() / 255
    given = (images - digits.mean[0]) / digits.std[0]
    with torch.no_grad():
        seen = functional.interpolate(images, (9, 9), mode="bilinear", antialias=True)
        expected = network((seen - 0.4) / 0.7).flip(1)
        torch.testing.assert_close(once(given), expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(again(given), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "said", "told"),
    [
        (lambda state: {f"module.{name}": one for name, one in state.items()}, {}, "without 'module.' before their"),
        (lambda state: {name: one for name, one in state.items() if "num_batches" not in name}, {}, "loaded 12 of 12"),
        (
            lambda state: {name: one.half() if one.is_floating_point() else one for name, one in state.items()},
            {},
            "loaded 14 of 14 tensors, float16 as float32",
        ),
        (lambda state: state | {"0.weight": state["0.weight"].double()}, {}, "float64 as float32"),
        (reversed_head, {"classes": DIGITS[::-1]}, "loaded 14 of 14 tensors"),
        (of_colour, {}, "loaded 14 of 14 tensors"),
    ],
    ids=["a prefix", "no counters", "half", "double", "classes in another order", "three channels"],
)  # fmt: skip
def test_however_they_were_saved_they_are_as_good(trained, weights, bring, teach, change, said, told):
    events = teach(bring(change(weights), **said))

    top1 = trained[1][-1].metrics["teacher.test.top1"]
    assert events[-1].metrics["teacher.test.top1"] == pytest.approx(top1, abs=0.01)
    assert told in brought(events)


def test_one_that_guesses_may_have_been_described_wrongly(weights, bring, teach):
    events = teach(bring(reversed_head(weights)), epochs=1)

    (weak,) = [event.message for event in events if isinstance(event, Noted) and event.code == "weak_teacher"]
    assert "look whether it was said rightly what it sees of pixels" in weak


def test_what_it_sees_of_pixels_is_what_was_said_and_what_it_says_is_timms_own_answer(data, tmp_path, bring, teach):
    torch.manual_seed(0)
    network = timm_of("timm/test_efficientnet").create_model("test_efficientnet", num_classes=10).eval()
    seen = usual("timm/test_efficientnet").model_copy(update={"size": (40, 40)})

    events = teach(bring(network.state_dict(), "timm/test_efficientnet", preprocess=seen), epochs=1)

    digits = load_dataset("digits", data, 0.1)
    images = digits.test.images[:8].float() / 255
    large = functional.interpolate(images.expand(-1, 3, -1, -1), (40, 40), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (seen.mean, seen.std))
    lent, _ = load_model(tmp_path / "train" / "teacher.safetensors")
    given = (images - torch.tensor(digits.mean).view(1, -1, 1, 1)) / torch.tensor(digits.std).view(1, -1, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(lent(given), network((large.clamp(0, 1) - mean) / std), rtol=1e-3, atol=1e-4)
    assert "sees images of 40×40 pixels (loaded " in brought(events)


def test_who_sees_otherwise_is_another_teacher_with_labels_of_its_own(weights, tmp_path, bring, teach):
    labels, digits = tmp_path / "labels", Preprocess(mean=(0.3,), std=(0.4,))
    one, other = bring(weights, preprocess=digits), bring(weights, preprocess=Preprocess(mean=(0.2,), std=(0.4,)))

    reused = ["labels_reused" in codes(teach(teacher, labels=labels)) for teacher in (one, other, one)]

    assert reused == [False, False, True]


def test_a_job_may_lend_it_and_a_committee_may_have_it(data, tmp_path, weights, bring, teach):
    teacher_id = bring(weights, preprocess=Preprocess(mean=(0.3,), std=(0.4,), size=(7, 7)))
    first = teach(teacher_id)
    lent = [(tmp_path / "train" / "teacher.safetensors", None)]
    job = parse({"mode": "train", "config": {**SHORT, "teacher": {"job": JOB}, "views": 2}})
    both = {"committee": [{"upload": teacher_id}, {"arch": "mlp", "epochs": 1, "optimizer": {"lr": 0.05}}]}
    several = parse({"mode": "train", "config": {**SHORT, "teacher": both, "views": 2}})
    file = [(uploads.manifest(tmp_path / "teachers", teacher_id), None)]

    second = list(run(job, tmp_path / "second", data_folder=data, teacher_files=lent))
    third = list(run(several, tmp_path / "third", data_folder=data, teacher_files=file))

    top1 = first[-1].metrics["teacher.test.top1"]
    assert second[-1].metrics["teacher.test.top1"] == third[-1].metrics["teacher.1.test.top1"] == top1
    assert "labels_reused" in codes(second)


@pytest.mark.parametrize(("mode", "method"), [("train", "rkd"), ("guide", "reviewkd")])
def test_its_features_teach_as_large_as_they_are_for_the_images_that_it_sees(
    data, tmp_path, weights, bring, teach, mode, method
):
    """Also for the job that it is lent to."""
    state = weights | {"9.weight": weights["9.weight"].repeat(1, 4)}
    teacher_id = bring(state, preprocess=Preprocess(mean=(0.3,), std=(0.4,), size=(16, 16)))
    student = {"objective": {"also": [{"method": method}]}, "student": {"arch": "cnn_small"}}

    teach(teacher_id, mode, **student)

    job = parse({"mode": mode, "config": SHORT | OF_MODE[mode] | student | {"teacher": {"job": JOB}}})
    file = [(tmp_path / mode / "teacher.safetensors", None)]
    assert isinstance(list(run(job, tmp_path / "second", data_folder=data, teacher_files=file))[-1], Finished)


def test_an_architecture_of_ones_own_has_weights_as_any_has(data, bring, teach):
    """Here one that takes images of one size, and not the data set's."""

    def mine(classes: int, channels: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * 6 * 6, classes))

    with registered({"own/mine": Registered(mine, "1")}):
        state = {f"backbone.{name}": one for name, one in mine(10, 1).state_dict().items()}
        events = teach(bring(state, "own/mine", preprocess=Preprocess(size=(6, 6))))

    assert "the network own/mine of 370 parameters that sees images of 6×6 pixels (loaded 2 of 2" in brought(events)


@pytest.mark.parametrize("mode", ["train", "guide"])
def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_student(data, tmp_path, weights, bring, mode):
    teacher_id = bring(weights, preprocess=Preprocess(mean=(0.3,), std=(0.4,)), classes=DIGITS)
    config = {**SHORT, "epochs": 3, "checkpoint_seconds": 0, "teacher": {"upload": teacher_id}, **OF_MODE[mode]}
    spec = parse({"mode": mode, "config": config})
    files = [(uploads.manifest(tmp_path / "teachers", teacher_id), None)]

    def student_of(out: Path, events: list[Event]) -> State:
        last = [event.student for event in events if isinstance(event, Saved) and event.student][-1]
        return load_model(out / last.path)[0].state_dict()

    def go(out: Path, resume: Path | None = None):
        return run(spec, out, resume, data_folder=data, label_folder=out / "labels", teacher_files=files)

    whole = list(go(tmp_path / "whole"))
    first = []
    for event in go(tmp_path / "first"):
        first.append(event)
        if isinstance(event, Saved) and event.phase == "student":
            break
    second = list(go(tmp_path / "second", tmp_path / "first" / first[-1].resume.path))

    expected, found = student_of(tmp_path / "whole", whole), student_of(tmp_path / "second", second)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert second[-1].metrics["teacher.test.top1"] == whole[-1].metrics["teacher.test.top1"]
    assert "teacher" not in [event.phase for event in second if isinstance(event, PhaseStarted)]
