"""Every architecture builds, takes every shape of image, and costs what the literature says."""

import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from kd.errors import ModelUnfit
from kd.evaluation.cost import macs, parameters
from kd.machine.torchvision_import import torchvision_models
from kd.models import wrn
from kd.models.build import build
from kd.models.catalog import CIFAR_RESNETS, MLPS, MOBILENETS, SHUFFLENETS, SMALL, TORCHVISION, VGGS, WIDE_RESNETS
from tests.kd.models.trials import SHAPES, Weightless, assert_it_lives_through_a_job, assert_it_sorts_images

OWN = (*SMALL, *MLPS, *CIFAR_RESNETS, *WIDE_RESNETS, *VGGS, *MOBILENETS, *SHUFFLENETS)


@pytest.mark.parametrize("arch", OWN)
def test_our_own_networks_take_every_shape_of_image(arch):
    for shape in SHAPES:
        assert_it_sorts_images(arch, shape)


def test_a_network_of_every_family_of_torchvision_takes_a_small_image():
    families = {re.match(r"torchvision/[a-z]+", arch)[0]: arch for arch in reversed(TORCHVISION)}
    for number, arch in enumerate(families.values()):
        assert_it_sorts_images(arch, SHAPES[number % len(SHAPES)])


@pytest.mark.slow
def test_every_network_of_torchvision_takes_every_shape_of_image():
    for arch in TORCHVISION:
        for shape in (*SHAPES, (3, 40, 33)):
            assert_it_sorts_images(arch, shape)


@pytest.mark.parametrize(
    "arch",
    [
        *("mlp", "mlp_32x2_dropout50", "cnn", "resnet8", "resnet8x4", "wrn_16_1"),
        *("vgg8", "mobilenet_v2_x0_5", "shufflenet_v1", "shufflenet_v2"),
        *("torchvision/mnasnet0_5", "torchvision/shufflenet_v2_x0_5"),
    ],
)
def test_a_network_lives_through_a_job(arch, tmp_path):
    assert_it_lives_through_a_job(arch, (3, 32, 32), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("side", [28, 32, 224])
@pytest.mark.parametrize("arch", [*OWN, *TORCHVISION])
def test_every_network_lives_through_a_job(arch, side, tmp_path):
    assert_it_lives_through_a_job(arch, (1 if side == 28 else 3, side, side), tmp_path)
    (tmp_path / "model.safetensors").unlink(missing_ok=True)


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small", "vit_b_16", "googlenet"])
def test_networks_of_torchvision_learn_from_gray_images(arch):
    model = build(f"torchvision/{arch}", 10, (1, 28, 28))

    model(torch.rand(2, 1, 28, 28)).sum().backward()

    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_catalog_lists_exactly_the_classifiers_of_torchvision():
    offered = torchvision_models().list_models(module=torchvision_models())

    assert sorted(TORCHVISION) == sorted(f"torchvision/{name}" for name in offered)


def test_our_own_networks_do_without_torchvision():
    code = """if True:
        import sys
        from kd.models.build import build
        build("cnn", 10, (1, 28, 28))
        print("torchvision" in sys.modules)
    """

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout == "False\n"


@pytest.mark.parametrize(
    ("arch", "millions"),
    [
        ("resnet32x4", 1083),
        ("resnet8x4", 177),
        ("wrn_40_2", 328),
        ("wrn_16_2", 101),
        ("resnet56", 126),
        ("resnet20", 41),
        # Nobody has published these: they are the sums of k² · inputs · outputs · height · width / groups over the
        # shapes of Tian et al.'s code, and of the linear layers.
        ("vgg8", 96),
        ("vgg13", 285),
        ("shufflenet_v1", 39),
        ("shufflenet_v2", 45),
    ],
)
def test_the_networks_for_cifar_cost_what_the_literature_says(arch, millions):
    with Weightless():
        model = build(arch, 100, (3, 32, 32))

    assert round(macs(model, (3, 32, 32)) / 1e6) == millions


@pytest.mark.parametrize(
    ("arch", "thousands"),
    [
        ("resnet8x4", 1234),
        ("resnet32x4", 7434),
        ("resnet20", 278),
        ("resnet110", 1737),
        ("wrn_16_2", 703),
        ("wrn_40_2", 2255),
        # As papers on CIFAR-100 give them: 3.96 M, 9.46 M, 0.81 M, 0.95 M, 1.36 M.
        ("vgg8", 3965),
        ("vgg13", 9462),
        ("mobilenet_v2_x0_5", 813),
        ("shufflenet_v1", 949),
        ("shufflenet_v2", 1356),
    ],
)
def test_the_networks_for_cifar_have_as_many_weights_as_those_in_the_literature(arch, thousands):
    with Weightless():
        model = build(arch, 100, (3, 32, 32))

    assert round(parameters(model) / 1000) == thousands


def test_the_students_are_much_smaller_than_the_teacher():
    cost = {arch: macs(build(arch, 10, (1, 28, 28)), (1, 28, 28)) for arch in SMALL}

    assert max(cost["mlp"], cost["cnn_small"]) * 50 < cost["cnn"]


@pytest.mark.parametrize("arch", [*SMALL, "resnet8", "wrn_16_1", "torchvision/mobilenet_v3_small"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(arch):
    def born(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build(arch, 10, (1, 28, 28)).parameters())

    assert torch.equal(born(1), born(1))
    assert not torch.equal(born(1), born(2))


def test_a_wide_residual_block_activates_before_the_shortcut_where_the_width_changes():
    torch.manual_seed(0)
    block = wrn.Block(4, 8, stride=2).eval()
    x = torch.randn(2, 4, 6, 6)

    activated = x.relu()  # a fresh normalisation in eval mode changes next to nothing
    wanted = block.shortcut(activated) + block.conv2(block.conv1(activated).relu())

    torch.testing.assert_close(block(x), wanted, atol=1e-4, rtol=1e-4)


def test_an_unknown_name_is_refused_with_the_nearest_ones():
    with pytest.raises(ValueError, match=r"no model named 'resnet21'.*resnet20"):
        build("resnet21", 10, (3, 32, 32))


def test_networks_of_torchvision_refuse_images_that_are_neither_gray_nor_rgb():
    with pytest.raises(ModelUnfit, match=r"32×32 pixels with 4 channel\(s\): it was made for 1 or 3 channels"):
        build("torchvision/resnet18", 10, (4, 32, 32))
