"""What a label table says of itself, as it lies beside it: written and read by one class. No numpy, no torch."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from kd.errors import is_passing

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Identity(BaseModel):
    """All that the labels of a table depend on; its digest is the table's name. `teacher` and `dataset` are digests."""

    # What a later version adds to a manifest makes it none of ours no less.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    format: int = 2
    teacher: str
    dataset: str
    plan: dict[str, Any]
    views: int | None = None
    precision: str
    pooled: NonNegativeInt = Field(
        default=0, description="how many of a label's numbers, the last ones, are what the teacher's classifier reads"
    )

    @property
    def name(self) -> str:
        # Of a manifest too, which says more: that is no part of what the labels depend on. Nor is a feature that is
        # not there: tables from before there were any keep their names.
        fields = set(Identity.model_fields) - (set() if self.pooled else {"pooled"})
        content = json.dumps(self.model_dump(include=fields), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]


class ViewParameters(BaseModel):
    """Of the file that says what each view of the table shows."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    columns: tuple[str, ...]
    dtype: Literal["int32"] = "int32"
    sha256: Sha256


class Manifest(Identity):
    """What a complete table says of itself."""

    origin: Literal["teacher", "pushed"] = "teacher"
    """Whose labels these are: a teacher's that labelled here, or somebody's who made them elsewhere."""
    remarks: tuple[str, ...] = ()
    """What looked strange in those that were pushed."""
    teacher_arch: str | None = None
    dataset_name: str | None = None
    shape: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = Field(
        description="images, views of each, numbers of a label: its logits, and behind them the pooled feature if any"
    )
    dtype: Literal["float16"] = "float16"
    sha256: Sha256
    view_parameters: ViewParameters


def read_manifest(path: Path) -> Manifest | None:
    """None if it has just been removed, or is none of ours. Raises OSError while the machine does not give it."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        if is_passing(error):
            raise
        return None
    except ValueError:
        return None
