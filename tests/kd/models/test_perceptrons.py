"""Perceptrons of a stated size: what a name says is what is built, trained, saved, resumed and lent."""

from itertools import takewhile

import pytest
import torch
from torch import nn

from kd.evaluation.cost import parameters
from kd.events import Finished, Saved
from kd.models.build import build
from kd.models.weights import load_model, read_facts
from kd.run import run
from kd.spec import parse


@pytest.mark.parametrize(
    ("arch", "weights"),
    [
        # Hinton et al., 2015: two hidden layers of 1200 units, and of 800.
        ("mlp_1200x2", 785 * 1200 + 1201 * 1200 + 1201 * 10),
        ("mlp_1200x2_dropout50", 785 * 1200 + 1201 * 1200 + 1201 * 10),
        ("mlp_800x2", 785 * 800 + 801 * 800 + 801 * 10),
        ("mlp_64", 785 * 64 + 65 * 10),
        ("mlp_7x3", 785 * 7 + 2 * 8 * 7 + 8 * 10),
    ],
)
def test_a_perceptron_is_as_large_as_its_name_says(arch, weights):
    assert parameters(build(arch, 10, (1, 28, 28))) == weights


def test_the_plain_perceptron_is_the_one_of_64_units():
    def born(arch: str) -> torch.Tensor:
        torch.manual_seed(0)
        return nn.utils.parameters_to_vector(build(arch, 10, (1, 28, 28)).parameters())

    assert torch.equal(born("mlp"), born("mlp_64"))
    assert torch.equal(born("mlp"), born("mlp_64x1"))


def test_dropout_leaves_out_so_many_hidden_units_in_training_and_none_afterwards():
    torch.manual_seed(0)
    model, x = build("mlp_1000_dropout25", 10, (1, 28, 28)), torch.rand(100, 1, 28, 28)
    plain = nn.Sequential(*(module for module in model if not isinstance(module, nn.Dropout)))

    hidden, dropped = plain[:3](x), model.train()[:4](x)

    left_out = ((hidden != 0) & (dropped == 0)).sum() / (hidden != 0).sum()
    assert 0.24 < left_out < 0.26
    assert torch.equal(model.eval()(x), plain(x))


@pytest.mark.parametrize(
    "name",
    ["mlp_", "mlp_0", "mlp_8193", "mlp_064", "mlp_64x9", "mlp_64x0", "mlp_64_dropout91", "mlp_64_dropout0", "mlp_64 "],
)
def test_a_perceptron_that_cannot_be_is_refused_with_the_names_that_can(name):
    with pytest.raises(ValueError, match=r"perceptrons are named mlp_<width>, .* 1 to 8192 units"):
        build(name, 10, (1, 28, 28))


# -- in a run --------------------------------------------------------------------------------------------------------

TINY = {"dataset": "digits", "epochs": 3, "batch_size": 128, "checkpoint_seconds": 3600, "views": 2}


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A run whose models drop out: its spec, its folder, the data's folder, what it said."""
    models = {"teacher": {"arch": "mlp_48x2_dropout50", "epochs": 2}, "student": {"arch": "mlp_24_dropout25"}}
    spec, out, data = parse({"mode": "train", "config": TINY | models}), *map(tmp_path_factory.mktemp, ("out", "data"))
    return spec, out, data, list(run(spec, out, data_folder=data))


def last_state(out, events):
    """All that the last checkpoint knows."""
    return torch.load(out / [event.resume.path for event in events if isinstance(event, Saved)][-1], weights_only=True)


def test_a_run_with_dropout_that_is_stopped_and_resumed_ends_with_the_same_weights(taught, tmp_path):
    spec, out, data, whole = taught
    steps = [event.step for event in whole if isinstance(event, Saved)]
    middle = steps[len(steps) // 2]

    first = list(
        takewhile(
            lambda event: not (isinstance(event, Saved) and event.step > middle),
            run(spec, tmp_path / "1", data_folder=data, label_folder=tmp_path / "labels"),
        )
    )
    resume = tmp_path / "1" / [event.resume.path for event in first if isinstance(event, Saved)][-1]
    rest = list(run(spec, tmp_path / "2", resume, data_folder=data, label_folder=tmp_path / "labels"))

    wanted, found = (
        last_state(out, whole)["position"]["outcomes"],
        last_state(tmp_path / "2", rest)["position"]["outcomes"],
    )
    for role in ("teacher", "student", "control"):
        for name, tensor in wanted[role]["last"].items():
            assert torch.equal(found[role]["last"][name], tensor), (role, name)


def test_a_student_of_a_stated_size_is_built_from_its_file(taught):
    _, out, _, events = taught

    model, facts = load_model(
        out / [event.student for event in events if isinstance(event, Saved) and event.best][-1].path
    )

    assert facts.arch == "mlp_24_dropout25"
    assert parameters(model) == 65 * 24 + 25 * 10 == events[-1].metrics["student.parameters"]


def test_a_teacher_of_a_stated_size_is_lent_to_another_run(taught, tmp_path):
    _, out, data, _ = taught
    borrowed = parse({"mode": "train", "config": TINY | {"teacher": {"job": "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"}}})

    events = list(run(borrowed, tmp_path, data_folder=data, teacher_files=[(out / "teacher.safetensors", None)]))

    assert isinstance(events[-1], Finished)
    assert read_facts(tmp_path / "teacher.safetensors").arch == "mlp_48x2_dropout50"
