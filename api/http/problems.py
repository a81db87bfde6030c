"""Errors become answers: one table from error class to status, one handler, always RFC 9457 problem+json."""

import errno
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from api.http import browsers
from api.http.head import method_of
from jobs import errors as jobs_errors
from jobs.database import writes
from jobs.webhooks import subscriptions
from kd.labels import cache, pushed
from kd.spec import faults
from kd.spec.faults import Fault, Place
from kd.teachers import uploads

log = structlog.get_logger()


class ApiError(Exception):
    """The base of what only HTTP can get wrong."""


class Invalid(ApiError):
    """JSON, but not what was asked for."""

    def __init__(self, found: Sequence[Fault]):
        self.faults = found
        super().__init__(faults.sentence(found))


class NotJson(ApiError):
    def __init__(self, why: str):
        self.faults = [Fault("", why)]
        super().__init__(f"The body is not JSON that can be understood: {why}.")


class WrongContentType(ApiError):
    def __init__(self, given: str | None, *, wanted: str = "application/json", form: str = "JSON"):
        was = f"not {faults.quoted(given)}" if given else "and say so"
        super().__init__(f"Send the body as {form}, {was}: Content-Type: {wanted}.")


class CrossSite(ApiError):
    def __init__(self, origin: str | None):
        page = f"a page of {faults.quoted(origin)}" if origin else "a page of another site"
        super().__init__(f"This comes from {page}, and such pages may not change anything here.")


class HostUnclear(ApiError):
    def __init__(self, why: str):
        super().__init__(f"A request says in one Host header whom it is for; this one {why}.")


class HostUnknown(ApiError):
    def __init__(self, host: str):
        super().__init__(
            f"This server is not known as {faults.quoted(host)}. If it should be, its operator adds that name to "
            "STILLHOUSE_ALLOWED_HOSTS."
        )


class BodyTooLarge(ApiError):
    def __init__(self, limit: int):
        super().__init__(f"The body is larger than {limit} bytes, which is all that this server accepts.")


class NoSuchMode(ApiError):
    def __init__(self, mode: str, modes: Sequence[str]):
        super().__init__(f"There is no mode {faults.quoted(mode)}; the modes are {', '.join(modes)}.")


class RangeNotSatisfiable(ApiError):
    def __init__(self, size: int):
        self.headers = {"Content-Range": f"bytes */{size}"}
        super().__init__(f"The range begins behind the end of the file, which has {size} bytes.")


class PreconditionFailed(ApiError):
    def __init__(self, what: str, condition: str, etag: str):
        self.headers = {"ETag": etag}
        super().__init__(
            f"The {what} is not, or no longer, as {condition} says: look at it again, and see whether you still want "
            f"this. Its ETag is {etag} now."
        )


class NotReady(ApiError):
    """The server lives, but cannot serve yet."""


class DatabaseSilent(ApiError):
    def __init__(self, seconds: float):
        super().__init__(f"The database has not answered within {seconds:g} seconds.")


class TooManyStreams(ApiError):
    def __init__(self, most: int):
        super().__init__(
            f"{most} streams of events are open, which is all that this server keeps. Try again in a moment, or take "
            "pages instead: ask without Accept: text/event-stream."
        )


# The error's class (or its nearest base) -> status, code. `detail` is the error's own sentence, unless a third says it.
PROBLEMS: dict[type[Exception], tuple[int, str] | tuple[int, str, str]] = {
    NotJson: (400, "not_json"),
    ClientDisconnect: (400, "client_left", "The client left before its request was whole."),
    HostUnclear: (400, "host_unclear"),
    CrossSite: (403, "cross_site"),
    jobs_errors.JobNotFound: (404, "job_not_found"),
    jobs_errors.CheckpointNotFound: (404, "checkpoint_not_found"),
    jobs_errors.ArtifactNotFound: (404, "artifact_not_found"),
    jobs_errors.ReportNotFound: (404, "report_not_found"),
    cache.NoSuchTable: (404, "label_table_not_found"),
    uploads.NoSuchTeacher: (404, "teacher_not_found"),
    jobs_errors.NoSuchUpload: (404, "upload_not_found"),
    jobs_errors.DatasetNotFound: (404, "dataset_not_found"),
    jobs_errors.DatasetNotExamined: (404, "report_not_found"),
    jobs_errors.WorkerNotFound: (404, "worker_not_found"),
    jobs_errors.WebhookNotFound: (404, "webhook_not_found"),
    jobs_errors.SweepNotFound: (404, "sweep_not_found"),
    jobs_errors.DeliveryNotFound: (404, "delivery_not_found"),
    NoSuchMode: (404, "mode_not_found"),
    jobs_errors.InUse: (409, "in_use"),
    jobs_errors.NotAllowed: (409, "not_allowed"),
    subscriptions.WebhookDisabled: (409, "webhook_disabled"),
    subscriptions.TooManyWebhooks: (409, "too_many_webhooks"),
    jobs_errors.TableLent: (409, "label_table_in_use"),
    jobs_errors.TeacherLent: (409, "teacher_in_use"),
    jobs_errors.DatasetInUse: (409, "dataset_in_use"),
    jobs_errors.PartMisplaced: (409, "part_misplaced"),
    jobs_errors.UploadInUse: (409, "upload_in_use"),
    cache.TableBusy: (409, "label_table_busy"),
    cache.TableUnfinished: (409, "label_table_unfinished"),
    jobs_errors.FileGone: (410, "file_gone", "The file is no longer there; a newer checkpoint may have replaced it."),
    jobs_errors.FileDamaged: (
        410,
        "file_damaged",
        "The file is not what was written: its disk may be failing. Another checkpoint may be whole.",
    ),
    PreconditionFailed: (412, "precondition_failed"),
    BodyTooLarge: (413, "body_too_large"),
    WrongContentType: (415, "wrong_content_type"),
    RangeNotSatisfiable: (416, "range_not_satisfiable"),
    HostUnknown: (421, "host_unknown"),
    Invalid: (422, "invalid"),
    jobs_errors.SpecRefused: (422, "invalid"),
    jobs_errors.NotStorable: (422, "invalid"),
    jobs_errors.KeyReused: (422, "idempotency_key_reused"),
    NotReady: (503, "not_ready"),
    DatabaseSilent: (503, "database_unavailable"),
    TooManyStreams: (503, "too_many_streams"),
    jobs_errors.DatabaseReadOnly: (503, "database_read_only"),
    jobs_errors.NoRoom: (507, "no_room"),
    pushed.PushedFull: (507, "no_room"),
    jobs_errors.DatabaseFull: (507, "no_room"),
    InternalError: (503, "database_unavailable", "The database does not answer; try again in a moment."),
    OperationalError: (503, "database_unavailable", "The database does not answer; try again in a moment."),
    PoolTimeout: (503, "database_unavailable", "The database is too busy; try again in a moment."),
    OSError: (503, "files_unavailable", "The server's files cannot be read or written now; try again in a moment."),
    Exception: (500, "internal", "Something went wrong in the server; its log has the details under this request_id."),
}


class ProblemFault(BaseModel):
    place: Place = Field(alias="in")
    pointer: str = Field(description='a JSON pointer (RFC 6901), such as "/config/epochs"; "" is the whole')
    message: str


class Problem(BaseModel):
    """What every error looks like: RFC 9457, application/problem+json."""

    type: str
    title: str
    status: int
    code: str = Field(description="for programs")
    detail: str = Field(description="for people: what is wrong and what to do")
    request_id: str = Field(description="also in X-Request-ID and in the server's log")
    errors: list[ProblemFault] | None = Field(default=None, description="each thing that is wrong with the request")
    allowed: list[str] | None = Field(default=None, description="with 409: what the job's state does allow")


def install(app: FastAPI) -> None:
    """Make every error of the app, its routes and its router answer with a problem."""
    for error_class in (*PROBLEMS, RequestValidationError, HTTPException):
        if (
            error_class is not BodyTooLarge
        ):  # `api.http.body_limit` answers it, and then deals with the rest of the body
            app.add_exception_handler(error_class, answer)


async def answer(request: Request, error: Exception) -> JSONResponse:
    """The one handler."""
    if isinstance(error, HTTPException):  # the router's own: no such path, no such method
        return _router_problem(request, error)
    if isinstance(error, RequestValidationError):  # FastAPI reads only the query; bodies are ours
        found: list[Any] = [{**problem, "loc": problem["loc"][1:]} for problem in error.errors()]
        error = Invalid(faults.find(found, dict(request.query_params), place="query"))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        error = jobs_errors.NoRoom("The disk is full.")
    if isinstance(error, DBAPIError):
        error = writes.refusal(error) or error
    status, code, *rest = next(PROBLEMS[base] for base in type(error).__mro__ if base in PROBLEMS)
    if status >= 500:
        facts = {"request_id": request_id(request), "path": request.url.path, "error": str(error)}
        if status == 500:
            log.error(code, **facts, exc_info=error)
        else:  # what is foreseen needs no traceback, nor a line for each who asks
            log.error(code, **facts, recurs=True)
    headers = {**getattr(error, "headers", {}), **({"Retry-After": "2"} if status == 503 else {})}
    return problem(request, status, code, rest[0] if rest else str(error), headers=headers, **_extras(error))


def problem(
    request: Request, status: int, code: str, detail: str, *, headers: dict[str, str] | None = None, **extras: Any
) -> JSONResponse:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request_id(request),
        **extras,
    }
    # Also set by `api.http.request_id`, which an unforeseen error does not pass on its way out.
    named = {**(headers or {}), **browsers.HEADERS, "X-Request-ID": request_id(request)}
    return JSONResponse(body, status, headers=named, media_type="application/problem+json")


def request_id(request: Request) -> str:
    return str(request.scope.get("request_id", ""))


def _extras(error: Exception) -> dict[str, Any]:
    if isinstance(error, Invalid | NotJson | jobs_errors.SpecRefused):
        return {
            "errors": [
                {"in": fault.place, "pointer": fault.pointer, "message": fault.message} for fault in error.faults
            ]
        }
    if isinstance(error, jobs_errors.NotAllowed):
        return {"allowed": list(error.allowed)}
    return {}


def _router_problem(request: Request, error: HTTPException) -> JSONResponse:
    path, method = faults.quoted(request.url.path), method_of(request)
    if error.status_code == 404:
        return problem(request, 404, "not_found", f"There is nothing at {path}; /docs lists what there is.")
    if error.status_code == 405:
        allow = ", ".join(_methods(request)) or "GET, HEAD"  # none: the path is inside a folder of files
        detail = f"{path} does not take {method}; it takes {allow}."
        return problem(request, 405, "method_not_allowed", detail, headers={"Allow": allow})
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return problem(request, error.status_code, code, str(error.detail), headers=dict(error.headers or {}))


def _methods(request: Request) -> list[str]:
    """Every method that the path takes: Starlette's own Allow names only those of the first route that matches."""
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    return [
        method
        for method in methods
        if any(
            route.matches({**request.scope, "method": method.replace("HEAD", "GET")})[0] is Match.FULL
            for route in request.app.routes
        )
    ]
