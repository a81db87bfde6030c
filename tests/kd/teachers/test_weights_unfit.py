"""Weights that cannot teach here are refused in words, before anything is labelled."""

import pytest
import safetensors.torch
import torch

from kd import errors
from kd.models.preprocess.said import Preprocess
from kd.models.timm.networks import timm_of
from kd.teachers import uploads

pytestmark = pytest.mark.usefixtures("one_thread")

DIGITS = tuple("0123456789")
HEAD = ("9.weight", "9.bias")
"""Of `cnn_small`."""


@pytest.mark.parametrize(
    ("change", "said", "why"),
    [
        (lambda state: state, {"architecture": "cnn"}, "more; it has, and cnn has not, "),
        (lambda state: {name: one for name, one in state.items() if name != "0.weight"}, {}, "does not have 0.weight"),
        (lambda state: state | {"extra": torch.ones(1)}, {}, "the file has, and cnn_small has not, extra"),
        (
            lambda state: state | {"0.weight": torch.ones(8, 2, 3, 3)},
            {},
            "the file has in another shape 0.weight (8×2×3×3, not 8×1×3×3)",
        ),
        (
            lambda state: state | {name: state[name][:7] for name in HEAD},
            {},
            r"it knows 7 classes (by its 9.weight), digits has 10",
        ),
        (
            lambda state: state | {"0.weight": torch.full((8, 1, 3, 3), float("nan"))},
            {},
            "its weights '0.weight' hold numbers that are not finite",
        ),
        (
            lambda state: state | {"0.weight": torch.full((8, 1, 3, 3), 1e300, dtype=torch.float64)},
            {},
            "its weights '0.weight' hold numbers that are not finite",
        ),
        (
            lambda state: state | {"0.weight": torch.ones(8, 1, 3, 3, dtype=torch.int64)},
            {},
            "its 0.weight holds int64, and cnn_small has float32 there",
        ),
        (lambda state: state, {"classes": ("a", *DIGITS[1:])}, "said to know have no '0', which digits has"),
        (lambda state: state, {"classes": (*DIGITS, "a")}, "it knows 11 classes, digits has 10"),
        (
            lambda state: state | {"0.weight": torch.ones(8, 3, 3, 3)},
            {"preprocess": Preprocess(mean=(0.1, 0.2), std=(1, 1))},
            "its mean was said to be of 2 channels, and it sees 3",
        ),
        (
            lambda state: state,
            {"preprocess": Preprocess(mean=(0.1, 0.2), std=(1, 1))},
            "its mean was said to be of 2 channels, and it sees 1",
        ),
        (
            lambda state: state,
            {"preprocess": Preprocess(size=(4, 400))},
            "the file has in another shape 9.weight (10×16, not 10×800)",
        ),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused_in_words_before_anything_is_labelled(
    weights, bring, teach, change, said, why
):
    with pytest.raises(errors.TeacherUnfit) as caught:
        teach(bring(change(weights), **said))

    assert why in str(caught.value)


def test_images_of_a_size_that_the_network_does_not_take_are_said_to_be_so(bring, teach):
    network = timm_of("timm/test_vit").create_model("test_vit", num_classes=10, img_size=32)
    teacher_id = bring(network.state_dict(), "timm/test_vit", preprocess=Preprocess(size=(30, 30)))

    with pytest.raises(errors.ModelUnfit, match=r"timm/test_vit.*30×30"):
        teach(teacher_id)


def test_a_file_that_has_changed_is_refused(tmp_path, weights, bring, teach):
    teacher_id = bring(weights)
    (tmp_path / "teachers" / teacher_id / "model.safetensors").write_bytes(
        safetensors.torch.save(weights | {"x": torch.ones(1)})
    )

    with pytest.raises(errors.TeacherUnfit, match="its file has changed since it was brought"):
        teach(teacher_id)


def test_an_architecture_of_ones_own_that_is_not_installed_is_said_to_be_missing(tmp_path, weights, bring, teach):
    teacher_id = bring(weights)
    manifest = uploads.manifest(tmp_path / "teachers", teacher_id)
    manifest.write_text(manifest.read_text().replace('"cnn_small"', '"own/mine"'))

    with pytest.raises(errors.ModelMissing, match="own/mine"):
        teach(teacher_id)
