"""Files that become data sets, brought in parts: whoever was interrupted is told where to go on."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Path as InPath
from fastapi import Query as InQuery
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from api.dependencies import Database, Settings
from api.http import body, upload
from api.http.problems import Invalid
from api.http.queries import Query
from jobs.errors import NoRoom, NoSuchUpload, UploadInUse
from jobs.files import quota, uploads
from jobs.files.uploads import Announced
from jobs.queue import datasets
from kd.spec.faults import Fault
from kd.spec.ingest import FILE_ID

PART_BYTES = 1 << 24
"""The largest part that is taken."""


class UploadUrls(BaseModel):
    self: str


class Upload(BaseModel):
    """A file that is there, or on its way."""

    id: str
    object: Literal["upload"]
    name: str
    size: Annotated[int, Field(description="bytes of the whole file")]
    received: Annotated[int, Field(description="bytes that are there: the next part begins here")]
    sha256: str
    part_bytes: Annotated[int, Field(description="the largest part that is taken")]
    created_at: datetime
    urls: UploadUrls


router = APIRouter(prefix="/uploads", tags=["data sets"])


def _view(settings: Settings, found: uploads.Upload) -> Upload:
    return Upload(
        id=found.id,
        object="upload",
        **found.said.model_dump(),
        received=uploads.received(settings.data_dir, found),
        part_bytes=PART_BYTES,
        created_at=found.created_at,
        urls=UploadUrls(self=f"/uploads/{found.id}"),
    )


async def _upload_id(upload_id: Annotated[str, InPath(json_schema_extra={"pattern": FILE_ID})]) -> str:
    """An id that we could have made; anything else never reaches the disk."""
    if not uploads.is_id(upload_id):
        raise NoSuchUpload(upload_id[:100])
    return upload_id


UploadId = Annotated[str, Depends(_upload_id)]

ANNOUNCED: dict[int | str, dict[str, Any]] = {
    200: {"model": Upload, "description": "this very file was announced before; `received` says how much is there"},
    201: {"headers": {"Location": {"description": "where to bring it", "schema": {"type": "string"}}}},
    507: {"description": "there is no room for it on the disk"},
}


@router.post("", status_code=201, response_model=Upload, responses=ANNOUNCED, openapi_extra=body.reference(Announced))
def announce_upload(said: Annotated[Announced, Depends(body.of(Announced))], settings: Settings) -> Response:
    """Say what file will come: a zip or a tar of images, or an `.npz`. One that is not brought on, and that no job
    wants, is deleted after a day."""
    if said.size > settings.max_upload_bytes:
        raise Invalid([Fault("/size", f"may be {settings.max_upload_bytes:,} bytes at most on this server")])
    _refuse_without_room(settings, said.size)
    found, is_new = uploads.announce(settings.data_dir, said)
    view = _view(settings, found)
    return JSONResponse(view.model_dump(mode="json"), 201 if is_new else 200, headers={"Location": view.urls.self})


@router.get("/{upload_id}")
def get_upload(upload_id: UploadId, settings: Settings) -> Upload:
    """How much of a file is there."""
    return _view(settings, uploads.read(settings.data_dir, upload_id))


class Part(Query):
    offset: Annotated[int, Field(ge=0, le=1 << 62, description="where the part begins: what `received` says")]


FILE_BODY = {"requestBody": {"required": True, "content": {upload.BINARY: {"schema": {"format": "binary"}}}}}
BROUGHT: dict[int | str, dict[str, Any]] = {
    409: {"description": "the part does not begin where what is there ends, or goes beyond the end of the file"},
    415: {"description": "the body is not said to be `application/octet-stream`"},
    507: {"description": "there is no room for it on the disk"},
}


@router.put("/{upload_id}", response_model=Upload, responses=BROUGHT, openapi_extra=FILE_BODY)
async def bring_part(
    upload_id: UploadId, part: Annotated[Part, InQuery()], request: Request, settings: Settings
) -> Upload:
    """Bring the next part. It counts when it is answered, or when `received` says so."""
    found = await run_in_threadpool(uploads.read, settings.data_dir, upload_id)
    await run_in_threadpool(_refuse_without_room, settings, PART_BYTES)
    async with upload.received(request, uploads.path(settings.data_dir, found).parent) as given:
        size = given.file.tell()
        given.file.seek(0)
        await run_in_threadpool(partial(uploads.append, settings.data_dir, found, part.offset, given.file, size))
    return await run_in_threadpool(_view, settings, found)


@router.delete("/{upload_id}", status_code=204, responses={409: {"description": "a job makes a data set of it"}})
def delete_upload(upload_id: UploadId, db: Database, settings: Settings) -> None:
    """Give up a file that was brought, or was to be."""
    with db.read() as session:
        if wanted := datasets.wants(session, upload_id):
            raise UploadInUse(upload_id, wanted)
    uploads.remove(settings.data_dir, upload_id)


def _refuse_without_room(settings: Settings, size: int) -> None:
    if (trouble := quota.trouble(settings, size)) is not None:
        raise NoRoom(trouble)
