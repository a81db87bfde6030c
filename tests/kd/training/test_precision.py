"""Runs in half precision: they learn as in single, and their gradients are kept within its range."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kd.errors import GradientDiverged
from kd.events import Finished, Saved, Started, Step
from kd.machine.precision import find_precision, make_scaler, read_scale
from kd.run import run
from kd.spec import parse

PLAIN = {"crop_padding": 0, "flip": False}
# The loss, and with it every gradient, is ten thousand times larger, and the rates are as much smaller.
LOUDER = 1e4
LOUD = {
    "dataset": "digits",
    "precision": "fp16",
    "objective": {"class_weights": [LOUDER] * 10},
    "teacher": {"arch": "mlp", "epochs": 2, "optimizer": {"lr": 0.05 / LOUDER}},
    "student": {"arch": "mlp"},
    "epochs": 4,
    "augmentation": PLAIN,
    "optimizer": {"lr": 0.05 / LOUDER},
    "rounds": {"epochs": 2, "views": 2, "teacher": "cotrain", "cotrain": {"epochs": 0.5, "lr": 0.01 / LOUDER}},
    "control": False,
    "checkpoint_seconds": 0,
}
FIRST_SCALE = 2.0**16


def go(out: Path, data: Path, mode: str, config: dict, device: str = "cpu", **how) -> Iterator:
    labels = out.parent / "labels"
    return run(
        parse({"mode": mode, "config": config}), out, data_folder=data, label_folder=labels, device=device, **how
    )


def scales(events: list, phase: str) -> list[float]:
    return [event.metrics["loss_scale"] for event in events if isinstance(event, Step) and event.phase == phase]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def loud(data, tmp_path_factory) -> tuple[Path, list]:
    """A run of which nobody stopped any part: its folder, and what it said."""
    out = tmp_path_factory.mktemp("loud") / "whole"
    return out, list(go(out, data, "guide", LOUD))


def last_students(out: Path, events: list) -> dict[str, torch.Tensor]:
    saved = [event.resume.path for event in events if isinstance(event, Saved)][-1]
    return torch.load(out / saved, weights_only=True)["position"]["outcomes"]["student"]["last"]


def test_a_run_in_fp16_learns_as_much_as_one_in_fp32(data, tmp_path):
    small = {"arch": "cnn_small"}
    config = {"dataset": "digits", "teacher": small | {"epochs": 2}, "student": small, "epochs": 3, "control": False}
    config |= {"augmentation": PLAIN, "views": 1}
    top1 = {}
    for precision in ("fp16", "fp32"):
        events = list(go(tmp_path / precision, data, "train", {**config, "precision": precision}))
        assert next(event for event in events if isinstance(event, Started)).precision == precision
        assert isinstance(events[-1], Finished)
        top1[precision] = events[-1].metrics["student.test.top1"]
    assert top1["fp16"] == pytest.approx(top1["fp32"], abs=0.03)
    assert top1["fp32"] > 0.5, "ten classes of digits, so guessing would give 0.1"


def test_steps_too_large_for_fp16_are_left_out_and_the_loss_scaled_down(loud):
    _, events = loud
    for phase in ("teacher", "student"):
        assert all(1 <= scale < FIRST_SCALE for scale in scales(events, phase))
    assert events[-1].metrics["student.test.top1"] > 0.5, "and the others are taken"


def test_a_run_in_fp16_that_is_stopped_goes_on_to_the_same_weights(loud, data, tmp_path):
    whole, undisturbed = loud
    # In the middle of the student's third epoch, before which the teacher has learnt on.
    saved = []
    for event in go(tmp_path / "stopped", data, "guide", LOUD):
        if isinstance(event, Saved) and event.phase == "student":
            saved.append(event)
            if len(saved) == 60:
                break
    resume = tmp_path / "stopped" / saved[-1].resume.path
    resumed = list(go(tmp_path / "resumed", data, "guide", LOUD, resume=resume))

    assert resumed[0].resumed_from_step == saved[-1].step
    assert scales(resumed, "student")[0] < FIRST_SCALE, "it remembers what fits"
    expected, got = last_students(whole, undisturbed), last_students(tmp_path / "resumed", resumed)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_when_no_step_fits_into_fp16_however_small_the_loss_is_made_it_is_said():
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer, scaler = torch.optim.SGD([parameter], lr=0.1), make_scaler(torch.device("cpu"), torch.float16)

    def step() -> None:
        (scaler.scale(parameter.sum()) * torch.inf).backward()
        scaler.step(optimizer)
        scaler.update()

    for number in range(30):
        step()
        assert read_scale(scaler, number, lr=0.1) == {"loss_scale": FIRST_SCALE / 2 ** (number + 1)}
    step()
    with pytest.raises(GradientDiverged, match=r"at step 30.* config\.precision bf16 and fp32 have a wider range"):
        read_scale(scaler, 30, lr=0.1)
    assert parameter.item() == 1, "none was taken"


@pytest.mark.parametrize(
    ("name", "device", "computes_in_bf16", "found"),
    [
        ("auto", "cpu", False, "fp32"),
        ("auto", "cuda", True, "bf16"),
        ("auto", "cuda", False, "fp16"),
        ("fp32", "cuda", True, "fp32"),
        ("fp16", "cpu", False, "fp16"),
    ],
)
def test_auto_is_the_fastest_precision_that_the_device_computes_in(name, device, computes_in_bf16, found, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: computes_in_bf16)
    assert find_precision(name, torch.device(device)) == found


@pytest.mark.gpu
def test_on_a_gpu_a_run_in_fp16_scales_its_loss_and_learns(data, tmp_path):
    events = list(go(tmp_path / "run", data, "guide", LOUD, device="cuda"))
    assert scales(events, "student")[-1] < FIRST_SCALE
    assert events[-1].metrics["student.test.top1"] > 0.5
