"""The server itself, and the networks it knows."""

from typing import Literal

from pydantic import BaseModel

from kd import catalog


class Model(BaseModel):
    object: Literal["model"]
    name: str
    family: str


class Health(BaseModel):
    status: Literal["ok", "ready"]


FAMILIES = {
    "small": catalog.SMALL,
    "cifar_resnet": catalog.CIFAR_RESNETS,
    "wide_resnet": catalog.WIDE_RESNETS,
    "torchvision": catalog.TORCHVISION,
}


def model(name: str) -> Model:
    return Model(object="model", name=name, family=next(family for family, known in FAMILIES.items() if name in known))
