"""A model made ready for inference says what it said before, with fewer normalisations, and the model is untouched."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd.models.build import build
from kd.models.catalog import CIFAR_RESNETS, MOBILENETS, SHUFFLENETS, SMALL, VGGS, WIDE_RESNETS
from kd.models.folding import for_inference
from tests.kd.models.born import born, images

TORCHVISION = [
    f"torchvision/{name}"
    for name in (
        "resnet18",
        "densenet121",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "efficientnet_b0",
        "shufflenet_v2_x0_5",
        "regnet_x_400mf",
        "vit_b_32",
        "googlenet",
        "inception_v3",
    )
]
OWN = [*SMALL, *CIFAR_RESNETS, *WIDE_RESNETS, *VGGS, *MOBILENETS, *SHUFFLENETS]


def normalisations(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def apart(a_BC: Tensor, b_BC: Tensor) -> float:
    """The largest difference, as a share of the largest logit."""
    return ((a_BC - b_BC).abs().max() / b_BC.abs().max()).item()


# -- the logits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", [*OWN, *TORCHVISION])
@torch.inference_mode()
def test_the_logits_are_those_of_the_model(arch):
    model = born(arch)

    ready = for_inference(model)

    wanted_BC, logits_BC = model.eval()(images()), ready(images())
    assert apart(logits_BC, wanted_BC) < 1e-4
    assert torch.equal(logits_BC.argmax(dim=1), wanted_BC.argmax(dim=1))
    assert wanted_BC.std(dim=0).mean() > 0.01, "the images are told apart, so there is something to compare"


@torch.inference_mode()
def test_images_that_are_gray_or_small_are_still_fitted_to_the_network():
    model = born("torchvision/resnet18", (1, 12, 20))

    ready = for_inference(model)

    assert apart(ready(images(shape=(1, 12, 20))), model.eval()(images(shape=(1, 12, 20)))) < 1e-4


def test_the_statistics_and_weights_that_training_leaves_are_folded():
    torch.manual_seed(0)
    model = build("resnet8", 10, (3, 32, 32))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        F.cross_entropy(model(images(8) * 3 + 1), torch.arange(8)).backward()
        optimizer.step()

    ready = for_inference(model)

    assert apart(ready(images()), model.eval()(images())) < 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("arch", ["cnn", "resnet20", "resnet32x4", "wrn_40_2", "torchvision/resnet18"])
@torch.inference_mode()
def test_in_half_precision_the_folded_model_is_as_exact_as_the_plain_one(arch, dtype):
    model = born(arch).cuda().eval()
    exact_BC = model(images(256).cuda())

    with torch.autocast("cuda", dtype=dtype):
        plain_BC, folded_BC = model(images(256).cuda()).float(), for_inference(model)(images(256).cuda()).float()

    # Both round, each elsewhere, and deep models more than shallow ones: how much is the plain one's to say. Where that
    # one is nearly exact by luck, a rounding of the largest logit is allowed.
    assert apart(folded_BC, exact_BC) < 2 * apart(plain_BC, exact_BC) + torch.finfo(dtype).eps


# -- what is folded ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "left"),
    [
        ("mlp", 0),
        ("cnn", 0),
        ("resnet20", 0),
        ("resnet8x4", 0),
        # One before the first convolution of each block, and one at the end; but the stem is followed by one of them.
        ("wrn_16_2", 6 + 1 - 1),
        ("wrn_40_2", 18 + 1 - 1),
        ("wrn_16_1", 6 + 1),  # its first block does not change the width: its shortcut reads the stem too
        ("vgg8", 0),
        ("mobilenet_v2_x0_5", 0),
        ("shufflenet_v1", 0),
        ("shufflenet_v2", 0),
        ("torchvision/resnet18", 0),
        ("torchvision/efficientnet_b0", 0),
        ("torchvision/inception_v3", 0),
        # Of 121, the stem's and one in each of 58 layers follow a convolution that nothing else reads.
        ("torchvision/densenet121", 121 - 59),
    ],
)
def test_the_normalisations_that_remain_are_those_that_follow_no_convolution(arch, left):
    assert normalisations(for_inference(build(arch, 10, (3, 32, 32)))) == left


class Shortcut(nn.Module):
    """The convolution's output is read twice."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 10, 3), nn.BatchNorm2d(10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        return (x + self.norm(x)).mean(dim=(2, 3))


class Twice(nn.Module):
    """One normalisation for two convolutions."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.norm = nn.Conv2d(3, 10, 3), nn.Conv2d(3, 10, 3), nn.BatchNorm2d(10)

    def forward(self, x: Tensor) -> Tensor:
        return (self.norm(self.first(x)) - self.norm(self.second(x).relu())).mean(dim=(2, 3))


class Shared(nn.Module):
    """One convolution in two parts, each of which is traced on its own."""

    def __init__(self):
        super().__init__()
        convolution = nn.Conv2d(3, 10, 3)
        self.one = nn.Sequential(convolution, nn.BatchNorm2d(10))
        self.other = nn.Sequential(convolution, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 1e9:
            return x
        return (self.one(x) + self.other(x)).mean(dim=(2, 3))


class BatchStatistics(nn.Sequential):
    """The normalisation keeps no statistics, so it uses those of the batch."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 10, 3), nn.BatchNorm2d(10, track_running_stats=False), nn.Flatten())


@pytest.mark.parametrize("model_class", [Shortcut, Twice, Shared, BatchStatistics])
@torch.inference_mode()
def test_what_must_not_be_folded_stays_as_it_is(model_class):
    torch.manual_seed(0)
    model = model_class()

    ready = for_inference(model)

    assert normalisations(ready) == 1
    assert torch.equal(ready(images()), model.eval()(images()))


@torch.inference_mode()
def test_a_hook_on_a_normalisation_still_sees_what_goes_through_it():
    model = born("cnn")
    seen = []
    model[1].register_forward_hook(lambda module, inputs, output: seen.append(output))

    for_inference(model)(images())
    model.eval()(images())

    assert len(seen) == 2
    assert torch.equal(*seen)


@torch.inference_mode()
def test_in_a_model_that_cannot_be_traced_its_parts_are_folded():
    class Doubtful(nn.Module):
        def __init__(self):
            super().__init__()
            self.networks = nn.ModuleList([born("cnn"), born("resnet8")])

        def forward(self, x: Tensor) -> Tensor:
            return self.networks[int(x.mean() > 1e9)](x)

    model = Doubtful()

    ready = for_inference(model)

    assert normalisations(ready) == 0
    assert apart(ready(images()), model.eval()(images())) < 1e-4


# -- the copy and the original -----------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["cnn", "resnet8", "wrn_16_1", "torchvision/mobilenet_v3_small"])
def test_the_model_itself_is_untouched(arch):
    model = born(arch).train()
    before = copy.deepcopy(model.state_dict())

    for_inference(model)(images())

    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_what_the_model_learns_later_does_not_reach_the_copy():
    model = born("resnet8")
    ready = for_inference(model)
    before_BC = ready(images())

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)

    assert torch.equal(ready(images()), before_BC)


def test_the_copy_of_a_model_in_training_drops_nothing_out_and_wants_no_gradients():
    model = nn.Sequential(born("cnn"), nn.Dropout(0.9)).train()

    ready = for_inference(model)

    assert not any(module.training for module in ready.modules())
    assert not ready(images()).requires_grad
    assert torch.equal(ready(images()), ready(images()))


def test_folded_weights_lie_in_memory_as_the_model_s_do():
    ready = for_inference(born("resnet20"))

    for module in ready.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.is_contiguous(memory_format=torch.channels_last)
