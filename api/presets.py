"""The recipes that there are, and what each of them fills in."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi import Query as InQuery
from pydantic import BaseModel, Field

from api.dependencies import Settings
from api.http.pages import Page, page
from api.http.queries import Query
from jobs.files import layout
from kd.spec import presets
from kd.spec.names import Arch, DatasetName
from kd.spec.presets import Size


class Preset(BaseModel):
    object: Literal["preset"]
    name: str
    description: str
    is_auto: Annotated[bool, Field(description="whether `recipe: auto`, the default, stands for it")]
    cost: Annotated[float, Field(description="of what `balanced` costs: images that go through the models, by epochs")]
    config: Annotated[
        dict[str, Any], Field(description="what it fills in for such a job; whatever is set by hand counts instead")
    ]


NameOfArch = Annotated[Arch, Field(json_schema_extra={"pattern": "^[a-z0-9_/]{1,200}$"})]


class ForJob(Query):
    """For which job; its defaults are a spec's."""

    mode: Literal["train", "guide"] = "train"
    dataset: DatasetName = "mnist5k"
    student: NameOfArch = "mlp"
    teacher: NameOfArch = "cnn"


router = APIRouter(prefix="/presets", tags=["system"])


@router.get("")
def list_presets(job: Annotated[ForJob, InQuery()], settings: Settings) -> Page[Preset]:
    """What `recipe` may be, and what each fills in: it depends on the student, and on the size of the data set."""
    size = presets.size_of(job.dataset, settings.data_dir / layout.DATASETS)
    return page([preset(name, job, size) for name in presets.PRESETS])


def preset(name: str, job: ForJob, size: Size) -> Preset:
    given = {"dataset": job.dataset, "student": {"arch": job.student}, "teacher": {"arch": job.teacher}, "recipe": name}
    filled = presets.fill_in(given, size, views=job.mode == "train")
    return Preset(
        object="preset",
        name=name,
        description=presets.PRESETS[name].description,
        is_auto=name == presets.AUTO,
        cost=presets.cost(name, size),
        config=filled,
    )
