"""The server itself, and the networks it knows."""

from typing import Literal

from pydantic import BaseModel

from kd.models.catalog import CIFAR_RESNETS, SMALL, TORCHVISION, WIDE_RESNETS


class Model(BaseModel):
    object: Literal["model"]
    name: str
    family: str


class Health(BaseModel):
    status: Literal["ok", "ready"]


FAMILIES = {
    "small": SMALL,
    "cifar_resnet": CIFAR_RESNETS,
    "wide_resnet": WIDE_RESNETS,
    "torchvision": TORCHVISION,
}


def model(name: str) -> Model:
    return Model(object="model", name=name, family=next(family for family, known in FAMILIES.items() if name in known))
