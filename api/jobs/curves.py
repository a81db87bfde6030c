"""A job's curves: by column and in few points for those who draw, and as CSV with every point for those who reckon."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Header, Response
from fastapi import Query as InQuery
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, field_validator
from pydantic.functional_validators import BeforeValidator
from pydantic_core import PydanticCustomError
from starlette.types import Send

from api.dependencies import Database, JobId, Lanes
from api.http.accept import is_preferred
from api.http.numbers import Number, number
from api.http.problems import Invalid
from api.http.queries import Query, separate
from jobs.database.engine import UNREACHABLE
from jobs.errors import JobNotFound
from jobs.job import get_job
from jobs.log import curves
from jobs.log.curves import Cursor, Part
from jobs.log.decimation import FEWEST
from kd.spec.faults import Fault

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"])

log = structlog.get_logger()

CSV = "text/csv"
# A wide screen has 4,000 columns of pixels, and each can show the two extremes of what it covers.
MAX_POINTS, DEFAULT_POINTS = 10_000, 1_000
CSV_ROWS = 5_000
"""Read at a time, and kept only until they are sent."""


class CurvesQuery(Query):
    names: Annotated[list[str], BeforeValidator(separate)] = Field(
        default=[], max_length=100, description="only these; default: all"
    )
    max_points: int = Field(
        default=DEFAULT_POINTS,
        ge=FEWEST,
        le=MAX_POINTS,
        description="of a curve: a longer one keeps its ends, and the extremes of equal ranges of steps",
    )
    after: str | None = Field(
        default=None,
        description="`next_cursor` of the answer before",
        json_schema_extra={"pattern": r"^[0-9]{1,9}\.[0-9]{1,19}(\.[0-9]{1,19}\.[\s\S]{1,200})?$"},
    )
    format: Literal["json", "csv"] | None = Field(default=None, description="default: as `Accept` says, or JSON")

    @field_validator("after")
    @classmethod
    def _made_by_us(cls, given: str | None) -> str | None:
        if given is not None and Cursor.read(given) is None:
            raise PydanticCustomError("cursor", "is no cursor; take `next_cursor` from the answer before")
        return given


class Series(BaseModel):
    """One curve, column by column: the i-th value was measured at the i-th step."""

    step: list[int]
    value: list[Number]


class Metrics(BaseModel):
    """Curves from a step on. `next_cursor` leads to the rest at once, if there `has_more`, and to what is new later."""

    object: Literal["metrics"]
    job_id: str
    begins_anew: Annotated[bool, Field(description="forget what you had: the curves were cut back to a checkpoint")]
    from_step: Annotated[int, Field(description="of each of these curves, what you had from this step on is void")]
    series: dict[str, Series]
    has_more: bool
    next_cursor: str


def metrics(job_id: str, part: Part) -> Metrics:
    return Metrics(
        object="metrics",
        job_id=job_id,
        begins_anew=part.begins_anew,
        from_step=part.step,
        series={
            curve.name: Series(step=list(curve.steps), value=[number(value) for value in curve.values])
            for curve in part.curves
        },
        has_more=part.has_more,
        next_cursor=str(part.next_cursor),
    )


AS_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {CSV: {"schema": {"type": "string"}}}}}


@router.get("/metrics", response_model=Metrics, responses=AS_CSV)
async def get_metrics(
    job_id: JobId,
    wanted: Annotated[CurvesQuery, InQuery()],
    db: Database,
    lanes: Lanes,
    response: Response,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Metrics | Response:
    """Curves of a job, column by column: each whole, or in `max_points` in which every spike is seen.

    A page holds as many curves as fit. `after` brings what is new since an answer. With `format=csv`, or
    `Accept: text/csv`, all curves follow each other as rows of `name,step,value`: every point, unless `max_points` is
    given.
    """
    as_csv = wanted.format == "csv" or (wanted.format is None and is_preferred(accept, CSV))
    names = wanted.names or None
    if not as_csv:
        after = None if wanted.after is None else Cursor.read(wanted.after)
        response.headers["Vary"] = "Accept"
        return await lanes.read_long(partial(_part, db, job_id, names, after, wanted.max_points))
    if wanted.after is not None:
        raise Invalid([Fault("/after", "is for JSON; CSV has no place for the next cursor, and comes whole", "query")])
    if "max_points" in wanted.model_fields_set:
        read = partial(_few_rows, db, job_id, names, wanted.max_points)
    else:
        read = partial(_all_rows, db, job_id, names)
    # The first ones before the answer begins, so that what is wrong with it is an error in words.
    first = await lanes.read_long(partial(read, None))
    headers = {"Content-Disposition": f'attachment; filename="{job_id}.csv"', "Vary": "Accept"}
    return CsvStream(_csv(lanes, read, first), media_type=CSV, headers=headers)


def _part(db: Database, job_id: str, names: list[str] | None, after: Cursor | None, max_points: int) -> Metrics:
    with db.read() as session:
        if after is not None and after.attempt > (attempt := get_job(session, job_id).attempt):
            why = f"is of attempt {after.attempt}, and this job has had {attempt}: begin without a cursor"
            raise Invalid([Fault("/after", why, "query")])
        part = curves.part_after(session, job_id, names, after, max_points)
    return metrics(job_id, part)


# -- as CSV -----------------------------------------------------------------------------------------------

# Some rows as text, and how to read on; None: these were the last ones.
Rows = tuple[str, Any]


def _all_rows(db: Database, job_id: str, names: list[str] | None, after: tuple[str, int] | None) -> Rows:
    with db.read() as session:
        rows = curves.rows_after(session, job_id, names, after, CSV_ROWS)
    return _written(rows), rows[-1][:2] if len(rows) == CSV_ROWS else None


def _few_rows(db: Database, job_id: str, names: list[str] | None, max_points: int, after: Cursor | None) -> Rows:
    with db.read() as session:
        part = curves.part_after(session, job_id, names, after, max_points)
    rows = ((curve.name, *point) for curve in part.curves for point in zip(curve.steps, curve.values, strict=True))
    return _written(rows), part.next_cursor if part.has_more else None


def _written(rows: Iterable[tuple[str, int, float]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows((name, step, number(value)) for name, step, value in rows)
    return text.getvalue()


class CsvStream(StreamingResponse):
    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except (JobNotFound, *UNREACHABLE) as error:
            # The answer is never ended: the client sees a cut connection, and no shorter curves.
            log.warning("csv_broken", error=str(error))


async def _csv(lanes: Lanes, read: Callable[[Any], Rows], first: Rows) -> AsyncIterator[str]:
    """Each part is read when the client has taken the one before, and holds no connection to the database meanwhile."""
    yield "name,step,value\r\n"
    text, after = first
    yield text
    while after is not None:
        text, after = await lanes.read_long(partial(read, after))
        yield text
