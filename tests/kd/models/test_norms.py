"""What an architecture is said to normalise over is what its network normalises over."""

import re

import pytest
import torch

from kd.models.build import build
from kd.models.catalog import CIFAR_RESNETS, MOBILENETS, SHUFFLENETS, SMALL, TORCHVISION, VGGS, WIDE_RESNETS
from kd.models.norms import norm_of
from kd.models.timm.survey import norm_in

OWN = (*SMALL, "mlp_30x2", CIFAR_RESNETS[0], WIDE_RESNETS[0], VGGS[0], MOBILENETS[0], *SHUFFLENETS)
# One of each family, whose names differ in numbers and in how large they are; regnets are not built in shapes alone.
SIZE = re.compile(r"\d+|_(t|s|b|m|l|h|tiny|small|base|large)(?=_|$)")
OF_TORCHVISION = list({SIZE.sub("", name): name for name in reversed(TORCHVISION) if "regnet" not in name}.values())


@pytest.mark.parametrize("archs", [OWN, OF_TORCHVISION], ids=["ours", "torchvision's"])
def test_what_is_said_of_a_network_is_found_in_it(archs):
    with torch.device("meta"):
        found = {arch: norm_in(build(arch, 10, (3, 32, 32))) for arch in archs}

    assert {arch: norm_of(arch) for arch in archs} == found


@pytest.mark.parametrize(
    ("arch", "norm"), [("timm/resnet18", "batch"), ("timm/vit_tiny_patch16_224", "layer"), ("resnet2", None)]
)
def test_of_timm_the_catalogue_knows_it_and_of_what_there_is_not_nobody(arch, norm):
    assert norm_of(arch) == norm
