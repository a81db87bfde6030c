"""Teachers that somebody brings: ONNX models of any architecture and weights of known ones, kept for jobs to name."""

import json
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
from api.http import body, conditional, upload
from api.http.pages import Page, PageQuery, cursor, page
from api.http.problems import Invalid
from api.http.queries import Query
from api.jobs import views
from api.jobs.shown import view_of
from jobs.errors import NoRoom
from jobs.files import layout, quota
from jobs.pages import cut
from jobs.queue import evaluations
from jobs.teachers import uploads as lent
from kd.models.onnx.said import Graph
from kd.models.preprocess.said import Interpolation, Pixels, Preprocess, preprocess
from kd.models.preprocess.usual import usual
from kd.models.safetensors.header import Weights
from kd.spec.evaluate import Evaluate
from kd.spec.faults import Fault
from kd.spec.names import UPLOAD_ID, Arch
from kd.teachers import uploads
from kd.teachers.kinds import Kind, NotTaken
from kd.teachers.uploads import NoSuchTeacher, Said, Uploaded


class TeacherUrls(BaseModel):
    self: str
    evaluate: str


class BroughtTeacher(BaseModel):
    """A teacher that somebody has brought."""

    id: str
    object: Literal["teacher"]
    name: str
    kind: Annotated[Kind, Field(description="of its file")]
    architecture: Annotated[str | None, Field(description="of weights; null: an ONNX model has its own")]
    preprocess: Annotated[
        Preprocess | None,
        Field(
            description="what is done to an image before it sees it; null: it takes bytes, or being weights, sees what "
            "the data set's own networks see"
        ),
    ]
    class_names: Annotated[list[str] | None, Field(description="in the order of its outputs; null: the data set's")]
    graph: Annotated[
        Graph | None, Field(description="what an ONNX model says of itself; null: the first run will look")
    ]
    weights: Annotated[Weights | None, Field(description="what safetensors say of themselves")]
    size: Annotated[int, Field(description="bytes of the file")]
    sha256: str
    created_at: datetime
    urls: TeacherUrls


def teacher(found: Uploaded) -> BroughtTeacher:
    said = found.said
    return BroughtTeacher(
        id=found.id,
        object="teacher",
        name=said.name,
        kind=found.kind,
        architecture=said.architecture,
        preprocess=said.preprocess,
        class_names=None if said.classes is None else list(said.classes),
        graph=found.graph,
        weights=found.weights,
        size=found.size,
        sha256=found.sha256,
        created_at=found.created_at,
        urls=TeacherUrls(self=f"/teachers/{found.id}", evaluate=f"/teachers/{found.id}/evaluate"),
    )


router = APIRouter(prefix="/teachers", tags=["teachers"])

PLACE = f"[0-9]{{16}}-{UPLOAD_ID.strip('^$')}"


class TeacherPage(PageQuery):
    after: str | None = cursor(PLACE)


async def _teacher_id(teacher_id: Annotated[str, InPath(json_schema_extra={"pattern": UPLOAD_ID})]) -> str:
    """An id that we could have made; anything else never reaches the disk."""
    if not uploads.is_id(teacher_id):
        raise NoSuchTeacher(teacher_id[:100])
    return teacher_id


TeacherId = Annotated[str, Depends(_teacher_id)]


NUMBERS: dict[str, Any] = {"pattern": "^[-+0-9.eE,]+$"}


class Bring(Query):
    """What the file cannot say of itself."""

    name: Annotated[str, Field(min_length=1, max_length=200, json_schema_extra={"pattern": "^[^\\u0000-\\u001f]+$"})]
    architecture: Annotated[
        Arch | None,
        Field(
            description="of which architecture safetensors are the weights, as in timm/resnet18; see GET /models",
            json_schema_extra={"pattern": "^[A-Za-z0-9][A-Za-z0-9_./-]*$"},
        ),
    ] = None
    pixels: Annotated[
        Pixels | None,
        Field(
            description="what it wants to see of pixels; left out if its input is uint8, if mean and std say it, or if "
            "it is usual with its architecture"
        ),
    ] = None
    mean: Annotated[
        str | None,
        Field(description="of pixels in 0..1: numbers with commas between them", json_schema_extra=NUMBERS),
    ] = None
    std: Annotated[str | None, Field(description="the same", json_schema_extra=NUMBERS)] = None
    image_size: Annotated[
        str | None,
        Field(
            description="HEIGHTxWIDTH that it sees, where the file or its architecture leaves it open",
            json_schema_extra={"pattern": "^[1-9][0-9]{0,3}x[1-9][0-9]{0,3}$"},
        ),
    ] = None
    interpolation: Annotated[Interpolation, Field(description="by which images of another size are resized")] = (
        "bilinear"
    )
    classes: Annotated[
        str | None,
        Field(
            description="a JSON list: the data set's classes in the order of its outputs; if that is another one",
            json_schema_extra={"pattern": r"^\["},
        ),
    ] = None


BROUGHT: dict[int | str, dict[str, Any]] = {
    200: {"model": BroughtTeacher, "description": "this very file has been brought before, with the same words"},
    201: {"headers": {"Location": {"description": "where the teacher is", "schema": {"type": "string"}}}},
    415: {"description": "the body is not said to be `application/octet-stream`"},
    422: {"description": "the file is neither of the two, or what was said of it makes no sense; `detail` says why"},
    507: {"description": "there is no room for it on the disk"},
}
FILE_BODY = {"requestBody": {"required": True, "content": {upload.BINARY: {"schema": {"format": "binary"}}}}}


@router.post("", status_code=201, response_model=BroughtTeacher, responses=BROUGHT, openapi_extra=FILE_BODY)
async def bring_teacher(wanted: Annotated[Bring, InQuery()], request: Request, settings: Settings) -> Response:
    """Bring a teacher: of any architecture as one ONNX file, or of a known one as safetensors. It is looked through and
    tried by the first run that names it, in `config.teacher.upload`."""
    said = _said(wanted)
    if (trouble := await run_in_threadpool(quota.trouble, settings)) is not None:
        raise NoRoom(trouble)
    folder = settings.data_dir / layout.TEACHERS
    async with upload.received(request, folder) as file:
        return await run_in_threadpool(partial(_take, folder, file, said))


def _said(wanted: Bring) -> Said:
    try:
        how = preprocess(
            wanted.pixels,
            mean=wanted.mean,
            std=wanted.std,
            size=wanted.image_size,
            interpolation=wanted.interpolation,
            usual=None if wanted.architecture is None else usual(wanted.architecture),
        )
    except ValueError as error:
        raise Invalid([Fault("", str(error), "query")]) from None
    names = None
    if wanted.classes is not None:
        try:
            names = json.loads(wanted.classes)
        except ValueError:
            names = None
        if not isinstance(names, list) or len(names) < 2 or not all(isinstance(one, str) for one in names):
            raise Invalid([Fault("/classes", 'should be a JSON list of names, such as ["cat", "dog"]', "query")])
        if len(set(names)) < len(names):
            raise Invalid([Fault("/classes", "names a class twice", "query")])
    classes = None if names is None else tuple(names)
    return Said(name=wanted.name, architecture=wanted.architecture, preprocess=how, classes=classes)


def _take(folder: Any, file: upload.Upload, said: Said) -> Response:
    try:
        found, is_new = uploads.add(folder, file.file, said)
    except NotTaken as error:
        raise Invalid([Fault("", error.why)]) from None
    view = teacher(found)
    return JSONResponse(view.model_dump(mode="json"), 201 if is_new else 200, headers={"Location": view.urls.self})


@router.get("")
def list_teachers(query: Annotated[TeacherPage, InQuery()], settings: Settings) -> Page[BroughtTeacher]:
    """Teachers that were brought, the newest first."""
    there = ((_place(found), found) for found in uploads.each(settings.data_dir / layout.TEACHERS))
    found = cut(
        ((place, one) for place, one in there if query.after is None or place < query.after),
        query.limit,
        lambda item: item[0],
    )
    return page([teacher(one) for _, one in found.items], found.next_cursor)


@router.get("/{teacher_id}")
def get_teacher(teacher_id: TeacherId, settings: Settings) -> BroughtTeacher:
    """What is known of a teacher."""
    return teacher(uploads.read(settings.data_dir / layout.TEACHERS, teacher_id))


EVALUATED: dict[int | str, dict[str, Any]] = {
    200: {"model": views.Job, "description": "a job is at this very work"},
    202: {"headers": {"Location": {"description": "the job that evaluates it", "schema": {"type": "string"}}}},
    507: {"description": "there is no room for its report on the disk"},
}


@router.post(
    "/{teacher_id}/evaluate",
    status_code=202,
    response_model=views.Job,
    responses=EVALUATED,
    openapi_extra=body.reference(Evaluate),
)
def evaluate_teacher(
    teacher_id: TeacherId, wanted: Annotated[Evaluate, Depends(body.of(Evaluate))], db: Database, settings: Settings
) -> Response:
    """See how good a teacher is on a data set, and which labels it doubts, before it teaches: by a job that waits
    behind no distillation. Its report is a page too."""
    job, is_new = evaluations.evaluate(db, settings, teacher_id, wanted)
    with db.read() as session:
        view = view_of(session, job)
    return conditional.answer(view, 202 if is_new else 200, {"Location": view.urls.self})


@router.delete("/{teacher_id}", status_code=204, responses={409: {"description": "a job that has not ended needs it"}})
def delete_teacher(teacher_id: TeacherId, db: Database, settings: Settings) -> None:
    """Delete a teacher. Jobs that have ended keep what they wrote of it."""
    with db.begin() as session:
        lent.remove(session, settings.data_dir, teacher_id)


def _place(found: Uploaded) -> str:
    """Where it stands in the list, as text that sorts like it."""
    return f"{int(found.created_at.timestamp() * 1_000_000):016d}-{found.id}"
