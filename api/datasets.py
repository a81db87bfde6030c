"""The data sets that there are, with what one must know to bring labels of their images; new ones of uploaded files."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi import Path as InPath
from fastapi import Query as InQuery
from pydantic import BaseModel, Field

from api.dependencies import Database, Settings
from api.files.report import HTML
from api.files.routes import BINARY
from api.http import body, conditional, download
from api.http.accept import is_preferred
from api.http.conditional import CONDITIONS
from api.http.pages import Page, page
from api.http.queries import Query
from api.jobs import views
from api.jobs.shown import view_of
from jobs.errors import DatasetNotFound
from jobs.files import layout
from jobs.queue import datasets
from jobs.teachers import labels
from kd import outputs
from kd.data import packed_facts
from kd.data.catalog import DATASETS
from kd.data.packed_facts import PackedFacts, Resized
from kd.disk import sha256_of
from kd.errors import DataError
from kd.spec.ingest import Ingest


class DatasetUrls(BaseModel):
    self: str
    report: Annotated[str | None, Field(description="what is wrong with it; null where the name says it all")]


class Dataset(BaseModel):
    object: Literal["dataset"]
    name: str
    images: Annotated[int, Field(description="all of them, which are numbered from 0 in this data set's order")]
    train: Annotated[int, Field(description="to learn from")]
    validation: Annotated[int, Field(description="0: they are taken from those to learn from")]
    test: int
    shape: Annotated[list[int], Field(description="channels, height, width")]
    classes: int
    class_names: Annotated[list[str] | None, Field(description="in their order; null where the publisher says them")]
    duplicates: Annotated[int, Field(description="images with the pixels of an earlier one")]
    resized: Annotated[Resized | None, Field(description="how photos came to one size")]
    digest: Annotated[str | None, Field(description="of all that a model can see; null where the name says it all")]
    urls: DatasetUrls


router = APIRouter(prefix="/datasets", tags=["data sets"])


@router.get("")
def list_datasets(settings: Settings) -> Page[Dataset]:
    """Every data set that a spec may name: those with a name of their own, and those that were made here."""
    folder = settings.data_dir / layout.DATASETS
    found = [_published(settings, name) for name in DATASETS]
    for name in packed_facts.names(folder):
        try:
            found.append(_packed(settings, name, packed_facts.read(folder, name)))
        except DataError:  # damaged, or just being deleted: a job that names it is told
            continue
    return page(found)


MADE: dict[int | str, dict[str, Any]] = {
    200: {"model": views.Job, "description": "a job is at this very work"},
    202: {"headers": {"Location": {"description": "the job that makes it", "schema": {"type": "string"}}}},
    507: {"description": "there is no room for it on the disk"},
}


@router.post("", status_code=202, response_model=views.Job, responses=MADE, openapi_extra=body.reference(Ingest))
def make_dataset(wanted: Annotated[Ingest, Depends(body.of(Ingest))], db: Database, settings: Settings) -> Response:
    """Make a data set of an uploaded file, by a job that waits behind no distillation. Its events tell what the file
    was understood as, and what looks strange."""
    job, is_new = datasets.ingest(db, settings, wanted)
    with db.read() as session:
        view = view_of(session, job)
    return conditional.answer(view, 202 if is_new else 200, {"Location": view.urls.self})


@router.get("/{name}")
def get_dataset(
    name: Annotated[str, InPath(json_schema_extra={"pattern": f"^({'|'.join(DATASETS)})$"})], settings: Settings
) -> Dataset:
    """What a data set with a name of its own holds."""
    if name not in DATASETS:
        raise DatasetNotFound(name[:100])
    return _published(settings, name)


async def _name(
    name: Annotated[str, InPath(json_schema_extra={"pattern": f"^{packed_facts.NAME.pattern.partition('/')[2]}$"})],
) -> str:
    """A name that a packed data set may have; anything else never reaches the disk."""
    packed = f"{packed_facts.PREFIX}{name}"
    if not packed_facts.is_packed(packed):
        raise DatasetNotFound(packed[:100])
    return packed


PackedName = Annotated[str, Depends(_name)]


@router.get("/packed/{name}")
def get_packed_dataset(name: PackedName, settings: Settings) -> Dataset:
    """What a data set of somebody's own images holds."""
    folder = settings.data_dir / layout.DATASETS
    if name not in packed_facts.names(folder):
        raise DatasetNotFound(name)
    return _packed(settings, name, packed_facts.read(folder, name))


class ReportQuery(Query):
    format: Literal["json", "html"] | None = Field(default=None, description="default: as `Accept` says, or JSON")


REPORT_CONTENT: dict[str, Any] = {
    "application/json": {"schema": {"type": "object"}},
    HTML: {"schema": {"type": "string"}},
}
REPORT = {status: it | ({"content": REPORT_CONTENT} if status in (200, 206) else {}) for status, it in BINARY.items()}


@router.get("/packed/{name}/report", response_class=Response, responses=REPORT, openapi_extra=CONDITIONS)
def get_dataset_report(
    name: PackedName,
    wanted: Annotated[ReportQuery, InQuery()],
    request: Request,
    settings: Settings,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """What is wrong with a data set, as was found when it was made: to reckon with, or to look at. The page has no
    scripts and loads nothing."""
    is_page = wanted.format == "html" or (wanted.format is None and is_preferred(accept, HTML))
    path = datasets.report(settings.data_dir, name, outputs.PAGE if is_page else outputs.REPORT)
    facts = path.stat()
    answer = download.serve(
        request,
        path,
        name=path.name,
        size=facts.st_size,
        sha256=sha256_of(path),
        made_at=datetime.fromtimestamp(facts.st_mtime, UTC),
        saved_as=f"{path.parent.name}-{path.name}",
        shown=True,
    )
    answer.headers["Vary"] = "Accept"
    return answer


@router.delete("/packed/{name}", status_code=204, responses={409: {"description": "a job that has not ended needs it"}})
def delete_packed_dataset(name: PackedName, db: Database, settings: Settings) -> None:
    """Delete a data set of somebody's own images."""
    with db.begin() as session:
        datasets.remove(session, settings.data_dir, name)


def _published(settings: Settings, name: str) -> Dataset:
    facts, images = DATASETS[name], labels.images_of(settings.data_dir, name)
    return Dataset(
        object="dataset",
        name=name,
        images=images.images,
        train=facts.train,
        validation=0,
        test=images.images - facts.train,
        shape=list(facts.shape),
        classes=images.classes,
        class_names=None,
        duplicates=0,
        resized=None,
        digest=images.digest,
        urls=DatasetUrls(self=f"/datasets/{name}", report=None),
    )


def _packed(settings: Settings, name: str, facts: PackedFacts) -> Dataset:
    images = labels.images_of(settings.data_dir, name)
    return Dataset(
        object="dataset",
        name=name,
        images=images.images,
        train=facts.train,
        validation=facts.validation,
        test=facts.test,
        shape=list(facts.shape),
        classes=images.classes,
        class_names=list(facts.classes),
        duplicates=facts.duplicates or 0,
        resized=facts.resized,
        digest=images.digest,
        urls=DatasetUrls(self=f"/datasets/{name}", report=f"/datasets/{name}/report"),
    )
