"""What the page needs of the test split: calibration by bins, the images that are disputed, small pictures of them."""

import base64
import io
import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import jensenshannon

from kd.data.splits import Split
from kd.evaluation.scores import score
from kd.report import disagreement
from kd.report.calibration import reliability
from kd.report.disagreement import divergences, most_disputed
from kd.report.thumbnails import LARGEST, data_uri
from kd.training.curve import LIMIT, Curve, columns


def logits(images: int, classes: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(images, classes, generator=torch.Generator().manual_seed(seed))


def test_the_bins_add_up_to_the_accuracy_and_to_the_calibration_error():
    logits_NC, labels_N = logits(500, 10), torch.arange(500) % 10

    found = reliability(logits_NC, labels_N)

    filled = [bin_ for bin_ in zip(found["images"], found["confidence"], found["accuracy"], strict=True) if bin_[0]]
    scores = score(logits_NC, labels_N)
    assert sum(found["images"]) == 500
    assert sum(images * right for images, _, right in filled) / 500 == pytest.approx(scores["top1"])
    assert sum(images * abs(right - sure) for images, sure, right in filled) / 500 == pytest.approx(scores["ece"])
    assert all(sure is None for images, sure in zip(found["images"], found["confidence"], strict=True) if not images)


def test_the_divergence_is_the_one_that_others_compute(monkeypatch):
    monkeypatch.setattr(disagreement, "AT_ONCE", 30)  # so that there are several pieces
    a_NC, b_NC = logits(20, 7, seed=1), logits(20, 7, seed=2)

    found_N = divergences(a_NC, b_NC)

    distance = jensenshannon(a_NC.double().softmax(1).numpy(), b_NC.double().softmax(1).numpy(), axis=1)
    assert found_N.numpy() == pytest.approx(distance**2)
    assert divergences(a_NC, a_NC).max() < 1e-15
    assert torch.allclose(found_N, divergences(b_NC, a_NC))


def test_a_divergence_of_extremes_is_a_number():
    a_NC, b_NC = torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])

    assert divergences(a_NC, b_NC).item() == pytest.approx(math.log(2))


def test_the_most_disputed_images_come_first_with_their_own_pixels_and_numbers():
    """Also those of a packed data set, of which a split has rows and numbers of its own."""
    source = torch.arange(8, dtype=torch.uint8)[:, None, None, None].expand(8, 1, 4, 4) * 30
    rows = torch.tensor([6, 1, 4])
    split = Split(source, torch.tensor([0, 1, 1]), rows + 100, rows)
    teacher_NC = torch.tensor([[0.0, 0.0], [9.0, 0.0], [2.0, 0.0]])
    student_NC = torch.tensor([[0.0, 0.0], [0.0, 9.0], [0.0, 2.0]])

    found = most_disputed({"teacher": teacher_NC, "student": student_NC}, split, ("cat", "dog"), shown=2)

    assert [(one["number"], one["label"]) for one in found] == [(101, "dog"), (104, "dog")]
    assert found[0]["divergence"] > found[1]["divergence"] > 0
    assert found[0]["says"]["teacher"][0] == ["cat", pytest.approx(1, abs=1e-3)]
    assert found[0]["says"]["student"][0][0] == "dog"
    assert [picture(one["png"]).getpixel((0, 0)) for one in found] == [30, 120]


def test_without_a_teacher_nothing_is_disputed():
    split = Split(torch.zeros(3, 1, 4, 4), torch.zeros(3), torch.arange(3))

    assert most_disputed({"student": logits(3, 2)}, split, ("a", "b")) == []


def picture(uri: str) -> Image.Image:
    kind, content = uri.split(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize(
    ("shape", "size", "mode"),
    [
        ((8, 8, 1), (8, 8), "L"),
        ((32, 30, 3), (30, 32), "RGB"),
        ((5, 5, 2), (5, 5), "L"),
        ((5, 5, 4), (5, 5), "RGB"),
        ((224, 112, 3), (LARGEST // 2, LARGEST), "RGB"),
        ((1, 500, 1), (LARGEST, 1), "L"),
    ],
)
def test_every_image_has_a_small_picture(shape, size, mode):
    image = picture(data_uri(np.full(shape, 77, np.uint8)))

    assert (image.size, image.mode) == (size, mode)
    assert image.getextrema() == ((77, 77) if mode == "L" else ((77, 77),) * 3)


@pytest.mark.parametrize("epochs", [1, LIMIT, LIMIT + 1, 700, 3_000])
def test_a_curve_keeps_even_epochs_and_the_newest_however_many_there_are(epochs):
    curve = Curve()
    for epoch in range(1, epochs + 1):
        curve.add(10, {"loss": epoch, "hard_loss": 1.0, "top1": 0.5})
        curve.close(epoch, {"top1": 0.5, "nll": 1.0})

    kept = columns(curve.points)["epoch"]
    steps = {after - before for before, after in itertools.pairwise(kept[:-1])}
    assert len(kept) <= LIMIT + 1
    assert len(kept) >= min(epochs, LIMIT // 2)
    assert kept[-1] == epochs
    assert len(steps) <= 1
    assert curve.points[0]["train.loss"] == kept[0]


def test_a_curve_that_goes_on_in_the_middle_of_an_epoch_means_over_all_of_it():
    first = Curve()
    first.add(30, {"loss": 1.0, "hard_loss": 2.0, "top1": 0.0})

    second = Curve(first.points, first.sums)
    second.add(10, {"loss": 5.0, "hard_loss": 2.0, "top1": 1.0})
    second.close(1, {"top1": 0.5, "nll": 1.0})

    assert columns(second.points) == {
        "epoch": [1],
        "train.loss": [2.0],
        "train.hard_loss": [2.0],
        "train.top1": [0.25],
        "validation.top1": [0.5],
        "validation.nll": [1.0],
    }
