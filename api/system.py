"""What there is to choose from, and whether the server lives and can serve."""

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from api.dependencies import Readiness
from api.http import pages
from api.http.problems import NoSuchMode
from api.jobs.body import SUBMISSIONS
from kd.models.catalog import FAMILY_OF, MODELS, family_of
from kd.models.own import names as own_names
from kd.models.timm import catalog as timm_catalog


class Model(BaseModel):
    object: Literal["model"]
    name: str
    family: str
    extra: Literal["zoo"] | None = Field(description="a worker builds it with this extra only: stillhouse[zoo]")
    package: str | None = Field(description="that registers it here, of those of your own: workers need it too")
    parameters: int | None = Field(description="with ten classes, where that is known without building it")
    macs: int | None = Field(description="multiply-accumulates for an image of 32×32 in colour, likewise")


class Health(BaseModel):
    status: Literal["ok", "ready"]


def model(name: str) -> Model:
    family = FAMILY_OF.get(name, "own")
    known = timm_catalog.facts_of(name.removeprefix(timm_catalog.PREFIX)) if family == "timm" else None
    return Model(
        object="model",
        name=name,
        family=family,
        extra=family_of(name).extra,
        package=own_names.package_of(name),
        parameters=known and known.parameters,
        macs=known and known.macs,
    )


router = APIRouter(tags=["system"])


@router.get("/models")
def list_models() -> pages.Page[Model]:
    """Every architecture, for `teacher.arch` and `student.arch`: those there are always, and those of your own."""
    return pages.page([model(name) for name in (*MODELS, *own_names.names())])


class SchemaResponse(JSONResponse):
    media_type = "application/schema+json"


@router.get("/schemas/{mode}", response_class=SchemaResponse)
def get_schema(mode: str) -> SchemaResponse:
    """The JSON Schema (2020-12) of what POST /jobs takes for a mode, with every default and bound."""
    if mode not in SUBMISSIONS:
        raise NoSuchMode(mode, list(SUBMISSIONS))
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **SUBMISSIONS[mode].model_json_schema()}
    return SchemaResponse(schema)


@router.get("/healthz")
async def is_alive() -> Health:
    """Whether the process answers; touches nothing else, and needs no thread, of which others may have all."""
    return Health(status="ok")


@router.get(
    "/readyz",
    responses={503: {"description": "the database is away, takes no writes, or its tables are of another version"}},
)
async def is_ready(readiness: Readiness) -> Health:
    """Whether jobs can be taken: the database answers, has the tables of this version and takes writes."""
    await readiness.check()
    return Health(status="ready")
