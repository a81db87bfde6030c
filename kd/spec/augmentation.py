"""What a model is shown of an image: how views of it differ, and what suits a data set."""

from typing import Any, Self

from pydantic import Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from kd.data import packed_facts
from kd.data.catalog import DATASETS
from kd.spec.part import Part, refuse_idle, was_accepted


class ResizedCrop(Part):
    """Views that are boxes of the image, brought to one size: torchvision's `RandomResizedCrop`."""

    scale: tuple[float, float] = Field(
        default=(0.08, 1.0),
        strict=False,  # JSON has lists, no tuples
        description="from how little to how much of the image's area a box has",
    )
    ratio: tuple[float, float] = Field(
        default=(3 / 4, 4 / 3), strict=False, description="from which to which ratio of its width to its height"
    )

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        for name, (low, high), least, most in (("scale", self.scale, 0.001, 1), ("ratio", self.ratio, 0.1, 10)):
            if not least <= low <= high <= most:
                raise PydanticCustomError(
                    "bounds",
                    "{name} must be two numbers from {least} to {most}, the smaller one first, not {low} and {high}",
                    {"name": name, "least": least, "most": most, "low": f"{low:g}", "high": f"{high:g}"},
                )
        return self

    @model_validator(mode="after")
    def _there_is_something_to_draw(self, info: ValidationInfo) -> Self:
        if self.scale[0] == 1 and not was_accepted(info):
            raise PydanticCustomError(
                "scale", "scale must begin below 1: of a box as large as its image there is one, and nothing to draw"
            )
        return self


class Augmentation(Part):
    """What a view may change: a random crop after zero padding or a box that is resized, a mirror image, strong
    operations, a second image."""

    crop_padding: int = Field(ge=0, le=16, description="pixels of padding on each side before the crop")
    flip: bool = Field(description="mirror half of the views")
    strong: int = Field(default=0, ge=0, le=8, description="RandAugment operations on each view")
    magnitude: int = Field(default=9, ge=0, le=30, description="how much a strong operation changes; 30 is most")
    mixup: float = Field(default=0, ge=0, le=100, description="α of Beta(α, α); 0: no mixup")
    cutmix: float = Field(default=0, ge=0, le=100, description="α of Beta(α, α); 0: no cutmix; with mixup half each")
    resized_crop: ResizedCrop | None = Field(
        default=None, description="boxes of the image, resized, in the place of crops after padding; none: no boxes"
    )

    @model_validator(mode="before")
    @classmethod
    def _boxes_have_no_padding(cls, given: Any) -> Any:
        boxed = isinstance(given, dict) and given.get("resized_crop") is not None
        return {"crop_padding": 0, **given} if boxed else given

    @model_validator(mode="after")
    def _a_view_is_cut_out_in_one_way(self) -> Self:
        if self.resized_crop is not None and self.crop_padding:
            raise PydanticCustomError(
                "crops",
                "crop_padding must be 0 with resized_crop: a view is either a crop after padding or a box that is "
                "resized",
            )
        return self

    @model_validator(mode="after")
    def _every_setting_acts(self, info: ValidationInfo) -> Self:
        if not self.strong:
            refuse_idle(self, info, "magnitude", acts_with="strong operations ('strong' above 0)")
        return self

    @property
    def endless(self) -> bool:
        """Whether there are more views of an image than anybody could label."""
        return bool(self.strong or self.mixup or self.cutmix or self.resized_crop)


def suiting(given: dict[str, Any]) -> dict[str, Any]:
    """What of the augmentation suits a config, as it was given."""
    # An unknown data set is reported by its own field; here anything valid will do.
    facts = DATASETS.get(str(given.get("dataset")), DATASETS["mnist5k"])
    suits = {"crop_padding": facts.crop_padding, "flip": facts.flip}
    if packed_facts.is_packed(str(given.get("dataset"))):
        suits = {"crop_padding": 0, "flip": False}  # nobody said how large its images are, nor what they show
    if isinstance(teacher := given.get("teacher"), dict) and "labels" in teacher:
        suits = {"crop_padding": 0, "flip": False}  # they were made of images as they are, and not of views
    boxed = given.get("augmentation", {}).get("resized_crop") is not None
    if boxed or is_another_size(given.get("input_size"), facts.shape):
        suits["crop_padding"] = 0  # what is resized is not padded
    return suits


def is_another_size(input_size: int | None, shape: tuple[int, int, int]) -> bool:
    """Whether models see images of this shape (channels, height, width) at another size."""
    return input_size is not None and shape[1:] != (input_size, input_size)


def why_unfit(
    augmentation: Augmentation, dataset: str, shape: tuple[int, int, int], input_size: int | None
) -> str | None:
    """What is against its `crop_padding`, for images of this shape, as a clause."""
    limit = min(shape[1:]) // 2
    if augmentation.crop_padding and is_another_size(input_size, shape):
        size = f"{shape[1]}×{shape[2]} pixels"
        return (
            f"must be 0 with an input_size of {input_size}, since crops after padding are as large as the images of "
            f"{dataset}, {size}; boxes that are resized, resized_crop, are of any size"
        )
    if augmentation.crop_padding > limit:
        return f"must be at most {limit}, half of the side of an image of {dataset}"
    return None
