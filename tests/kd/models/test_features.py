"""What a model shows of itself beside its logits, without becoming another one."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kd.errors import SpecUnfit
from kd.models.build import build
from kd.models.catalog import CIFAR_RESNETS, MODELS, SMALL, TORCHVISION, WIDE_RESNETS, has_pooled, stages_of
from kd.models.features import Observed, Points, measure, name_classifier, name_stages
from kd.models.folding import for_inference

SHAPE = (3, 32, 32)
WITH_STAGES = [arch for arch in MODELS if stages_of(arch)]


def observed(model: nn.Module, arch: str) -> Observed:
    return Observed(model, Points(pooled=True, stages=name_stages(arch)))


def randomised(arch: str) -> nn.Module:
    torch.manual_seed(0)
    model = build(arch, 7, SHAPE)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize("arch", ["cnn", "cnn_small", "resnet20", "wrn_16_2", "torchvision/vgg11"])
def test_the_pooled_feature_is_what_the_classifier_reads(arch):
    model = randomised(arch)
    images = torch.randn(3, *SHAPE)

    logits_BC, features = Observed(model, Points(pooled=True))(images)

    classifier = model.get_submodule(name_classifier(model))
    assert torch.equal(F.linear(features.pooled_BD, classifier.weight, classifier.bias), logits_BC)
    assert torch.equal(logits_BC, model(images))


@pytest.mark.parametrize(
    "arch", ["cnn", "resnet8", "wrn_16_1", "vgg8", "mobilenet_v2_x0_5", "shufflenet_v1", "shufflenet_v2"]
)
@pytest.mark.parametrize("folded", [False, True])
def test_the_last_map_is_what_is_pooled_also_where_norms_are_folded(arch, folded):
    model = randomised(arch)
    images = torch.randn(2, *SHAPE)

    _, features = observed(for_inference(model) if folded else model, arch)(images)

    last_BCHW = features.stages[-1]
    if arch.startswith("wrn"):  # its maps are activated after the stage
        last_BCHW = F.relu(model.norm(last_BCHW))
    torch.testing.assert_close(last_BCHW.mean((2, 3)), features.pooled_BD, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("arch", WITH_STAGES)
def test_each_stage_ends_with_a_smaller_map(arch):
    measures = measure(arch, 7, SHAPE, pooled=True, stages=True)

    sides = [height for _, height, _ in measures.stages]
    assert len(sides) == stages_of(arch)
    assert sides == sorted(set(sides), reverse=True)
    assert measures.pooled > 0


def test_every_network_of_a_kind_has_the_feature_that_the_catalog_promises():
    for arch in (*SMALL, *CIFAR_RESNETS, *WIDE_RESNETS, "torchvision/resnet18", "torchvision/regnet_y_400mf"):
        assert has_pooled(arch)
        assert measure(arch, 7, SHAPE, pooled=True).pooled > 1, arch


def test_a_network_whose_classifier_is_a_convolution_is_refused_in_words():
    with pytest.raises(SpecUnfit, match="its classifier is a convolution"):
        measure("torchvision/squeezenet1_0", 7, SHAPE, pooled=True)


@pytest.mark.slow
def test_so_has_every_network_of_torchvision():
    for arch in filter(has_pooled, TORCHVISION):
        assert measure(arch, 7, SHAPE, pooled=True).pooled > 1, arch


def test_who_looks_on_leaves_no_trace():
    """A copy with hooks of the original would write into the original's features."""
    model = randomised("resnet8").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    looked_at = observed(model, "resnet8")

    logits_BC, features = looked_at(torch.randn(4, *SHAPE))
    (logits_BC.sum() + sum(map_BCHW.sum() for map_BCHW in features.stages)).backward()

    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert model.state_dict().keys() == before.keys()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_who_asks_for_nothing_gets_nothing_and_the_same_logits():
    model = randomised("cnn_small")
    images = torch.randn(2, *SHAPE)

    logits_BC, features = Observed(model, Points())(images)

    assert torch.equal(logits_BC, model(images))
    assert (features.pooled_BD, features.stages) == (None, ())
