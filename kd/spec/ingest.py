"""What an ingest is asked to do: to make a packed data set of a file that somebody has uploaded."""

import re
from typing import Annotated, Literal

from pydantic import Field
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

from kd.data import packed_facts
from kd.spec.part import Part

FILE_ID = r"^upl_[0-9a-f]{28}$"
FILE_IDS_ARE = "is no id of an uploaded file; they are upl_ and 28 hexadecimal digits"


def _packed(name: str) -> str:
    if not packed_facts.is_packed(name):
        raise PydanticCustomError("dataset_name", "a packed data set is named {so}", {"so": packed_facts.NAMES_ARE})
    return name


def _id_of_a_file(text: str) -> str:
    if not re.fullmatch(FILE_ID, text):
        raise PydanticCustomError("file_id", FILE_IDS_ARE)
    return text


def _each_once(classes: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(classes)) < len(classes):
        raise PydanticCustomError("classes", "names a class twice")
    return classes


PackedName = Annotated[
    str,
    Field(max_length=200, json_schema_extra={"pattern": f"^{packed_facts.NAME.pattern}$"}),
    AfterValidator(_packed),
]
FileId = Annotated[str, Field(max_length=32, json_schema_extra={"pattern": FILE_ID}), AfterValidator(_id_of_a_file)]


class Ingest(Part):
    """As the options of `kd data add`."""

    name: PackedName = Field(description="of the new data set")
    upload: FileId = Field(description="the file: a zip or a tar of images, Parquet, or an .npz")
    size: int | None = Field(
        default=None,
        ge=1,
        le=packed_facts.LARGEST_SIDE,
        description="pixels: the short side becomes so long, then the middle is cut square; none: all are of one size",
    )
    classes: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
            Field(min_length=2, max_length=100_000, strict=False),
            AfterValidator(_each_once),
        ]
        | None
    ) = Field(default=None, description="their order, such as a teacher's; none: that of the alphabet")
    skip_unreadable: bool = Field(default=False, description="leave out images that are damaged")


class IngestSpec(Part):
    """Light work, which runs beside a distillation and not after it."""

    mode: Literal["ingest"] = "ingest"
    config: Ingest
