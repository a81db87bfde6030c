"""What POST /jobs/{id}/retry takes: nothing, or what shall be other than in the job that has ended."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import Field, ValidationError
from sqlalchemy.orm import Session

from api.http.body import parse, read
from api.http.problems import Invalid
from api.jobs.submit import LabelKey, LabelValue, Limits, Name, Submission, understand
from jobs.errors import NotAllowed
from jobs.job import get_job
from jobs.states import ACTIONS, FINAL
from jobs.tables import Job
from kd import spec
from kd.spec import faults
from kd.spec.faults import Fault

ENVELOPE = ("name", "labels", "priority", "limits", "keep_last")


class Retry(spec.Part):
    """What shall be other than before; without it everything is as it was."""

    use_suggested_patch: bool = Field(default=False, description="apply the failed job's `error.suggested_patch`")
    patch: dict[str, Any] = Field(
        default={}, description="a JSON merge patch (RFC 7396) of mode and config; applied after the suggested one"
    )
    name: Name | None = None
    labels: dict[LabelKey, LabelValue] = Field(default={}, max_length=32)
    priority: int = Field(default=0, ge=-100, le=100)
    limits: Limits = Limits()
    keep_last: int = Field(default=1, ge=1, le=100)


@dataclass(frozen=True)
class Wish:
    """A body that was understood."""

    body: Any
    retry: Retry


async def _body(request: Request) -> bytes:
    return await read(request) if await request.body() else b""


def _wish(body: Annotated[bytes, Depends(_body)]) -> Wish:
    """In a thread, as for a submission: a body may be large."""
    if not body:
        return Wish({}, Retry())
    given = parse(body)
    try:
        return Wish(given, Retry.model_validate(given))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        raise Invalid(faults.find(details, given, model=Retry)) from None


Wanted = Annotated[Wish, Depends(_wish)]


def submission(session: Session, job_id: str, wish: Wish) -> Submission:
    """The job's own submission with what is wished otherwise. Raises `NotAllowed` while the job has not ended."""
    job = get_job(session, job_id)
    if job.state not in FINAL:
        raise NotAllowed(job_id, job.state, "retry", ACTIONS[job.state])
    return understand(_envelope(job) | _other(wish) | _spec(job, wish.retry))


def _spec(job: Job, retry: Retry) -> dict[str, Any]:
    patched: dict[str, Any] = job.spec
    if retry.use_suggested_patch:
        suggested = (job.error or {}).get("suggested_patch")
        if suggested is None:
            raise Invalid([Fault("/use_suggested_patch", "there is none: the job's error suggests no patch")])
        patched = merged(patched, suggested)
    if unknown := retry.patch.keys() - {"mode", "config"}:
        raise Invalid([Fault(f"/patch/{sorted(unknown)[0]}", "a patch has mode and config, and nothing else")])
    patched = merged(patched, retry.patch)
    return {name: patched[name] for name in ("mode", "config") if name in patched}


def _envelope(job: Job) -> dict[str, Any]:
    limits = {name: getattr(job, name) for name in Limits.model_fields}
    return {
        "name": job.name,
        "labels": job.labels,
        "priority": job.priority,
        "limits": limits,
        "keep_last": job.keep_last,
    }


def _other(wish: Wish) -> dict[str, Any]:
    return {name: wish.body[name] for name in ENVELOPE if name in wish.body}


def merged(target: Any, patch: Any) -> Any:
    """The target after a JSON merge patch (RFC 7396): null removes, objects are merged, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
