"""Labels that jobs share."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from kd.labels import cache


class NumpyFile(BaseModel):
    """A file that NumPy reads."""

    shape: list[int]
    dtype: str
    size: int
    sha256: str


class ViewParameters(NumpyFile):
    columns: list[str]


class LabelTableUrls(BaseModel):
    self: str
    download: str
    views: str


class LabelTable(BaseModel):
    """What a teacher said of every view of every image. What only a finished table knows is null until then."""

    id: str
    object: Literal["label_table"]
    status: cache.State
    size: Annotated[int, Field(description="bytes that it takes on disk, all in all")]
    teacher_arch: str | None
    teacher_digest: str | None
    dataset: str | None
    dataset_digest: str | None
    precision: str | None
    plan: Annotated[dict[str, Any] | None, Field(description="which views of an image there are")]
    labels: NumpyFile | None
    view_parameters: ViewParameters | None
    created_at: datetime
    used_at: datetime
    urls: LabelTableUrls


def label_table(entry: cache.Entry) -> LabelTable:
    here, facts = f"/label-tables/{entry.id}", entry.manifest
    return LabelTable(
        id=entry.id,
        object="label_table",
        status=entry.state,
        size=entry.bytes,
        teacher_arch=facts and facts.teacher_arch,
        teacher_digest=facts and facts.teacher,
        dataset=facts and facts.dataset_name,
        dataset_digest=facts and facts.dataset,
        precision=facts and facts.precision,
        plan=facts and dict(facts.plan),
        labels=facts
        and NumpyFile(shape=list(facts.shape), dtype="float16", size=entry.sizes[entry.array], sha256=facts.sha256),
        view_parameters=facts
        and ViewParameters(
            shape=[*facts.shape[:2], len(facts.columns)],
            dtype="int32",
            size=entry.sizes[entry.parameters],
            sha256=facts.parameters_sha256,
            columns=list(facts.columns),
        ),
        created_at=entry.created_at,
        used_at=entry.used_at,
        urls=LabelTableUrls(self=here, download=f"{here}/download", views=f"{here}/views"),
    )
