"""Networks for small images that train in seconds on a CPU: a good teacher, two students much smaller, perceptrons."""

import math

from torch import Tensor, nn

from kd.models import mlp_names

Shape = tuple[int, int, int]


def build(arch: str, classes: int, shape: Shape) -> nn.Module:
    if (sized := mlp_names.read(arch)) is not None:
        return mlp(classes, shape, hidden=sized.width, layers=sized.layers, dropout=sized.dropout)
    return {"mlp": mlp, "cnn": cnn, "cnn_small": cnn_small}[arch](classes, shape)


def stages(arch: str) -> tuple[str, ...]:
    """The names of the modules that end its stages, each with a map of another size."""
    return {"cnn": ("5", "12", "16"), "cnn_small": ("2", "6")}[arch]


def cnn(classes: int, shape: Shape) -> nn.Module:
    """Five convolutions. On 28×28 pixels: 136,000 parameters, 4.8 M multiply-accumulates."""
    return nn.Sequential(
        *_convolution(shape[0], 16, stride=2),  # at full size the first layer would cost more than all others
        *_convolution(16, 32),
        nn.MaxPool2d(2, ceil_mode=True),
        *_convolution(32, 64),
        *_convolution(64, 64),
        nn.MaxPool2d(2, ceil_mode=True),
        *_convolution(64, 128),
        Mean(),
        nn.Linear(128, classes),
    )


def cnn_small(classes: int, shape: Shape) -> nn.Module:
    """Two convolutions. On 28×28 pixels: 3,800 parameters, 0.07 M multiply-accumulates."""
    channels, height, width = shape
    return nn.Sequential(
        *_convolution(channels, 8, stride=2),
        nn.MaxPool2d(2, ceil_mode=True),
        *_convolution(8, 16),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(16 * math.ceil(height / 8) * math.ceil(width / 8), classes),
    )


def mlp(classes: int, shape: Shape, *, hidden: int = 64, layers: int = 1, dropout: float = 0) -> nn.Module:
    """One hidden layer, or more. On 28×28 pixels, one of 64: 51,000 parameters, 0.05 M multiply-accumulates.

    With dropout each hidden unit is left out of a training step by that chance (Srivastava et al., 2014).
    """
    modules: list[nn.Module] = [nn.Flatten()]
    inputs = math.prod(shape)
    for _ in range(layers):
        modules += [nn.Linear(inputs, hidden), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
        inputs = hidden
    return nn.Sequential(*modules, nn.Linear(inputs, classes))


class Mean(nn.Module):
    """The mean over height and width."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def _convolution(inputs: int, width: int, *, stride: int = 1) -> list[nn.Module]:
    """A 3×3 convolution, normalised and activated."""
    convolution = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
