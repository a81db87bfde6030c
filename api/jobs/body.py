"""What requests about jobs bring: a mode and its config (`kd.spec`) in an envelope, or changes of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import Field

from api.dependencies import Settings
from api.http import body
from api.http.problems import Invalid
from jobs.envelope import Change, Envelope
from jobs.files import layout
from jobs.queue.submit import Submission
from kd import spec
from kd.spec import faults
from kd.spec.faults import Fault


class TrainSubmission(Envelope, spec.TrainSpec):
    """The teacher labels the data once; the student trains on the labels."""


class GuideSubmission(Envelope, spec.GuideSpec):
    """The teacher guides: every few epochs it labels fresh views of the data at the student's side."""


SUBMISSIONS: dict[str, type[TrainSubmission] | type[GuideSubmission]] = {
    "train": TrainSubmission,
    "guide": GuideSubmission,
}


class _Amendment(spec.Part):
    use_suggested_patch: bool = Field(default=False, description="apply the failed job's `error.suggested_patch`")
    patch: dict[str, Any] = Field(
        default={}, description="a JSON merge patch (RFC 7396) of mode and config; applied after the suggested one"
    )


class Retry(Envelope, _Amendment):
    """What shall be other than before; without it everything is as it was."""


@dataclass(frozen=True)
class NewJob:
    """A body of POST /jobs: as it came, and what it means."""

    body: Any
    submission: Submission


@dataclass(frozen=True)
class Again:
    """A body of POST /jobs/{id}/retry."""

    body: Any
    retry: Retry


def understand(given: Any, data_dir: Path) -> Submission:
    """The submission in JSON that was parsed, or a refusal that names every problem and its place."""
    data_folder = data_dir / layout.DATASETS
    if not isinstance(given, dict):
        raise Invalid([Fault("", 'should be an object, such as {"mode": "train", "config": {}}')])
    mode = given.get("mode")
    if not isinstance(mode, str) or mode not in SUBMISSIONS:
        wrong = f"there is no mode {faults.quoted(mode)}" if "mode" in given else "is missing"
        raise Invalid([Fault("/mode", f"{wrong}; the modes are {', '.join(SUBMISSIONS)}")])
    found = body.understand(SUBMISSIONS[mode], given, spec.context(data_folder=data_folder))
    asked = {"mode": mode, "config": given["config"]}
    envelope = Envelope.model_validate({name: getattr(found, name) for name in Envelope.model_fields})
    return Submission(spec.parse({"mode": mode, "config": found.config}), asked, envelope)


def _new_job(content: body.Body, settings: Settings) -> NewJob:
    given = body.parse(content)
    return NewJob(given, understand(given, settings.data_dir))


async def _read_or_none(request: Request) -> bytes:
    return await body.read(request) if await request.body() else b""


def _again(content: Annotated[bytes, Depends(_read_or_none)]) -> Again:
    given = body.parse(content) if content else {}
    return Again(given, body.understand(Retry, given))


Submitted = Annotated[NewJob, Depends(_new_job)]
Retried = Annotated[Again, Depends(_again)]
Changed = Annotated[Change, Depends(body.of(Change))]


# For `openapi_extra`: routes read these bodies themselves, more strictly than FastAPI would.
SUBMISSION_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [{"$ref": body.REF.format(model=model.__name__)} for model in SUBMISSIONS.values()],
                    "discriminator": {
                        "propertyName": "mode",
                        "mapping": {mode: body.REF.format(model=model.__name__) for mode, model in SUBMISSIONS.items()},
                    },
                },
                "examples": {mode: {"value": {"mode": mode, "config": {}}} for mode in SUBMISSIONS},
            }
        },
    }
}
CHANGE_BODY = body.reference(Change)
RETRY_BODY = body.reference(Retry, required=False)
