"""Networks of one's own as teachers that come with their weights, and code of all sorts that is stopped and goes on."""

import pytest
import torch
from pydantic import ValidationError

from kd.events import Noted, Saved
from kd.models.weights import load_model
from kd.run import run
from kd.spec import parse
from tests.kd.tiny import OF_MODE, SHORT, TINY

pytestmark = pytest.mark.usefixtures("one_thread")


WITH_WEIGHTS = """
import torch
from torch import nn

def sure(classes, channels):
    # By hand: it says the same of all images.
    net = nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, classes))
    nn.init.zeros_(net[1].weight)
    net[1].bias.data = torch.arange(classes).float()
    return net
"""


VIEWS = """
import torch
from torch import nn

class Views(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.stem, self.lazy = nn.Conv2d(channels, 8, 3, padding=1), nn.LazyLinear(classes)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        return self.lazy(x.view(len(x), -1))
"""


def test_a_run_with_code_of_all_sorts_that_was_stopped_goes_on_to_the_bit(installed, tmp_path, data):
    installed({"views": "Views", "sure": "sure"}, WITH_WEIGHTS + VIEWS)
    config = {**TINY, "teacher": {"as_built": "own/sure"}, "student": {"arch": "own/views"}, "control": False}
    asked = parse({"mode": "guide", "config": {**config, "epochs": 2}})

    def weights_of(name, events):
        list(events)
        return load_model(max((tmp_path / name).rglob("student.safetensors")))[0].state_dict()

    whole = weights_of("whole", run(asked, tmp_path / "whole", data_folder=data, label_folder=tmp_path / "labels"))
    for event in run(asked, tmp_path / "parts", data_folder=data, label_folder=tmp_path / "others"):
        if isinstance(event, Saved) and event.phase == "student":
            break
    resumed = run(asked, tmp_path / "parts", tmp_path / "parts" / event.resume.path, data_folder=data)
    parts = weights_of("parts", resumed)

    assert event.epoch == 1
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_a_teacher_that_its_factory_gives_with_its_weights_teaches_as_it_is(installed, tmp_path, data):
    installed({"sure": "sure"}, WITH_WEIGHTS)
    config = {**TINY, "teacher": {"as_built": "own/sure"}, "epochs": 1, "control": False}

    events = list(run(parse({"mode": "train", "config": config}), tmp_path / "out", data_folder=data))

    said = {event.code: event.message for event in events if isinstance(event, Noted)}
    assert said["teacher_brought"] == "The teacher is own/sure, as its factory builds it: none is trained here."
    assert (
        "look whether its classes are in this order, and whether it wants its pixels, in 0..1" in said["weak_teacher"]
    )
    assert events[-1].metrics["teacher.epochs"] == 0
    assert "own/sure, trained before" in (tmp_path / "out" / "report.html").read_text()
    teacher, _ = load_model(tmp_path / "out" / "teacher.safetensors")
    assert teacher[1].bias.tolist() == list(range(10))


@pytest.mark.parametrize(
    ("teacher", "config", "why"),
    [
        ({"as_built": "cnn"}, {}, "is no architecture of your own .own/NAME., which alone may come with its weights"),
        ({"as_built": "own/nothing"}, {}, "there is no model named 'own/nothing'"),
        ({"as_built": "own/sure", "epochs": 3}, {}, "Extra inputs are not permitted"),
        ({"as_built": "own/sure"}, {"rounds": {"teacher": "route"}}, "needs a teacher that is trained here"),
        ({"as_built": "own/sure"}, {"objective": {"method": "fitnet"}}, "own/sure, is one of your own, whose stages"),
    ],
)
def test_such_a_teacher_is_refused_where_it_cannot_be_had(installed, teacher, config, why):
    installed({"sure": "sure"}, WITH_WEIGHTS)
    student = {"student": {"arch": "cnn"}}

    with pytest.raises(ValidationError, match=why):
        parse({"mode": "guide", "config": {**TINY, **student, "teacher": teacher, **config}})


TWO_SURE = (
    WITH_WEIGHTS
    + """

def surer(classes, channels):
    net = sure(classes, channels)
    net[1].bias.data *= 2
    return net
"""
)


@pytest.mark.parametrize("mode", ["train", "guide"])
def test_such_teachers_may_be_of_a_committee_beside_one_that_is_trained(installed, tmp_path, data, mode):
    installed({"sure": "sure", "surer": "surer"}, TWO_SURE)
    members = [{"as_built": "own/sure"}, {"arch": "mlp", "epochs": 1}, {"as_built": "own/surer"}]
    config = SHORT | OF_MODE[mode] | {"teacher": {"committee": members}}

    events = list(run(parse({"mode": mode, "config": config}), tmp_path / "out", data_folder=data))

    said = [event.message for event in events if isinstance(event, Noted) and event.code == "teacher_brought"]
    assert said == [
        f"The committee's teacher.{number} is own/{name}, as its factory builds it: none is trained here."
        for number, name in ((1, "sure"), (3, "surer"))
    ]
    third, _ = load_model(tmp_path / "out" / "teacher.3.safetensors")
    assert third[1].bias.tolist() == list(range(0, 20, 2))
    assert "teacher.test.top1" in events[-1].metrics


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ({"as_built": "own/sure"}, "own/sure is named twice; a committee gains by members that differ"),
        ({"as_built": "cnn"}, "is no architecture of your own"),
    ],
)
def test_a_committee_of_such_is_refused_where_it_makes_no_sense(installed, second, why):
    installed({"sure": "sure"}, WITH_WEIGHTS)
    committee = {"committee": [{"as_built": "own/sure"}, second]}

    with pytest.raises(ValidationError, match=why):
        parse({"mode": "train", "config": {**TINY, "teacher": committee}})
