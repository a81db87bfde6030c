"""Architectures of one's own, by entry point: found by their names, built by their factories, refused in words."""

import pytest
import torch
from pydantic import ValidationError

from kd.errors import BadModel, ModelChanged, ModelMissing, ModelUnfit, SpecUnfit
from kd.events import Finished
from kd.models.build import build
from kd.models.catalog import why_unknown
from kd.models.own import names, networks
from kd.models.weights import copy_of, digest_of, load_model, load_state, read_facts
from kd.run import run
from kd.spec import parse
from tests.kd.tiny import TINY
from tests.support.models.installed import install

SHAPE = (1, 8, 8)
pytestmark = pytest.mark.usefixtures("one_thread")


def spec(student="own/tiny", **config):
    return parse({"mode": "train", "config": {**TINY, "epochs": 2, "student": {"arch": student}, **config}})


def test_a_run_of_both_roles_goes_through_the_one_engine(installed, tmp_path, data):
    installed({"tiny": "tiny", "by-size": "by_size"})

    *_, last = run(
        spec(teacher={"arch": "own/by-size", "epochs": 1, "optimizer": {"lr": 0.05}}),
        tmp_path / "out",
        data_folder=data,
    )

    assert isinstance(last, Finished)
    assert last.metrics["student.parameters"] == 8 * 9 + 8 + 16 + 128 * 10 + 10
    (file, *_) = (tmp_path / "out").rglob("student.safetensors")
    model, facts = load_model(file)
    assert facts.arch == "own/tiny"
    assert model(torch.zeros(3, *SHAPE)).shape == (3, 10)


def test_weights_of_a_model_that_is_no_longer_installed_say_what_is_missing(installed, tmp_path, monkeypatch, data):
    with monkeypatch.context() as here:
        here.syspath_prepend(str(install(tmp_path / "site", {"tiny": "tiny"})))
        list(run(spec(control=False, teacher={"arch": "own/tiny", "epochs": 1}), tmp_path / "out", data_folder=data))
    file = tmp_path / "out" / "teacher.safetensors"

    assert read_facts(file).arch == "own/tiny"
    with pytest.raises(
        ModelMissing, match=r"own/tiny cannot be built here: there is no model named 'own/tiny', and no"
    ):
        load_model(file)


def test_a_job_whose_package_is_not_where_it_runs_says_so_and_is_still_read(installed, tmp_path, data):
    stored = spec("mlp").model_dump(mode="json")
    stored["config"]["student"]["arch"] = "own/tiny"

    accepted = parse(stored, accepted=True)

    with pytest.raises(ModelMissing, match="install the package that has it where the workers run"):
        list(run(accepted, tmp_path / "out", data_folder=data))


def test_a_name_that_is_none_is_told_those_that_are_near(installed):
    assert "an entry point" not in why_unknown("tyni")
    assert "none of your own at all: an installed package registers them" in why_unknown("own/tyni")

    installed({"tiny": "tiny", "not a name": "tiny"})

    assert names.names() == ("own/tiny",)
    assert why_unknown("own/tyni") == "there is no model named 'own/tyni'; the nearest are own/tiny"
    assert "the nearest are own/tiny, " in why_unknown("tiny")
    assert why_unknown("own/not a name") == f"architectures of your own are named {names.NAMES_ARE}"
    with pytest.raises(ValidationError, match="the nearest are own/tiny"):
        spec("own/tyni")


def test_a_name_that_two_packages_register_is_neither_of_theirs(installed):
    installed({"tiny": "tiny"})
    installed({"tiny": "tiny"}, package="other-models")

    assert names.names() == ()
    assert "registered by other-models 1.2 and by tiny-models 1.2: leave one of them" in why_unknown("own/tiny")


def test_another_version_of_a_package_is_another_model_with_the_same_weights(tmp_path, monkeypatch):
    digests = []
    for version in ("1", "2"):
        with monkeypatch.context() as here:
            here.syspath_prepend(str(install(tmp_path / version, {"tiny": "tiny"}, version=version)))
            torch.manual_seed(0)
            digests.append(digest_of("own/tiny", copy_of(build("own/tiny", 10, SHAPE))))

    assert digests[0] != digests[1]


def test_what_nobody_knows_of_it_suits_any_network_and_refuses_maps(installed):
    installed({"tiny": "tiny"})

    assert spec(optimizer={}).config.optimizer.name == "adamw"
    assert spec(optimizer={}).config.schedule.warmup_epochs > 0
    with pytest.raises(ValidationError, match="own/tiny is one of your own, whose stages nobody knows: take a student"):
        spec(objective={"method": "ofa"})


def test_a_classifier_that_is_no_linear_layer_is_told_before_anything_is_trained(installed, tmp_path, data):
    installed(
        {"conv": "conv"},
        "from torch import nn\n"
        "def conv(classes, channels):\n"
        "    return nn.Sequential(nn.Conv2d(channels, classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n",
    )
    needs_a_feature = spec("own/conv", objective={"method": "rkd"})

    with pytest.raises(SpecUnfit, match="own/conv: its classifier is a convolution"):
        list(run(needs_a_feature, tmp_path / "out", data_folder=data))
    # Of logits alone it can be a teacher, too.
    as_a_teacher = spec("mlp", teacher={"arch": "own/conv", "epochs": 1}, control=False, epochs=1)
    assert isinstance(list(run(as_a_teacher, tmp_path / "out", data_folder=data))[-1], Finished)


def test_weights_of_earlier_code_are_told_from_what_the_code_builds_now(installed):
    installed({"tiny": "tiny", "other": "by_size"})

    with pytest.raises(ModelChanged, match=r"of another network, or of earlier code \(Missing key\(s\) in"):
        load_state(build("own/tiny", 10, SHAPE), copy_of(build("own/other", 10, SHAPE)))


FACTORIES = """
import torch
from torch import nn

def one(classes): ...
def several(classes, channels, depth): ...
def fails(classes, channels): raise IndexError("list index out of range")
def a_dict(classes, channels): return {}
def any_of(**given): return nn.Sequential(nn.Flatten(), nn.Linear(given["height"] * given["width"], 10))
def half(classes, channels): return any_of(height=8, width=8).half()
def frozen(classes, channels): return any_of(height=8, width=8).requires_grad_(False)
def of_rgb(classes, channels): return nn.Sequential(nn.Conv2d(3, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
def too_many(classes, channels): return nn.Sequential(nn.Flatten(), nn.Linear(64, classes + 1))
def maps(classes, channels): return nn.Conv2d(channels, classes, 1)
one_for_all = any_of(height=8, width=8)
def always_one(classes, channels): return one_for_all
class Pair(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.linear = nn.Linear(64, classes)
    def forward(self, x): return self.linear(x.flatten(1)), x
class More(Pair):
    def forward(self, x): return super().forward(x) if self.training else self.linear(x.flatten(1))
class Held(nn.Sequential):
    def __init__(self, classes, channels):
        super().__init__(nn.Flatten(), nn.Linear(64, classes))
        self.held = (number for number in range(3))
count = 0
def unlike(classes, channels):
    global count
    count += 1
    linear = nn.Linear(64, classes)
    nn.init.constant_(linear.bias, count)
    return nn.Sequential(nn.Flatten(), linear)
class Plain(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.linear, self.scale = nn.Linear(64, classes), torch.ones(1)
    def forward(self, x): return self.linear(x.flatten(1) * float(self.scale))
number = 3
"""


@pytest.mark.parametrize(
    ("factory", "error", "why"),
    [
        (
            "one",
            BadModel,
            "its factory takes no argument channels; it is called with the keywords classes and channels",
        ),
        ("several", BadModel, "its factory wants depth, which nobody gives: let it have a default"),
        ("fails", BadModel, "called with classes=10, channels=1, raises IndexError: list index out of range"),
        ("a_dict", BadModel, "its factory gives a dict, and no torch.nn.Module"),
        ("half", BadModel, "its 1.weight is float16; weights are float32"),
        ("frozen", BadModel, "it has no parameter that can learn"),
        ("of_rgb", ModelUnfit, "takes no images of 8×8 pixels with 1 channel.s.: RuntimeError: .* to have 3 channels"),
        ("too_many", BadModel, "float32 of shape 2×11, where logits are floats of shape 2×10"),
        ("maps", BadModel, "of shape 2×10×8×8, where logits are"),
        ("Pair", BadModel, "it answers with a tuple; it must give logits, a tensor of shape B×10"),
        ("More", BadModel, "it answers with a tuple; it must give logits"),
        ("Held", BadModel, "it cannot be copied, TypeError: cannot pickle 'generator' object"),
        ("always_one", BadModel, "gives the same module every time, and student and control would be one"),
        ("unlike", BadModel, r"other first weights \(1.bias\) from the same seed"),
        ("number", ModelMissing, "tiny_models:number of tiny-models 1.2 is no function that builds a model"),
        ("nothing", ModelMissing, "to import tiny_models:nothing of tiny-models 1.2 raises AttributeError"),
    ],
)
def test_a_factory_that_cannot_be_used_is_told_why(installed, factory, error, why):
    installed({factory: factory}, FACTORIES)

    with pytest.raises(error, match=f"^own/{factory} .*{why}"):
        networks.check(f"own/{factory}", 10, SHAPE, learns=True)


@pytest.mark.parametrize("factory", ["any_of", "Plain"])
def test_a_factory_may_take_any_keyword_and_its_network_ask_what_is_in_a_tensor(installed, factory):
    from kd.evaluation.cost import macs

    installed({factory: factory}, FACTORIES)

    networks.check(f"own/{factory}", 10, SHAPE, learns=True)
    assert macs(build(f"own/{factory}", 10, SHAPE), SHAPE) == 640


def test_a_module_that_cannot_be_imported_is_told_with_its_error(installed):
    installed({"tiny": "tiny"}, "import nothing_of_that_name")

    with pytest.raises(ModelMissing, match="raises ModuleNotFoundError: No module named 'nothing_of_that_name'"):
        build("own/tiny", 10, SHAPE)
