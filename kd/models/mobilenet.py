"""MobileNetV2 for CIFAR: `mobilenet_v2_x0_5`, half as wide as the original, its first two halvings left out.

Sandler et al., 2018; the shape for small images is that of Tian et al., 2020, whose MobileNetV2 this is.
"""

from torch import Tensor, nn

# Of each stage: how far its blocks expand, its width, its blocks, the stride of the first one.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM, LAST = 32, 1280


def build(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """`mobilenet_v2_x<width>`, the point written as an underscore."""
    factor = float(arch.removeprefix("mobilenet_v2_x").replace("_", "."))
    return MobileNetV2(factor, classes, channels=shape[0])


def stages(arch: str) -> tuple[str, ...]:
    """The names of its stages after which the map is halved, and of what is pooled in the end."""
    return ("stages.1", "stages.2", "stages.4", "stages.7")


class MobileNetV2(nn.Module):
    def __init__(self, factor: float, classes: int, *, channels: int):
        super().__init__()
        inputs = int(STEM * factor)
        self.stem = nn.Sequential(*_convolution(channels, inputs, 3, stride=2))
        stages: list[nn.Module] = []
        for expansion, width, count, stride in STAGES:
            blocks: list[nn.Module] = []
            for block in range(count):
                outputs = int(width * factor)
                blocks.append(Block(inputs, outputs, expansion, stride=stride if block == 0 else 1))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        # As wide as ever: the last layer does not shrink with the others.
        stages.append(nn.Sequential(*_convolution(inputs, LAST, 1)))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(LAST, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x))
        return self.head(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """An inverted residual: expand, convolve each channel by itself, project without an activation."""

    def __init__(self, inputs: int, width: int, expansion: int, *, stride: int):
        super().__init__()
        hidden = inputs * expansion
        self.layers = nn.Sequential(
            *_convolution(inputs, hidden, 1),
            *_convolution(hidden, hidden, 3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.has_shortcut = stride == 1 and inputs == width

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out if self.has_shortcut else out


def _convolution(inputs: int, width: int, side: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Normalised and activated."""
    convolution = nn.Conv2d(inputs, width, side, stride, padding=side // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
