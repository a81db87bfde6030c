"""The architectures there are, by name: the API answers questions about names without loading a single model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kd import nearest
from kd.models import mlp_names
from kd.models.own import names as own_names
from kd.models.timm import catalog as timm_catalog

SMALL = ("mlp", "cnn", "cnn_small")
# Those of Hinton et al.'s experiment on MNIST, 2015; any other size is built as well.
MLPS = ("mlp_800x2", "mlp_1200x2", "mlp_1200x2_dropout50")
CIFAR_RESNETS = (
    *(f"resnet{depth}" for depth in (8, 14, 20, 32, 44, 56, 110)),
    "resnet8x4",
    "resnet32x4",
)
WIDE_RESNETS = ("wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2")
VGGS = ("vgg8", "vgg11", "vgg13", "vgg16", "vgg19")
MOBILENETS = ("mobilenet_v2_x0_5",)
SHUFFLENETS = ("shufflenet_v1", "shufflenet_v2")
# torchvision's classifiers; a test holds this list against torchvision's own.
_TORCHVISION = """
alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161 densenet169
densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
efficientnet_b6 efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s googlenet inception_v3
maxvit_t mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small
regnet_x_16gf regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf
regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf
regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d resnext101_64x4d resnext50_32x4d
shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b
swin_s swin_t swin_v2_b swin_v2_s swin_v2_t vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16
vit_b_32 vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2
"""
TORCHVISION = tuple(f"torchvision/{name}" for name in _TORCHVISION.split())
# What is in a file that timm itself was asked for.
TIMM = tuple(f"{timm_catalog.PREFIX}{name}" for name in timm_catalog.names())


ONNX = "onnx"
"""A model that somebody has brought, of whatever architecture: it answers, and is never trained."""


@dataclass(frozen=True)
class Family:
    """Architectures that one module builds: its `build(arch, classes, shape)`."""

    module: str
    archs: tuple[str, ...]
    channels: tuple[int, ...] | None = None  # that their images may have; None: any
    stages: Mapping[str, int] = field(default_factory=dict)  # how many of them, where the module's `stages` names them
    extra: Literal["zoo"] | None = None  # of Stillhouse, without which a worker cannot build them


FAMILIES = {
    "small": Family("kd.models.small", SMALL, stages={"cnn": 3, "cnn_small": 2}),
    "mlp": Family("kd.models.small", MLPS),
    "cifar_resnet": Family("kd.models.resnet", CIFAR_RESNETS, stages=dict.fromkeys(CIFAR_RESNETS, 3)),
    "wide_resnet": Family("kd.models.wrn", WIDE_RESNETS, stages=dict.fromkeys(WIDE_RESNETS, 3)),
    "cifar_vgg": Family("kd.models.vgg", VGGS, stages=dict.fromkeys(VGGS, 4)),
    "cifar_mobilenet": Family("kd.models.mobilenet", MOBILENETS, stages=dict.fromkeys(MOBILENETS, 4)),
    "cifar_shufflenet": Family("kd.models.shufflenet", SHUFFLENETS, stages=dict.fromkeys(SHUFFLENETS, 3)),
    "torchvision": Family("kd.models.torchvision", TORCHVISION, channels=(1, 3)),
    "timm": Family("kd.models.timm.networks", TIMM, channels=(1, 3), extra="zoo"),
    "onnx": Family("kd.models.onnx.network", (ONNX,)),
}
# Which there are depends on what is installed: see `own_names`.
OWN = Family("kd.models.own.networks", ())
FAMILY_OF = {arch: name for name, family in FAMILIES.items() for arch in family.archs}
MODELS = tuple(arch for arch in FAMILY_OF if arch != ONNX)
"""Those that a spec may name."""

WITHOUT_LINEAR = ("torchvision/squeezenet1_0", "torchvision/squeezenet1_1")
"""Those whose classifier is a convolution: there is no one feature of an image that it reads."""


def why_unknown(arch: str) -> str | None:
    """The sentence for a name that nothing is built by, with what it may have meant; None for one that is known."""
    if arch in FAMILY_OF or mlp_names.read(arch) is not None:
        return None
    if own_names.is_own(arch):
        return own_names.why_unknown(arch)
    if arch.startswith(mlp_names.PREFIX):
        return f"perceptrons are named {mlp_names.NAMES_ARE}"
    return nearest.unknown("model", arch, (*MODELS, *own_names.names()))


def family_of(arch: str) -> Family:
    """The family of a name that is known."""
    if own_names.is_own(arch):
        return OWN
    return FAMILIES[FAMILY_OF.get(arch, "mlp")]


def stages_of(arch: str) -> int:
    """How many stages of an architecture can be looked into; 0: none, as far as anybody knows."""
    return family_of(arch).stages.get(arch, 0)


def sees_colour(arch: str) -> bool:
    """Whether the network itself takes images of three channels, whatever they are here."""
    return family_of(arch).channels == (1, 3)


def has_pooled(arch: str) -> bool:
    """Whether there is one feature of an image that the classifier of an architecture reads."""
    return arch not in WITHOUT_LINEAR and arch != ONNX
