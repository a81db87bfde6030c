"""A torch module becomes an ONNX file where its code is trusted, and says the same as before."""

import numpy as np
import pytest
import safetensors.torch
import torch

from kd.errors import NotConverted
from kd.models.onnx.convert import convert, load
from kd.models.onnx.session import Session

CODE = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

def broken():
    raise RuntimeError("no such thing")

def number():
    return 3

def maps():
    return nn.Conv2d(3, 4, 3)
"""


@pytest.fixture
def code(tmp_path):
    (tmp_path / "mine.py").write_text(CODE)
    return str(tmp_path / "mine.py")


def test_a_module_with_weights_from_a_checkpoint_of_torch_says_the_same_as_a_file(code, tmp_path):
    trained = load(f"{code}:build", None)
    for parameter in trained.parameters():
        torch.nn.init.normal_(parameter)
    state = {f"module.{name}": tensor for name, tensor in trained.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "w.pth")

    content = convert(load(f"{code}:build", tmp_path / "w.pth"), (3, 8, 8))

    images = torch.rand(5, 3, 8, 8)
    session = Session(content)
    said, graph = session.answer(images.numpy()), session.open()
    session.close()
    np.testing.assert_allclose(said, trained.eval()(images).detach().numpy(), rtol=1e-4, atol=1e-5)
    assert (graph.batch, graph.size, graph.channels, graph.classes) == (None, (8, 8), 3, 5)


def test_safetensors_are_weights_as_well(code, tmp_path):
    trained = load(f"{code}:build", None)
    state = {name: torch.ones_like(tensor) for name, tensor in trained.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")

    filled = load(f"{code}:build", tmp_path / "w.safetensors").state_dict()

    assert all(torch.equal(filled[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nothing", "has no function 'nothing'"),
        ("broken", r"broken\(\) of .*mine.py fails: RuntimeError: no such thing"),
        ("number", r"number\(\) of .*mine.py gives a int, and no torch.nn.Module"),
    ],
)
def test_code_that_builds_no_module_is_told_in_words(code, name, why):
    with pytest.raises(NotConverted, match=why):
        load(f"{code}:{name}", None)


def test_a_file_that_is_not_there_or_fails_is_told_in_words(tmp_path):
    (tmp_path / "bad.py").write_text("import nothing_of_this_name")

    with pytest.raises(NotConverted, match=r"there is no file .*none.py; a module is named FILE.py:FUNCTION"):
        load(f"{tmp_path}/none.py:build", None)
    with pytest.raises(NotConverted, match=r"bad.py fails: ModuleNotFoundError: No module named"):
        load(f"{tmp_path}/bad.py:build", None)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda state: state.pop("4.bias"), "does not have 4.bias"),
        (lambda state: state.update({"head.weight": torch.ones(1)}), "has, and the model has not, head.weight"),
        (lambda state: state.update({"4.weight": torch.ones(7, 4)}), "has in another shape 4.weight"),
        (lambda state: state.update({"note": "hello"}), "holds no state dict of tensors"),
    ],
)
def test_weights_that_are_not_the_modules_are_told_by_name(code, tmp_path, change, why):
    state = dict(load(f"{code}:build", None).state_dict())
    change(state)
    torch.save(state, tmp_path / "w.pth")

    with pytest.raises(NotConverted, match=why):
        load(f"{code}:build", tmp_path / "w.pth")


def test_a_pickle_that_would_run_code_is_no_weights(code, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "was here"), "w"))

    torch.save({"w": Evil()}, tmp_path / "w.pth")

    with pytest.raises(NotConverted, match="cannot be read as weights"):
        load(f"{code}:build", tmp_path / "w.pth")
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize(
    ("name", "shape", "why"),
    [
        ("build", (1, 8, 8), "it does not take images of 1×8×8: RuntimeError"),
        ("maps", (3, 8, 8), r"what it says of images is no tensor \[images, classes\]"),
    ],
)
def test_a_module_that_does_not_answer_with_a_number_for_each_class_is_told_in_words(code, name, shape, why):
    with pytest.raises(NotConverted, match=why):
        convert(load(f"{code}:{name}", None), shape)
