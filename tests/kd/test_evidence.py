"""What the page shows besides the scores is of the seed whose student is offered, whichever that is."""

import json
from pathlib import Path

import pytest
import torch

from kd.events import Evaluated, Saved
from kd.run import run
from kd.spec import parse

ROLES = ["teacher", "student", "control"]
SPEC = parse(
    {
        "mode": "train",
        "config": {
            "dataset": "digits",
            "teacher": {"arch": "mlp", "epochs": 3},
            "epochs": 2,
            "views": 2,
            "checkpoint_seconds": 3600,
            "seeds": 2,
        },
    }
)


@pytest.fixture(scope="module")
def after_the_first(data, tmp_path_factory) -> Path:
    """The resume state of a run that has measured the first of its two seeds."""
    out = tmp_path_factory.mktemp("first")
    for event in run(SPEC, out, data_folder=data):
        if isinstance(event, Saved) and event.phase == "evaluating":
            return out / event.resume.path
    raise AssertionError("it saves after each seed")


@pytest.mark.parametrize(("top1_of_the_first", "offered"), [(1.0, 0), (0.0, 1)])
def test_curves_calibration_and_disputed_images_are_of_the_seed_that_is_offered(
    after_the_first: Path, data, tmp_path, top1_of_the_first: float, offered: int
):
    state = torch.load(after_the_first, weights_only=True)
    first = state["position"]["measured"][0]["metrics"]
    of_the_first = state["position"]["outcomes"]["student"]["curve"]
    first["student.validation.top1"] = top1_of_the_first
    suspects = state["position"].pop("suspects")  # as an earlier version leaves it
    torch.save(state, tmp_path / "resume.pt")

    events = list(run(SPEC, tmp_path, tmp_path / "resume.pt", data_folder=data))

    report = json.loads((tmp_path / "report.json").read_text())
    of_the_second = [one.metrics for one in events if isinstance(one, Evaluated) and one.phase == "student"]
    curves = [[point[f"validation.{which}"] for point in of_the_first] for which in ("top1", "nll")]
    if offered == 1:
        curves = [[scores[which] for scores in of_the_second] for which in ("top1", "nll")]
    shown = report["curves"]["student"]
    assert [one["is_offered"] for one in report["seeds"]] == [offered == 0, offered == 1]
    assert [shown["validation.top1"], shown["validation.nll"]] == [pytest.approx(one, rel=1e-5) for one in curves]
    for role in ROLES:
        images, right = (report["reliability"][role][column] for column in ("images", "accuracy"))
        hits = sum(count * share for count, share in zip(images, right, strict=True) if count)
        assert hits / sum(images) == pytest.approx(report["metrics"][f"{role}.test.top1"]), role
    # Of the teacher nobody has kept what it said of the test images: it is asked again.
    assert all(list(image["says"]) == ROLES for image in report["disputed"])
    assert report["suspects"] == suspects
