"""The networks for CIFAR beside residual ones: what is between their first layer and their last."""

import pytest
import torch
from torch import nn

from kd.models.build import build
from kd.models.shufflenet import shuffle


@pytest.mark.parametrize(
    ("arch", "side", "last"),
    [
        *(("vgg8", 28, 4), ("vgg8", 32, 4), ("vgg8", 64, 4), ("vgg8", 8, 1)),
        *(("mobilenet_v2_x0_5", 28, 2), ("mobilenet_v2_x0_5", 32, 2)),
        *(("shufflenet_v1", 28, 4), ("shufflenet_v1", 32, 4), ("shufflenet_v2", 32, 4)),
    ],
)
def test_a_small_image_is_not_halved_away(arch, side, last):
    with torch.device("meta"):
        model = build(arch, 10, (1, side, side)).eval()
    x = torch.empty(2, 1, side, side, device="meta")

    x = model.stages(model.stem(x) if hasattr(model, "stem") else x)

    assert x.shape[2:] == (last, last)


@pytest.mark.parametrize("arch", ["vgg8", "mobilenet_v2_x0_5", "shufflenet_v1", "shufflenet_v2"])
def test_what_is_between_the_stages_and_the_last_layer_is_a_mean(arch):
    model, x = build(arch, 10, (3, 32, 32)).eval(), torch.randn(2, 3, 32, 32)

    with torch.no_grad():
        stages = model.stages(model.stem(x) if hasattr(model, "stem") else x)

        assert isinstance(model.head, nn.Linear)
        torch.testing.assert_close(model(x), model.head(stages.mean(dim=(2, 3))))


def test_a_shuffle_deals_the_channels_of_each_group_out():
    x = torch.arange(6.0).reshape(1, 6, 1, 1)

    assert shuffle(x, 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]
    assert shuffle(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]
