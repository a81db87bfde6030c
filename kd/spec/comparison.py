"""What the student is compared with: a control, and other ways to do without a teacher."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from kd.spec.augmentation import Augmentation
from kd.spec.part import Part
from kd.spec.recipe import BatchSize, Optimizer, Schedule


class Control(Part):
    """A control that learns by a recipe of its own, so that the student is held against the best of it.

    Epochs, patience and average are the student's: both see as many images, and are judged in the same way.
    """

    batch_size: BatchSize | None = Field(default=None, description="none: the student's")
    optimizer: Optimizer | None = Field(default=None, description="what it leaves out is the student's")
    schedule: Schedule | None = Field(default=None, description="what it leaves out is the student's")
    augmentation: Augmentation | None = Field(default=None, description="what it leaves out is the student's")


class Baselines(Part):
    """What else is trained as the control is, and reported beside it."""

    label_smoothing: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of each label that is spread evenly over all classes: soft labels for which nobody is asked",
    )


def _kind_of_control(given: Any) -> str:
    return "with a recipe" if isinstance(given, dict | Control) else "yes or no"


AnyControl = Annotated[
    Annotated[bool, Tag("yes or no")] | Annotated[Control, Tag("with a recipe")], Discriminator(_kind_of_control)
]


def fill_in(control: dict[str, Any], student: dict[str, Any]) -> dict[str, Any]:
    """The control's recipe, as it was given, with what its parts leave out taken from the student's recipe."""
    parts = (("optimizer", Optimizer), ("schedule", Schedule), ("augmentation", Augmentation))
    return control | {
        name: _fill_in(control[name], student.get(name, {}), kind)
        for name, kind in parts
        if isinstance(control.get(name), dict) and isinstance(student.get(name, {}), dict)
    }


def _fill_in(own: dict[str, Any], student: dict[str, Any], kind: type[Part]) -> dict[str, Any]:
    named = kind.model_fields.get("name")
    # Of another optimizer, or another schedule, the student's numbers mean nothing.
    if named is not None and "name" in own and own["name"] != student.get("name", named.get_default()):
        return own
    # How strong an operation is says nothing where there is none, and is refused there.
    idle = {"magnitude"} if own.get("strong") == 0 else set()
    # Views are cut out in one way.
    if own.get("resized_crop") is not None:
        idle.add("crop_padding")
    elif own.get("crop_padding"):
        idle.add("resized_crop")
    return {name: value for name, value in student.items() if name not in idle} | own
