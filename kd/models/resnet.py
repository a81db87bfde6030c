"""The residual networks for CIFAR that the distillation literature compares: depth 6n+2, basic blocks, a 3×3 stem.

He et al., 2016, with 1×1 convolutions where a block changes its width, as in the public code of Tian et al., 2020.
"""

import torch.nn.functional as F
from torch import Tensor, nn

Widths = tuple[int, int, int, int]  # of the stem and of the three stages


def build(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """`resnet<depth>`, or `resnet<depth>x4` of fourfold width from the first stage on."""
    depth, _, factor = arch.removeprefix("resnet").partition("x")
    widths: Widths = (32, 64, 128, 256) if factor else (16, 16, 32, 64)
    return ResNet(int(depth), widths, classes, channels=shape[0])


def stages(arch: str) -> tuple[str, ...]:
    """The names of the modules that end its three stages."""
    blocks = int(arch.removeprefix("resnet").partition("x")[0]) // 6
    return tuple(f"blocks.{stage * blocks - 1}" for stage in (1, 2, 3))


class ResNet(nn.Module):
    def __init__(self, depth: int, widths: Widths, classes: int, *, channels: int):
        super().__init__()
        assert depth % 6 == 2, "three stages of n blocks of two convolutions, a stem and a linear layer"
        stem, *stages = widths
        self.stem = nn.Sequential(_conv(channels, stem), nn.BatchNorm2d(stem), nn.ReLU(inplace=True))
        blocks: list[nn.Module] = []
        inputs = stem
        for stage, width in enumerate(stages):
            for block in range(depth // 6):
                blocks.append(Block(inputs, width, stride=2 if stage > 0 and block == 0 else 1))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        return self.head(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, width: int, *, stride: int):
        super().__init__()
        self.conv1, self.norm1 = _conv(inputs, width, stride), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = _conv(width, width), nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != width:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(out))
        return F.relu(out + self.shortcut(x), inplace=True)


def _conv(inputs: int, width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
