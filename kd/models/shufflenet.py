"""ShuffleNet for CIFAR, both versions at their plain width, behind a 1×1 stem that keeps the image's size.

`shufflenet_v1`: Zhang et al., 2018, with three groups; `shufflenet_v2`: Ma et al., 2018. The shapes for small images
are those of Tian et al., 2020, which activate once more than the paper in a block of the first version.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEM = 24


def build(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    make = {"shufflenet_v1": shufflenet_v1, "shufflenet_v2": shufflenet_v2}[arch]
    return make(classes, channels=shape[0])


def stages(arch: str) -> tuple[str, ...]:
    """The names of its three stages; the last one of the second version ends with what is pooled."""
    return ("stages.0", "stages.1", "stages.2" if arch == "shufflenet_v1" else "stages.3")


def shufflenet_v1(classes: int, *, channels: int) -> nn.Module:
    stages: list[nn.Module] = []
    inputs = STEM
    for width, count in ((240, 4), (480, 8), (960, 4)):
        # The stem's channels are too few for groups.
        first = BlockV1(inputs, width, stride=2, groups_in=1 if inputs == STEM else 3)
        stages.append(nn.Sequential(first, *(BlockV1(width, width, stride=1, groups_in=3) for _ in range(count - 1))))
        inputs = width
    return ShuffleNet(stages, inputs, classes, channels=channels)


def shufflenet_v2(classes: int, *, channels: int) -> nn.Module:
    stages: list[nn.Module] = []
    inputs = STEM
    for width, count in ((116, 4), (232, 8), (464, 4)):
        stages.append(nn.Sequential(HalvingV2(inputs, width), *(BlockV2(width) for _ in range(count - 1))))
        inputs = width
    stages.append(nn.Sequential(*_convolution(inputs, 1024)))
    return ShuffleNet(stages, 1024, classes, channels=channels)


class ShuffleNet(nn.Module):
    def __init__(self, stages: list[nn.Module], width: int, classes: int, *, channels: int):
        super().__init__()
        self.stem = nn.Sequential(*_convolution(channels, STEM))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x))
        return self.head(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class BlockV1(nn.Module):
    """A bottleneck of grouped convolutions beside a shortcut; one that halves the image is put behind the shortcut."""

    def __init__(self, inputs: int, width: int, *, stride: int, groups_in: int, groups: int = 3):
        super().__init__()
        self.halves = stride == 2
        outputs = width - inputs if self.halves else width
        middle = outputs // 4
        self.groups_in = groups_in
        self.reduce = nn.Sequential(*_convolution(inputs, middle, groups=groups_in))
        self.rest = nn.Sequential(
            *_depthwise(middle, stride=stride),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, outputs, 1, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.rest(shuffle(self.reduce(x), self.groups_in))
        beside = torch.cat([out, F.avg_pool2d(x, 3, stride=2, padding=1)], dim=1) if self.halves else out + x
        return F.relu(beside, inplace=True)


class BlockV2(nn.Module):
    """Half of the channels pass by, the others are convolved; then they are shuffled."""

    def __init__(self, width: int):
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(*_convolution(half, half), *_depthwise(half), *_convolution(half, half))

    def forward(self, x: Tensor) -> Tensor:
        passing, convolved = x.chunk(2, dim=1)
        return shuffle(torch.cat([passing, self.branch(convolved)], dim=1), 2)


class HalvingV2(nn.Module):
    """All channels are convolved twice over, at half of the image's size."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        half = width // 2
        self.short = nn.Sequential(*_depthwise(inputs, stride=2), *_convolution(inputs, half))
        self.long = nn.Sequential(*_convolution(inputs, half), *_depthwise(half, stride=2), *_convolution(half, half))

    def forward(self, x: Tensor) -> Tensor:
        return shuffle(torch.cat([self.short(x), self.long(x)], dim=1), 2)


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of each group out over all of them: [B, G·N, H, W] as [B, N·G, H, W]."""
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


def _convolution(inputs: int, width: int, *, groups: int = 1) -> list[nn.Module]:
    """1×1, normalised and activated."""
    return [nn.Conv2d(inputs, width, 1, groups=groups, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def _depthwise(width: int, *, stride: int = 1) -> list[nn.Module]:
    """3×3, each channel by itself, normalised."""
    return [nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False), nn.BatchNorm2d(width)]
