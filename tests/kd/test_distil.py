"""`distil()` with modules and data that a notebook has: through the one engine, and every wrong input in words."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset, random_split

from kd.data import map_style
from kd.data.parts import TRAIN
from kd.distil import CannotDistil, distil
from kd.errors import BadModel, KdError
from kd.models.own import names

pytestmark = pytest.mark.usefixtures("one_thread")


def perceptron(classes, channels, height, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes))


@pytest.fixture(scope="module")
def digits():
    """To learn from, and to test: scikit-learn's digits as ToTensor would give them, in 255 steps from 0 to 1."""
    found = load_digits()
    images = torch.tensor(found.images / 16 * 255).round().float().unsqueeze(1) / 255
    return random_split(
        TensorDataset(images, torch.tensor(found.target)), (1400, 397), torch.Generator().manual_seed(0)
    )


def all_of(subset):
    """Its images and labels."""
    return (tensor[subset.indices] for tensor in subset.dataset.tensors)


def accuracy(model, subset):
    images, labels = all_of(subset)
    with torch.no_grad():
        return (model(images).argmax(1) == labels).double().mean().item()


@pytest.fixture(scope="module")
def teacher(digits, one_thread):
    """A perceptron that has learnt from pixels in 0..1."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    images, labels = all_of(digits[0])
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("mode", ["train", "guide"])
def test_two_modules_and_two_data_sets_are_enough(digits, teacher, tmp_path, mode):
    student, said = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), []
    before = [copy.deepcopy(model.state_dict()) for model in (teacher, student)]

    result = distil(
        teacher=teacher, student=student, data=digits, mode=mode, epochs=2, out=tmp_path / "out", tell=said.append
    )

    # The teacher is the very one, and the student does what the report says of it, outside of the engine too.
    assert result.metrics["teacher.test.top1"] == pytest.approx(accuracy(teacher, digits[1]))
    assert result.metrics["student.test.top1"] == pytest.approx(accuracy(result.student, digits[1]))
    assert result.metrics["student.test.top1"] > 0.5
    assert "control.test.top1" in result.metrics
    assert result.verdict.code in ("better", "not_better", "undecided")
    assert (result.classes, result.mean, result.std) == (tuple("0123456789"), (0.0,), (1.0,))
    assert result.report.read_text().startswith("<!doctype html>")
    card = (tmp_path / "out" / "model-card.md").read_text()
    assert "own/student-Sequential is an architecture of somebody's own: `load_model` needs it registered" in card
    assert f"student {result.metrics['student.test.top1']:.2%}" in str(result)
    assert any(line.startswith("student, epoch 2: ") for line in said)
    # What was given is as it was, and what the run alone needed is gone.
    for model, state in zip((teacher, student), before, strict=True):
        assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in state.items())
    assert {path.name for path in result.folder.iterdir()} == {
        *("report.html", "report.json", "model-card.md", "teacher.safetensors", "student.safetensors"),
    }
    assert names.names() == ()


def test_student_and_control_begin_with_the_weights_that_the_module_has(digits, teacher, tmp_path):
    student = copy.deepcopy(teacher)

    result = distil(
        teacher="mlp_4",
        student=student,
        data=digits,
        epochs=1,
        optimizer={"lr": 1e-9},
        mean=0,
        std=1,
        out=tmp_path / "out",
        tell=None,
    )

    assert result.metrics["student.test.top1"] == result.metrics["control.test.top1"]
    assert result.metrics["student.test.top1"] == pytest.approx(accuracy(teacher, digits[1]))


def test_functions_are_trained_from_fresh_weights_on_pixels_of_the_data_sets_own_scale(digits, tmp_path):
    result = distil(
        teacher={"arch": perceptron, "epochs": 2},
        student=perceptron,
        data=digits[0],
        epochs=2,
        seeds=2,
        classes=[f"the {digit}" for digit in range(10)],
        out=tmp_path / "out",
        tell=None,
    )

    assert result.metrics["seeds"] == 2
    assert result.spec.config.teacher.epochs == 2
    assert result.classes[3] == "the 3"
    assert 0.2 < result.mean[0] < 0.4


# -- what is given ---------------------------------------------------------------------------------------------------


class Says:
    """A map-style data set of one's own."""

    def __init__(self, *items, **facts):
        self.items = items
        vars(self).update(facts)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        if isinstance(item := self.items[number], Exception):
            raise item
        return item


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


GRAY = np.arange(64, dtype=np.uint8).reshape(8, 8)
COLOUR = np.stack([GRAY, GRAY[::-1], GRAY.T], axis=2)


@pytest.mark.parametrize(
    ("image", "pixels"),
    [
        (Image.fromarray(GRAY), GRAY[:, :, None]),
        (Image.fromarray(COLOUR), COLOUR),
        (Image.fromarray(COLOUR).convert("RGBA"), COLOUR),
        (torch.tensor(GRAY), GRAY[:, :, None]),
        (torch.tensor(COLOUR).permute(2, 0, 1), COLOUR),
        (torch.tensor(COLOUR).permute(2, 0, 1) / 255, COLOUR),
        (COLOUR, COLOUR),
        (COLOUR / 255, COLOUR),
    ],
)
def test_an_image_may_be_of_many_kinds(image, pixels):
    for item in ((image, 3), [image, torch.tensor(3)], {"img": image, "label": np.int64(3)}):
        found, label = map_style.read_item(Says(item), 0, "the data")
        assert found.dtype == np.uint8
        assert np.array_equal(found, pixels)
        assert label == 3


def test_the_names_of_classes_are_found_where_data_sets_have_them():
    assert map_style.classes_of(Subset(Says((GRAY, 0), classes=["cat", "dog"]), [0])) == ("cat", "dog")
    assert map_style.classes_of(Says((GRAY, 0))) is None


def test_images_come_in_chunks_of_a_few_megabytes_in_their_order():
    large = np.zeros((1000, 1000), np.uint8)
    items = [(large + number, number) for number in range(7)]

    found = list(map_style.chunks(Says(*items), TRAIN, "the data"))

    assert len(found) == 2
    assert [label for chunk in found for label in chunk.labels] == list(range(7))
    assert [int(image[0, 0, 0]) for chunk in found for image in chunk.images] == list(range(7))


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (
            (GRAY.astype(np.float32) - 1, 0),
            "its pixels go from -1 to 62; floats must be from 0 to 1, as ToTensor gives",
        ),
        ((np.full((8, 8), np.nan), 0), "its pixels go from nan to nan"),
        ((GRAY.astype(np.int64), 0), "its pixels are int64; they must be uint8, or floats from 0 to 1"),
        ((Image.fromarray(GRAY.astype(np.uint16)), 0), "its image has the mode I;16, and not 8 bits a channel"),
        ((np.zeros((3, 8, 8), np.uint8), 0), r"its array of shape 3×8×8 has the channels first: np.moveaxis\(image, 0"),
        ((torch.zeros(8, 8, 3), 0), r"its tensor of shape 8×8×3 has the channels last: image.permute\(2, 0, 1\)"),
        ((np.zeros(8, np.uint8), 0), "its image is of shape 8, and not of two or three"),
        (("0.png", 0), "its image is a str, and no PIL image, tensor or array"),
        (GRAY, r"it is a ndarray, and no pair \(image, label\); of a tensor of images .*TensorDataset"),
        ({"picture": GRAY, "label": 0}, r"it has the fields picture, label; image \(or img\) and label are wanted"),
        ((GRAY, torch.eye(3)[0]), r"its label is a Tensor of shape \(3,\), and no integer, the number of its class"),
        ((GRAY, "cat"), "its label is a str, and no integer"),
        ((GRAY, 0.5), "its label is a float, and no integer"),
        ((GRAY, -1), "its label is -1; labels count from 0"),
        (FileNotFoundError("no such image"), "to read it raises FileNotFoundError: no such image"),
        (
            (COLOUR, 1),
            "its image is of 8×8 pixels in 3 channels, those before it are of 8×8 pixels in 1 channel; bring",
        ),
    ],
)
def test_an_item_that_is_no_labelled_image_says_why(item, why, tmp_path):
    with pytest.raises(KdError, match=f"^Item 1 of the training data: {why}"):
        distil(teacher="mlp", student="mlp", data=Says((GRAY, 0), item), out=tmp_path / "out", tell=None)


GOOD = Says(*[(np.roll(GRAY, number), number % 2) for number in range(20)])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"mode": "teach"}, "distil.. cannot use its mode: there is no 'teach'; the modes are train and guide"),
        ({"dataset": "digits"}, "cannot use its dataset: give data"),
        ({"epochs": 0}, "cannot use its arguments: epochs should be greater than or equal to 1, not 0"),
        ({"epoch": 3}, "arguments: epoch there is no such field; the nearest are epochs"),
        ({"student": "mpl"}, "arguments: student/arch there is no model named 'mpl'; the nearest are"),
        ({"student": 3}, "The student cannot be used: it is a int, and not a module, a function that builds one, or"),
        ({"student": nn.Flatten}, "own/student-Flatten cannot be used: its factory takes no argument classes; it is"),
        ({"student": nn.Linear(64, 2)}, "own/student-Linear takes no images of 8×8 pixels with 1 channel.s.: RuntimeE"),
        (
            {"student": perceptron(3, 1, 8, 8)},
            "float32 of shape 2×3, where logits are floats of shape 2×2: a number for",
        ),
        ({"student": perceptron(2, 1, 8, 8), "seeds": 3}, "its student: a module has the weights that it has, and sev"),
        ({"student": perceptron(2, 1, 8, 8).half()}, "own/student-Sequential cannot be used: its 1.weight is float16"),
        ({"teacher": {"arch": nn.Identity()}}, "its teacher: a module teaches as it is, without a recipe; to have it"),
        ({"teacher": perceptron, "resources": {"gpus": 2}}, "its resources: on several GPUs each has a process of its"),
        ({"data": (GOOD,)}, r"its data: it is a tuple of 1, and not \(train, test\) or \(train, validation, test\)"),
        ({"data": {"train": GOOD}}, "The training data: a dict has no items by number: give .train, test., or"),
        (
            {"data": DataLoader(GOOD)},
            "The training data: a DataLoader has no length and items by number, .* its dataset",
        ),
        ({"data": Stream()}, "The training data: a Stream has no length and items by number"),
        ({"data": (GOOD, Says())}, "The test data: it is empty"),
        (
            {"data": Says(*[(GRAY, 0)] * 4)},
            "The data set packed/data cannot be packed: there is only one class|nothing",
        ),
        ({"data": "digits", "mean": 0, "std": 1}, "its data: digits has classes, mean and std of its own"),
        ({"mean": 0}, "its mean: mean and std go together"),
        ({"mean": 0, "std": 0}, "its std: it is 0.0; std is above 0"),
        ({"mean": (0, 0, 0), "std": 1}, "its mean: it has 3 numbers, the images have 1 channel"),
        ({"mean": "none", "std": 1}, "its mean: it is no number, nor a number for each channel"),
        ({"classes": "ab"}, "its classes: it is one text, and not one for each class"),
        ({"classes": ["a"]}, "packed/data cannot be packed: there is a label 1, but only 1 classes"),
        ({"out": "."}, "its out: . is not empty; name a new folder"),
    ],
    ids=lambda given: ",".join(given) if isinstance(given, dict) else "",
)
def test_what_makes_no_run_says_why_and_leaves_nothing(given, why, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    monkeypatch.chdir(tmp_path / "full")

    with pytest.raises(KdError, match=why):
        distil(**{"teacher": "mlp", "student": "mlp", "data": GOOD, "out": tmp_path / "out", "tell": None} | given)

    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())
    assert names.names() == ()


def test_a_module_that_cannot_be_copied_says_so():
    class Held(nn.Module):
        def __init__(self):
            super().__init__()
            self.items = (number for number in range(3))

    with pytest.raises(BadModel, match="The student cannot be used: it cannot be copied, TypeError: cannot pickle"):
        distil(teacher="mlp", student=Held(), data=GOOD)
    assert issubclass(CannotDistil, KdError)
