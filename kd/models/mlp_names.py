"""Perceptrons by name: `mlp_800` has one hidden layer of 800 units, `mlp_1200x2_dropout50` two of 1200 with dropout."""

import re
from dataclasses import dataclass

PREFIX = "mlp_"
NAMES_ARE = (
    "mlp_<width>, mlp_<width>x<layers> or mlp_<width>x<layers>_dropout<percent>, as in mlp_1200x2_dropout50: "
    "1 to 8192 units, 1 to 8 hidden layers, 1 to 90 percent"
)
WIDEST, DEEPEST, MOST_DROPPED = 8_192, 8, 90

_NUMBER = "([1-9][0-9]{0,3})"
_NAME = re.compile(f"{PREFIX}{_NUMBER}(?:x{_NUMBER})?(?:_dropout{_NUMBER})?")


@dataclass(frozen=True)
class Perceptron:
    width: int  # units in each hidden layer
    layers: int  # hidden ones
    dropout: float  # chance of a hidden unit to be left out of a training step


def read(arch: str) -> Perceptron | None:
    """What such a name says; None for a name that is none of them."""
    if (found := _NAME.fullmatch(arch)) is None:
        return None
    width, layers, percent = (int(number or 0) for number in found.groups())
    layers = layers or 1
    if width > WIDEST or layers > DEEPEST or percent > MOST_DROPPED:
        return None
    return Perceptron(width, layers, percent / 100)
