"""What a job has around its spec, and the library never sees: whose it is, when it runs, how long, what is kept of it.

Pydantic and the spec only, so that who needs no database can read it too.
"""

import re
from typing import Annotated

from pydantic import Field, field_validator
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

from kd.printable import PATTERN, unprintable
from kd.spec import Part

LABEL_KEY = r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$"


LABELS_BYTES = 8_192


def printable(text: str) -> str:
    """Text that any terminal, log and database can hold, and that reads as it is stored."""
    if character := unprintable(text):
        raise PydanticCustomError(
            "printable",
            "must not hold control characters, such as line ends, or characters that reorder or hide text; {character} "
            "is one",
            {"character": character},
        )
    return text


def label_key(key: str) -> str:
    if not re.fullmatch(LABEL_KEY, key):
        raise PydanticCustomError(
            "label_key", "is no key for a label: 1 to 63 letters, digits and . _ / -, a letter or digit at both ends"
        )
    return key


# The patterns are for readers of the schema; the validators say in words what is wrong.
SHOWN = {"pattern": PATTERN}
Name = Annotated[str, Field(min_length=1, max_length=200, json_schema_extra=SHOWN), AfterValidator(printable)]
LabelKey = Annotated[str, AfterValidator(label_key)]
LabelValue = Annotated[str, Field(max_length=255, json_schema_extra=SHOWN), AfterValidator(printable)]
Seconds = Annotated[float, Field(gt=0, le=1e8)]


# Long enough for a loaded machine to import torch and for a GPU to compile what it runs first, during which no mark
# moves, and longer than a run waits for the labels of one that writes none (`kd.labels.labelling.HELD_SECONDS`).
STALL_SECONDS = 1_800.0


class Limits(Part):
    """How long a job may take, in seconds."""

    max_run_seconds: Seconds | None = Field(default=None, description="of training, over all attempts")
    max_queue_seconds: Seconds | None = Field(default=None, description="until its first start")
    max_stall_seconds: Annotated[float, Field(ge=10, le=1e8)] | None = Field(
        default=STALL_SECONDS,
        description="in which its trainer gets no further; null is no limit; at least 10, for it has to load torch",
    )


class Change(Part):
    """What users may change of a job; what is not named stays."""

    name: Name | None = Field(default=None, description="what people call the job")
    labels: dict[LabelKey, LabelValue] = Field(
        default={},
        max_length=32,
        description="to find jobs by, as in GET /jobs?label=team=vision",
        json_schema_extra={"propertyNames": {"pattern": LABEL_KEY}},
    )
    priority: int = Field(default=0, ge=-100, le=100, description="higher starts first")

    @field_validator("labels")
    @classmethod
    def _few_bytes(cls, labels: dict[str, str]) -> dict[str, str]:
        # They are part of every list, and of an event for each change.
        if sum(len(key.encode()) + len(value.encode()) for key, value in labels.items()) > LABELS_BYTES:
            raise PydanticCustomError("labels", "may take at most {most} bytes together", {"most": LABELS_BYTES})
        return labels


class Envelope(Change):
    """All of it. The rest is settled when the job is submitted."""

    limits: Limits = Limits()
    keep_last: int = Field(
        default=1, ge=1, le=100, description="of the newest students, beside the best one and those that are pinned"
    )
