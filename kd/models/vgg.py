"""VGG for CIFAR: `vgg<depth>`, 3×3 convolutions with batch normalisation, and one linear layer where there were three.

Simonyan & Zisserman, 2015; the shapes for small images, and the eight-layer one, are those of Tian et al., 2020.
"""

from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {  # in each stage
    "vgg8": (1, 1, 1, 1, 1),
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
LARGE = 64  # images from this side on are halved once more, before the last stage


def build(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    channels, *sides = shape
    return VGG(CONVOLUTIONS[arch], classes, channels=channels, halvings=4 if min(sides) >= LARGE else 3)


def stages(arch: str) -> tuple[str, ...]:
    """The names of its stages that end with a map of another size; the last two share one where images are small."""
    return ("stages.0", "stages.1", "stages.2", "stages.4")


class VGG(nn.Module):
    def __init__(self, convolutions: tuple[int, ...], classes: int, *, channels: int, halvings: int):
        super().__init__()
        stages: list[nn.Module] = []
        inputs = channels
        for stage, (width, count) in enumerate(zip(WIDTHS, convolutions, strict=True)):
            layers: list[nn.Module] = []
            if 1 <= stage <= halvings:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            for _ in range(count):
                # A bias does nothing before a normalisation; the published nets, and their counts, have it.
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                inputs = width
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x).mean(dim=(2, 3)))  # type: ignore[no-any-return]
