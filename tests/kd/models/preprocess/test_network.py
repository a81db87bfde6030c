"""A network that has learnt from images shown in another way sees a data set's as it saw those."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from kd.models.build import build_bare
from kd.models.folding import for_inference
from kd.models.preprocess.network import Preprocessed, sight_in
from kd.models.preprocess.said import Preprocess, Sight, preprocess
from kd.models.preprocess.usual import usual
from kd.models.safetensors.facts import Facts
from kd.models.weights import copy_of, load_model, save_weights

MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.3, 0.4)
BYTES = torch.randint(0, 256, (4, 3, 6, 8), generator=torch.Generator().manual_seed(0)).float()


def normal(pixels: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    return (pixels - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)


def sight(wanted: Preprocess | None, **changes: object) -> Sight:
    size = (wanted.size if wanted else None) or (6, 8)
    given = {"channels": 3, "size": size, "given_mean": MEAN, "given_std": STD}
    return Sight(preprocess=wanted, **(given | changes))


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        (Preprocess(), lambda pixels: pixels / 255),
        (Preprocess(scale=1), lambda pixels: pixels),
        (Preprocess(mean=MEAN[::-1], std=STD[::-1]), lambda pixels: normal(pixels / 255, MEAN[::-1], STD[::-1])),
        (None, lambda pixels: normal(pixels / 255, MEAN, STD)),
        (
            Preprocess(size=(12, 16), interpolation="bicubic"),
            lambda pixels: functional.interpolate(pixels / 255, (12, 16), mode="bicubic", antialias=True).clamp(0, 1),
        ),
    ],
    ids=["0..1", "0..255", "of ImageNet's kind", "as the data set's networks", "larger"],
)  # fmt: skip
def test_whatever_a_network_wants_to_see_it_sees(wanted, seen):
    network = Preprocessed(nn.Flatten(), sight(wanted))

    torch.testing.assert_close(network(normal(BYTES / 255, MEAN, STD)), seen(BYTES).flatten(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wanted", [Preprocess(), None])
def test_gray_images_become_equal_channels(wanted):
    network = Preprocessed(nn.Flatten(), sight(wanted, given_mean=(0.3,), given_std=(0.2,)))
    pixels = normal(BYTES[:, :1] / 255, (0.3,), (0.2,))

    expected = (BYTES[:, :1] / 255 if wanted else pixels).expand(-1, 3, -1, -1)
    torch.testing.assert_close(network(pixels), expected.flatten(1), rtol=1e-4, atol=1e-5)


def test_its_answers_take_the_data_sets_order_of_classes():
    body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 8, 4))
    network = Preprocessed(body, sight(Preprocess(), order=(2, 0, 3, 1)))

    torch.testing.assert_close(network(normal(BYTES / 255, MEAN, STD)), body(BYTES / 255)[:, [2, 0, 3, 1]])


def test_how_it_sees_is_one_of_its_weights_so_it_is_copied_saved_folded_and_read_as_any_model_is(tmp_path):
    torch.manual_seed(0)
    wanted = sight(Preprocess(mean=(0.1,), std=(0.5,), size=(12, 16)))
    network = Preprocessed(build_bare("cnn_small", 10, (3, 12, 16)), wanted).eval()
    pixels = normal(BYTES / 255, MEAN, STD)
    said = network(pixels)
    facts = Facts(arch="cnn_small", classes=tuple("abcdefghij"), shape=(3, 6, 8), mean=MEAN, std=STD)

    save_weights(copy_of(network), facts, tmp_path, Path("teacher.safetensors"))
    read, _ = load_model(tmp_path / "teacher.safetensors")

    assert sight_in(copy_of(network)) == wanted
    assert torch.equal(read(pixels), said)
    assert torch.equal(copy.deepcopy(network)(pixels), said)
    torch.testing.assert_close(for_inference(network)(pixels), said, rtol=1e-4, atol=1e-4)


def test_what_is_usual_with_timm_is_taken_word_for_word_unless_something_else_is_said():
    of_timm = usual("timm/test_vit")

    assert preprocess(None, usual=of_timm) == of_timm == Preprocess(mean=(0.5,) * 3, std=(0.5,) * 3, size=(160, 160))
    assert preprocess(None, size="96x96", interpolation="bicubic", usual=of_timm) == Preprocess(
        mean=(0.5,) * 3, std=(0.5,) * 3, size=(96, 96), interpolation="bicubic"
    )
    assert preprocess("unit", usual=of_timm) == Preprocess(size=(160, 160))
    assert usual("resnet20") is usual("timm/none_of_this_name") is None
