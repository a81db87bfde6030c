"""Label tables: what teachers said of every view of every image, kept to be shared, downloaded, or deleted."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Query as InQuery
from pydantic import BaseModel, Field

from api.dependencies import Settings
from api.files.routes import BINARY
from api.http import download
from api.http.conditional import CONDITIONS
from api.http.pages import Page, PageQuery, cursor, page
from jobs.files import layout, store
from jobs.pages import cut
from kd.labels import cache
from kd.labels.cache import Entry, NoSuchTable, TableUnfinished
from kd.labels.manifest import Manifest


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
    status: cache.TableState
    size: Annotated[int, Field(description="bytes that it takes on disk, all in all")]
    teacher_arch: str | None
    teacher_digest: str | None
    dataset: str | None
    dataset_digest: str | None
    precision: str | None
    plan: Annotated[dict[str, Any] | None, Field(description="which views of an image there are")]
    labels: NumpyFile | None
    pooled: Annotated[
        int | None, Field(description="so many of a label's numbers, the last ones, are the teacher's pooled feature")
    ]
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
        pooled=facts and facts.pooled,
        view_parameters=facts
        and ViewParameters(
            shape=[*facts.shape[:2], len(facts.view_parameters.columns)],
            dtype="int32",
            size=entry.sizes[entry.parameters],
            sha256=facts.view_parameters.sha256,
            columns=list(facts.view_parameters.columns),
        ),
        created_at=entry.created_at,
        used_at=entry.used_at,
        urls=LabelTableUrls(self=here, download=f"{here}/download", views=f"{here}/views"),
    )


router = APIRouter(prefix="/label-tables", tags=["label tables"])

PLACE = f"[0-9]{{16}}-{cache.ID.pattern}"

FILE: dict[int | str, dict[str, Any]] = {**BINARY, 409: {"description": "the table is not finished"}}


async def _table_id(table_id: str) -> str:
    """An id that we could have made; anything else never reaches the file system."""
    if not cache.is_id(table_id):
        raise NoSuchTable(table_id[:100])
    return table_id


async def _folder(settings: Settings) -> Path:
    return settings.data_dir / layout.LABELS


TableId = Annotated[str, Depends(_table_id)]
Folder = Annotated[Path, Depends(_folder)]


class TablePage(PageQuery):
    after: str | None = cursor(PLACE)


@router.get("")
def list_label_tables(wanted: Annotated[TablePage, InQuery()], folder: Folder) -> Page[LabelTable]:
    """Label tables, the one used last first."""
    found = [entry for entry in cache.entries(folder) if wanted.after is None or _place(entry) < wanted.after]
    shown = cut(found, wanted.limit, _place)
    return page([label_table(entry) for entry in shown.items], shown.next_cursor)


@router.get("/{table_id}")
def get_label_table(table_id: TableId, folder: Folder) -> LabelTable:
    """What a table holds, of which teacher and which images, and how large it is."""
    return label_table(cache.entry(folder, table_id))


@router.get("/{table_id}/download", response_class=Response, responses=FILE, openapi_extra=CONDITIONS)
def download_label_table(table_id: TableId, request: Request, folder: Folder, settings: Settings) -> Response:
    """The labels, as NumPy reads them: float16 [images, views, classes + `pooled`]."""
    entry, manifest = _complete(folder, table_id)
    return _serve(request, settings, entry, entry.array, manifest.sha256)


@router.get("/{table_id}/views", response_class=Response, responses=FILE, openapi_extra=CONDITIONS)
def download_view_parameters(table_id: TableId, request: Request, folder: Folder, settings: Settings) -> Response:
    """What was done to each image in each view: int32 [images, views, columns]."""
    entry, manifest = _complete(folder, table_id)
    return _serve(request, settings, entry, entry.parameters, manifest.view_parameters.sha256)


@router.delete("/{table_id}", status_code=204, responses={409: {"description": "a run is writing or checking it"}})
def delete_label_table(table_id: TableId, folder: Folder) -> None:
    """Delete a table. Jobs that read it at this moment go on; one that needs it later makes it again."""
    cache.remove(folder, table_id)


def _place(entry: Entry) -> str:
    """Where a table stands in the list, as text that sorts like it: microseconds of its last use, and its id."""
    return f"{int(entry.used_at.timestamp() * 1_000_000):016d}-{entry.id}"


def _complete(folder: Path, table_id: str) -> tuple[Entry, Manifest]:
    entry = cache.entry(folder, table_id)
    if entry.manifest is None:
        raise TableUnfinished(table_id)
    return entry, entry.manifest


def _serve(request: Request, settings: Settings, entry: Entry, name: str, sha256: str) -> Response:
    path, _ = store.open_file(settings.data_dir, f"{layout.LABELS}/{name}")
    return download.serve(request, path, name=name, size=entry.sizes[name], sha256=sha256, made_at=entry.created_at)
