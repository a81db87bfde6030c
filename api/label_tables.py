"""Label tables: what teachers said of every view of every image, kept to be shared, downloaded, or deleted."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Query as InQuery
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from api.dependencies import Database, Settings
from api.files.routes import BINARY
from api.http import download, upload
from api.http.conditional import CONDITIONS
from api.http.pages import Page, PageQuery, cursor, page
from api.http.problems import Invalid
from api.http.queries import Query
from jobs.errors import NoRoom
from jobs.files import layout, quota, store
from jobs.pages import cut
from jobs.teachers import labels
from kd.errors import DataError
from kd.labels import cache, pushed
from kd.labels.arrays import BadArray
from kd.labels.cache import Entry, NoSuchTable, TableUnfinished
from kd.labels.manifest import Manifest
from kd.spec.faults import Fault
from kd.spec.names import DatasetName


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
    origin: Annotated[
        Literal["teacher", "pushed"] | None, Field(description="whose labels they are: `pushed` ones were brought")
    ]
    remarks: Annotated[list[str], Field(description="what looked strange in labels that were pushed")]
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
        origin=facts and facts.origin,
        remarks=list(facts.remarks) if facts else [],
        size=entry.bytes,
        teacher_arch=facts and facts.teacher_arch,
        teacher_digest=facts.teacher if facts and not entry.is_pushed else None,
        dataset=facts and facts.dataset_name,
        dataset_digest=(facts and facts.dataset) or None,
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


class Push(Query):
    """What the file in the body holds, and of what."""

    dataset: Annotated[DatasetName, Field(description="whose images these are labels of")]
    content: Annotated[pushed.Kind, Field(description="what the numbers are")]
    dataset_digest: Annotated[
        str | None,
        Field(
            description="the `digest` in GET /datasets; of a packed data set it must be given",
            json_schema_extra={"pattern": "^[0-9a-f]{64}$"},
        ),
    ] = None


PUSHED: dict[int | str, dict[str, Any]] = {
    200: {"model": LabelTable, "description": "this very file has been pushed before"},
    201: {"headers": {"Location": {"description": "where the table is", "schema": {"type": "string"}}}},
    415: {"description": "the body is not said to be `application/octet-stream`"},
    422: {"description": "the file holds no labels of these images; `detail` says why"},
    507: {"description": "there is no room for it on the disk, or among the label tables"},
}
FILE_BODY = {"requestBody": {"required": True, "content": {upload.BINARY: {"schema": {"format": "binary"}}}}}


@router.post("", status_code=201, response_model=LabelTable, responses=PUSHED, openapi_extra=FILE_BODY)
async def push_label_table(
    wanted: Annotated[Push, InQuery()], request: Request, folder: Folder, settings: Settings
) -> Response:
    """Bring labels that were made elsewhere: an `.npy` of float16, 32 or 64 [images, classes], or an `.npz`."""
    images = await run_in_threadpool(_images, settings, wanted)
    async with upload.received(request, folder) as file:
        take = partial(pushed.take, file.file, file.sha256, folder, images, wanted.content)
        return await run_in_threadpool(_take, partial(take, limit_bytes=settings.label_cache_bytes))


def _images(settings: Settings, wanted: Push) -> pushed.Images:
    """What the labels must be of; refuses early, before the file comes."""
    if (trouble := quota.trouble(settings)) is not None:
        raise NoRoom(trouble)
    try:
        images = labels.images_of(settings.data_dir, wanted.dataset)
    except DataError as error:
        raise Invalid([Fault("/dataset", layout.without_places(str(error), settings.data_dir), "query")]) from None
    if wanted.dataset_digest != images.digest:
        why = "must say of which images: a packed data set may be packed anew; GET /datasets shows its digest"
        if images.digest is None:
            why = f"would do nothing here: the images of {wanted.dataset} are always the same"
        elif wanted.dataset_digest is not None:
            why = f"is not that of {wanted.dataset}, which is {images.digest}: these are labels of other images"
        raise Invalid([Fault("/dataset_digest", why, "query")])
    return images


def _take(take: Callable[[], tuple[Entry, bool]]) -> Response:
    try:
        entry, is_new = take()
    except BadArray as error:
        raise Invalid([Fault("", error.why)]) from None
    view = label_table(entry)
    return JSONResponse(view.model_dump(mode="json"), 201 if is_new else 200, headers={"Location": view.urls.self})


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


@router.delete(
    "/{table_id}",
    status_code=204,
    responses={409: {"description": "a run is writing or checking it, or it was pushed and a job will learn from it"}},
)
def delete_label_table(table_id: TableId, db: Database, settings: Settings) -> None:
    """Delete a table. Jobs that read it at this moment go on; one that needs it later makes it again."""
    with db.begin() as session:
        labels.remove(session, settings.data_dir, table_id)


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
