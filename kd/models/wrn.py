"""Wide residual networks for CIFAR: `wrn_<depth>_<widening>`, depth 6n+4, pre-activation.

Zagoruyko & Komodakis, 2016.
"""

import torch.nn.functional as F
from torch import Tensor, nn


def build(arch: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    _, depth, widening = arch.split("_")
    return WideResNet(int(depth), int(widening), classes, channels=shape[0])


def stages(arch: str) -> tuple[str, ...]:
    """The names of the modules that end its three stages; their maps are not activated yet."""
    blocks = int(arch.split("_")[1]) // 6
    return tuple(f"blocks.{stage * blocks - 1}" for stage in (1, 2, 3))


class WideResNet(nn.Module):
    def __init__(self, depth: int, widening: int, classes: int, *, channels: int):
        super().__init__()
        assert depth % 6 == 4, "three stages of n blocks of two convolutions, a stem, two shortcuts and a linear layer"
        self.stem = _conv(channels, 16)
        blocks: list[nn.Module] = []
        inputs = 16
        for stage, width in enumerate((16 * widening, 32 * widening, 64 * widening)):
            for block in range(depth // 6):
                blocks.append(Block(inputs, width, stride=2 if stage > 0 and block == 0 else 1))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(inputs)
        self.head = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.blocks(self.stem(x))), inplace=True)
        return self.head(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Normalise, activate, convolve, twice; where the width changes, the shortcut is activated too."""

    def __init__(self, inputs: int, width: int, *, stride: int):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), _conv(inputs, width, stride)
        self.norm2, self.conv2 = nn.BatchNorm2d(width), _conv(width, width)
        self.shortcut = nn.Conv2d(inputs, width, 1, stride, bias=False) if inputs != width else None

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.norm1(x), inplace=True)
        out = self.conv2(F.relu(self.norm2(self.conv1(activated)), inplace=True))
        return out + (x if self.shortcut is None else self.shortcut(activated))  # type: ignore[no-any-return]


def _conv(inputs: int, width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
