"""A model may begin from weights: another job's, or such as somebody has brought."""

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from huggingface_hub import constants
from torch import nn

from kd.errors import StartUnfit
from kd.events import Event, Finished, Noted, Saved
from kd.machine.torchvision_import import torchvision_models
from kd.models import torchvision
from kd.models.own.names import Registered, registered
from kd.models.preprocess.said import Preprocess
from kd.models.timm.networks import timm_of
from kd.models.weights import load_model, read_facts, save_weights
from kd.run import run
from kd.spec import parse
from kd.teachers import uploads
from kd.teachers.uploads import Said
from tests.kd.tiny import OF_MODE, SHORT
from tests.support.models.onnx_files import linear

pytestmark = pytest.mark.usefixtures("one_thread")

JOB = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"
HEAD = ("9.weight", "9.bias")
"""Of `cnn_small`."""
BODY = tuple(str(number) for number in (0, 1, 4, 5))
"""What of it has weights besides."""
STILL = {"optimizer": {"lr": 1e-9, "weight_decay": 0}}
State = dict[str, torch.Tensor]


def said(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Noted) and event.code == "begins_from"]


@pytest.fixture
def learn(tmp_path, data) -> Callable[..., list[Event]]:
    """All that a short run says whose student begins from this file."""

    def learn(start: dict[str, Any], file: Path, mode: str = "train", **changes: Any) -> list[Event]:
        student = {"student": {"arch": "cnn_small", "start": start}}
        spec = parse({"mode": mode, "config": SHORT | OF_MODE[mode] | student | changes})
        return list(run(spec, tmp_path / mode, data_folder=data, teacher_files=[(file, None)]))

    return learn


@pytest.fixture
def kept(tmp_path) -> Callable[[list[Event]], State]:
    """The student that such a run has kept in the end."""

    def kept(events: list[Event], out: Path | None = None) -> State:
        last = [event.student for event in events if isinstance(event, Saved) and event.student][-1]
        return load_model((out or tmp_path / "train") / last.path)[0].state_dict()

    return kept


@pytest.mark.parametrize("mode", ["train", "guide"])
def test_a_student_of_a_jobs_model_begins_as_good_as_that_and_its_control_too(trained, learn, mode):
    out, before = trained

    start = {"job": JOB, "frozen": BODY}
    events = learn(start, out / "teacher.safetensors", mode, control=True, **STILL)

    metrics = events[-1].metrics
    as_good = before[-1].metrics["teacher.test.top1"]
    assert metrics["student.test.top1"] == metrics["control.test.top1"] == as_good > 0.5
    assert said(events) == [
        f"The student begins from the teacher of {JOB}: loaded 14 of 14 tensors, its head too; "
        f"{', '.join(BODY)} stay as they came."
    ]


def test_what_is_frozen_stays_to_the_bit_statistics_too_and_the_rest_learns(trained, weights, learn, kept):
    student = kept(learn({"job": JOB, "frozen": ["0", "1"]}, trained[0] / "teacher.safetensors"))

    stayed = {name for name in weights if torch.equal(weights[name], student[name])}
    assert stayed == {name for name in weights if name.split(".")[0] in ("0", "1")}


def test_a_smaller_rate_is_for_all_but_the_head(trained, weights, learn, kept):
    start = {"job": JOB, "body_rate": 1e-9}
    student = kept(learn(start, trained[0] / "teacher.safetensors", optimizer={"lr": 0.05, "weight_decay": 0}))

    change = {name: (weights[name] - student[name]).abs().max().item() for name in ("0.weight", "4.weight", *HEAD)}
    assert max(change[name] for name in ("0.weight", "4.weight")) < 1e-6
    assert min(change[name] for name in HEAD) > 1e-4


@pytest.mark.parametrize("order", ["fewer", "another order"])
def test_of_other_classes_the_body_is_taken_over_and_the_head_is_new(weights, tmp_path, bring, learn, kept, order):
    classes = tuple("012") if order == "fewer" else tuple("9876543210")
    state = weights | {name: weights[name][: len(classes)] for name in HEAD}
    teacher_id = bring(state, classes=classes)

    start = {"upload": teacher_id, "frozen": BODY}
    events = learn(start, uploads.manifest(tmp_path / "teachers", teacher_id), control=True, **STILL)

    student, metrics = kept(events), events[-1].metrics
    assert all(torch.equal(weights[name], student[name]) for name in weights.keys() - set(HEAD))
    assert all((weights[name] - student[name]).abs().max() > 0.01 for name in HEAD)
    assert metrics["student.test.nll"] == pytest.approx(metrics["control.test.nll"]), "the same new head"
    assert "loaded 12 of 14 tensors, its head is new" in said(events)[0]


def test_weights_without_a_head_and_with_a_prefix_are_taken_over(weights, tmp_path, bring, learn):
    state = {f"module.{name}": tensor.half() for name, tensor in weights.items() if name not in HEAD}
    state |= {name: tensor.long() for name, tensor in state.items() if name.endswith("num_batches_tracked")}
    teacher_id = bring(state, preprocess=Preprocess(mean=(0.1,), std=(0.2,)))

    events = learn({"upload": teacher_id}, uploads.manifest(tmp_path / "teachers", teacher_id))

    (note,) = said(events)
    assert f"The student begins from mine ({teacher_id}): loaded 12 of 14 tensors, its head is new" in note
    assert "it has learnt from pixels less 0.1 and divided by 0.2, and sees them less " in note


def test_a_teacher_and_a_member_of_a_committee_begin_from_weights_too(trained, weights, tmp_path, data, bring):
    teacher_id = bring(weights)
    of_upload = {"arch": "cnn_small", "epochs": 1, **STILL, "start": {"upload": teacher_id, "frozen": BODY}}
    of_job = {"arch": "cnn_small", "epochs": 1, "start": {"job": JOB, "body_rate": 0.1}}
    spec = parse({"mode": "train", "config": {**SHORT, "views": 1, "teacher": {"committee": [of_upload, of_job]}}})
    files = [uploads.manifest(tmp_path / "teachers", teacher_id), trained[0] / "teacher.safetensors"]

    events = list(run(spec, tmp_path / "out", data_folder=data, teacher_files=[(file, None) for file in files]))

    assert [note.partition(":")[0] for note in said(events)] == [
        f"The committee's teacher.1 begins from mine ({teacher_id})",
        f"The committee's teacher.2 begins from the teacher of {JOB}",
    ]
    assert events[-1].metrics["teacher.1.test.top1"] == trained[1][-1].metrics["teacher.test.top1"]


def test_a_teacher_that_learns_on_at_the_students_side_keeps_what_is_frozen(trained, weights, tmp_path, data):
    teacher = {"arch": "cnn_small", "epochs": 1, "start": {"job": JOB, "frozen": ["0", "1"]}}
    rounds = {"epochs": 1, "views": 1, "teacher": "cotrain", "cotrain": {"epochs": 1.5, "lr": 0.02}}
    spec = parse(
        {
            "mode": "guide",
            "config": {**SHORT, "epochs": 2, "checkpoint_seconds": 0, "teacher": teacher, "rounds": rounds},
        }
    )
    guides: list[State] = []

    for event in run(
        spec, tmp_path / "out", data_folder=data, teacher_files=[(trained[0] / "teacher.safetensors", None)]
    ):
        if isinstance(event, Saved):
            state = torch.load(tmp_path / "out" / event.resume.path, weights_only=True)
            guides.extend(_guides_in(state))

    assert any(not torch.equal(one["4.weight"], guides[0]["4.weight"]) for one in guides)
    frozen = [name for name in weights if name.split(".")[0] in ("0", "1")]
    assert all(torch.equal(one[name], weights[name]) for one in guides for name in frozen)


def _guides_in(value: object) -> Iterator[State]:
    """The weights of all guides in a resume state."""
    if isinstance(value, dict):
        if "guide" in value:
            yield value["guide"]["weights"]
        for inner in value.values():
            yield from _guides_in(inner)


def test_of_a_job_whose_teacher_was_brought_counts_what_that_one_has_learnt(weights, tmp_path, bring, teach, learn):
    """Not what its job's data set is."""
    order = [*range(9, -1, -1)]
    turned = weights | {name: weights[name][order] for name in HEAD}
    teacher_id = bring(turned, classes=tuple("9876543210"), preprocess=Preprocess(mean=(0.9,), std=(0.7,)))
    teach(teacher_id)
    lent = (tmp_path / "train" / "teacher.safetensors").rename(tmp_path / "lent.safetensors")

    (note,) = said(learn({"job": JOB, "frozen": BODY}, lent))

    assert "its head is new" in note
    assert "it has learnt from pixels less 0.9 and divided by 0.7, and sees them less " in note


def test_a_run_does_not_go_on_from_other_weights_than_it_has_begun_from(trained, weights, tmp_path, data):
    """Its control would begin from others than its student did."""
    student = {"arch": "cnn_small", "start": {"job": JOB}}
    spec = parse({"mode": "train", "config": {**SHORT, "views": 1, "checkpoint_seconds": 0, "student": student}})
    files = [tmp_path / f"{name}.safetensors" for name in ("one", "other")]
    facts = read_facts(trained[0] / "teacher.safetensors")
    for file, state in zip(files, (weights, weights | {"0.weight": weights["0.weight"] * 2}), strict=True):
        save_weights(state, facts, tmp_path, file.relative_to(tmp_path))

    events = run(spec, tmp_path / "first", data_folder=data, teacher_files=[(files[0], None)])
    saved = next(event for event in events if isinstance(event, Saved) and event.phase == "student")
    resume = tmp_path / "first" / saved.resume.path

    with pytest.raises(StartUnfit, match="these are other weights than those with which the run has begun"):
        list(run(spec, tmp_path / "second", resume, data_folder=data, teacher_files=[(files[1], None)]))


def test_what_a_factory_froze_by_itself_learns_its_statistics_as_before(data, tmp_path, kept):
    def build(classes: int, channels: int) -> nn.Module:
        norm = nn.BatchNorm2d(4).requires_grad_(False)
        return nn.Sequential(nn.Conv2d(channels, 4, 3), norm, nn.Flatten(), nn.LazyLinear(classes))

    with registered({"own/frozen": Registered(build, "1")}):
        student = {"student": {"arch": "own/frozen"}}
        spec = parse(
            {"mode": "train", "config": SHORT | {"views": 1, "teacher": {"arch": "mlp", "epochs": 1}} | student}
        )
        found = kept(list(run(spec, tmp_path / "out", data_folder=data)), tmp_path / "out")

    assert found["1.num_batches_tracked"] > 0
    assert found["1.running_mean"].abs().max() > 0


def test_a_state_that_was_saved_before_parts_had_rates_of_their_own_is_gone_on_from(data, tmp_path):
    spec = parse({"mode": "train", "config": {**SHORT, "views": 1, "checkpoint_seconds": 0}})
    events = run(spec, tmp_path / "first", data_folder=data)
    saved = next(event for event in events if isinstance(event, Saved) and event.phase == "teacher")
    resume = tmp_path / "first" / saved.resume.path
    state = torch.load(resume, weights_only=True)
    for group in state["position"]["current"]["optimizer"]["param_groups"]:
        del group["share"]
    torch.save(state, resume)

    assert isinstance(list(run(spec, tmp_path / "second", resume, data_folder=data))[-1], Finished)


@pytest.mark.parametrize("mode", ["train", "guide"])
def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(trained, tmp_path, data, kept, mode):
    start = {"job": JOB, "frozen": ["0"], "body_rate": 0.5}
    config = {**SHORT, "epochs": 3, "checkpoint_seconds": 0, **OF_MODE[mode], "ema": 0.9}
    spec = parse({"mode": mode, "config": config | {"student": {"arch": "cnn_small", "start": start}}})
    files = [(trained[0] / "teacher.safetensors", None)]

    def go(out: Path, resume: Path | None = None) -> Iterator[Event]:
        return run(spec, out, resume, data_folder=data, label_folder=out / "labels", teacher_files=files)

    whole, first, steps = list(go(tmp_path / "whole")), [], 0
    for event in go(tmp_path / "first"):
        first.append(event)
        steps += isinstance(event, Saved) and event.phase == "student"
        if steps == 5:  # in the middle of an epoch
            break
    second = list(go(tmp_path / "second", tmp_path / "first" / first[-1].resume.path))

    expected, found = kept(whole, tmp_path / "whole"), kept(second, tmp_path / "second")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert (len(said(whole)), len(said(second))) == (1, 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"student": {"arch": "cnn"}}, "the teacher of job_.* is a cnn_small, and student.arch is cnn"),
        ({"frozen": ["layer1"]}, "there is no part of cnn_small named 'layer1'; there are 0, 1, 2, "),
        ({"frozen": ["2"]}, "its part 2 has no weights that could be frozen"),
        ({"frozen": [*BODY, "9"]}, "with all of these parts frozen nothing is left to learn"),
    ],
)
def test_what_cannot_be_is_said_before_anything_learns(trained, tmp_path, data, change, why):
    student = {"arch": "cnn_small", "start": {"job": JOB, "frozen": change.get("frozen", [])}}
    student |= change.get("student", {})
    spec = parse({"mode": "train", "config": {**SHORT, "views": 1, "student": student}})
    files = [(trained[0] / "teacher.safetensors", None)]
    heard: list[Event] = []

    with pytest.raises(StartUnfit, match=f"The weights that the student is to begin from cannot be used: {why}"):
        heard.extend(run(spec, tmp_path / "out", data_folder=data, teacher_files=files))

    assert not any(isinstance(event, Saved) for event in heard)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda state: {name: each for name, each in state.items() if name != "0.weight"}, "does not have 0.weight"),
        (lambda state: state | {"more": torch.zeros(1)}, "has, and cnn_small has not, more"),
        (lambda state: state | {"4.weight": torch.zeros(1, 2)}, r"has in another shape 4.weight \(1×2, not 16×8×3×3\)"),
        (lambda state: state | {"0.weight": state["0.weight"] * torch.nan}, "hold numbers that are not finite"),
        (lambda state: state | {"0.weight": state["0.weight"].long()}, "holds int64, and cnn_small has float32 there"),
    ],
)
def test_weights_of_another_body_are_refused_by_name_and_shape(weights, tmp_path, bring, learn, change, why):
    teacher_id = bring(change(dict(weights)))

    with pytest.raises(StartUnfit, match=why):
        learn({"upload": teacher_id}, uploads.manifest(tmp_path / "teachers", teacher_id))


def test_an_onnx_file_is_nothing_to_begin_from(tmp_path, learn):
    file = io.BytesIO(linear().SerializeToString())
    found, _ = uploads.add(tmp_path / "teachers", file, Said(name="mine", preprocess=Preprocess()))

    with pytest.raises(StartUnfit, match="is an ONNX file, which answers and is never trained"):
        learn({"upload": found.id}, uploads.manifest(tmp_path / "teachers", found.id))


# -- what is published -----------------------------------------------------------------------------------------------


@pytest.fixture
def torchs_cache(tmp_path, monkeypatch) -> Path:
    """An empty one."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def begin(tmp_path: Path, data: Path, arch: str, **start: Any) -> list[Event]:
    """A run whose student begins from what is published."""
    student = {"arch": arch, "start": {"published": True, **start}}
    config = SHORT | STILL | {"teacher": {"arch": "mlp", "epochs": 1}, "views": 1, "student": student}
    return list(run(parse({"mode": "train", "config": config}), tmp_path / "out", data_folder=data))


def test_a_student_begins_from_what_torchvision_publishes(tmp_path, data, torchs_cache, monkeypatch, kept):
    network = torchvision_models().squeezenet1_1(weights=None)  # of a thousand classes
    content = io.BytesIO()
    torch.save(network.state_dict(), content)
    name = f"squeezenet1_1-{hashlib.sha256(content.getvalue()).hexdigest()[:8]}.pth"
    (torchs_cache / name).write_bytes(content.getvalue())
    # Its own file is of other numbers, which are in nobody's test.
    monkeypatch.setattr(torchvision, "url_of", lambda _: f"https://download.pytorch.org/models/{name}")

    events = begin(tmp_path, data, "torchvision/squeezenet1_1", frozen=["features"])

    student = kept(events, tmp_path / "out")
    body = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("classifier.")}
    assert body
    assert all(torch.equal(student[f"network.{name}"], tensor) for name, tensor in body.items())
    (note,) = said(events)
    assert "the published weights of torchvision/squeezenet1_1: loaded 50 of 52 tensors, its head is new" in note
    assert "it has learnt from pixels less 0.485, 0.456, 0.406 and divided by" in note


def test_a_student_begins_from_what_timm_publishes_for_images_of_another_size(tmp_path, data, monkeypatch, kept):
    network, repository = (
        timm_of("timm/*").create_model("test_vit", num_classes=1_000),
        "models--timm--test_vit.r160_in1k",
    )
    revision = "0" * 40
    snapshot = tmp_path / "hub" / repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    safetensors.torch.save_file(network.state_dict(), snapshot / "model.safetensors")
    (tmp_path / "hub" / repository / "refs").mkdir()
    (tmp_path / "hub" / repository / "refs" / "main").write_text(revision)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    events = begin(tmp_path, data, "timm/test_vit", frozen=["patch_embed", "blocks"])

    student = kept(events, tmp_path / "out")
    assert all(
        torch.equal(student[f"network.{name}"], tensor)
        for name, tensor in network.state_dict().items()
        if name.startswith(("patch_embed.", "blocks."))
    )
    assert student["network.pos_embed"].shape != network.pos_embed.shape, "fitted to these images by timm"
    assert "its head is new" in said(events)[0]


def test_a_published_file_that_is_damaged_is_said_to_be_so(tmp_path, data, monkeypatch):
    repository, revision = tmp_path / "hub" / "models--timm--test_vit.r160_in1k", "0" * 40
    (snapshot := repository / "snapshots" / revision).mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"half of it")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    with pytest.raises(StartUnfit, match="the published file of timm/test_vit cannot be read: "):
        begin(tmp_path, data, "timm/test_vit")


@pytest.mark.parametrize(
    ("arch", "why"),
    [
        ("cnn", "nobody publishes weights of cnn: of torchvision/… and timm/… there are some"),
        ("torchvision/resnet18", r"resnet18-f37072fd.pth is not in torch's cache where the job runs .*; https://"),
        ("torchvision/resnet34", r"resnet34-b627a593.pth in torch's cache is damaged \(its sha256 is another\)"),
        (
            "timm/test_resnet",
            r"model.safetensors of timm/test_resnet.r160_in1k is not in Hugging Face's cache .*`hf download",
        ),
    ],
)
def test_what_is_not_at_hand_is_said_with_where_it_is_to_be_had(tmp_path, data, torchs_cache, monkeypatch, arch, why):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (torchs_cache / "resnet34-b627a593.pth").write_bytes(b"half of it")

    with pytest.raises(StartUnfit, match=why):
        begin(tmp_path, data, arch)
