"""What POST /jobs takes: a mode and its config (`kd.spec`) in an envelope that the library never sees."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends
from pydantic import Field, ValidationError
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError
from sqlalchemy.orm import Session

from api.dependencies import Settings
from api.http import body as json_body
from api.http.problems import Invalid
from jobs.errors import NoTeacher
from jobs.queue import submit
from jobs.teachers import lending
from kd import spec
from kd.data import packed_facts
from kd.errors import DataError
from kd.spec import faults
from kd.spec.faults import Fault

# In the dialect that Python and JSON Schema share.
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"
LABEL_KEY = r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$"


def printable(text: str) -> str:
    """Text that any terminal, log and database can hold."""
    if not re.fullmatch(PRINTABLE, text):
        raise PydanticCustomError("printable", "must not hold control characters, such as line ends")
    return text


def label_key(key: str) -> str:
    if not re.fullmatch(LABEL_KEY, key):
        raise PydanticCustomError(
            "label_key", "is no key for a label: 1 to 63 letters, digits and . _ / -, a letter or digit at both ends"
        )
    return key


# The patterns are for readers of the schema; the validators say in words what is wrong.
SHOWN = {"pattern": PRINTABLE}
Name = Annotated[str, Field(min_length=1, max_length=200, json_schema_extra=SHOWN), AfterValidator(printable)]
LabelKey = Annotated[str, AfterValidator(label_key)]
LabelValue = Annotated[str, Field(max_length=255, json_schema_extra=SHOWN), AfterValidator(printable)]


Seconds = Annotated[float, Field(gt=0, le=1e8)]


class Limits(spec.Part):
    """How long a job may take, in seconds."""

    max_run_seconds: Seconds | None = Field(default=None, description="of training, over all attempts")
    max_queue_seconds: Seconds | None = Field(default=None, description="until its first start")
    max_stall_seconds: Annotated[float, Field(ge=10, le=1e8)] | None = Field(
        default=None,
        description="without a word from its trainer; at least 10, for it is silent while it loads torch",
    )


class Envelope(spec.Part):
    name: Name | None = Field(default=None, description="what people call the job")
    labels: dict[LabelKey, LabelValue] = Field(
        default={},
        max_length=32,
        description="to find jobs by, as in GET /jobs?label=team=vision",
        json_schema_extra={"propertyNames": {"pattern": LABEL_KEY}},
    )
    priority: int = Field(default=0, ge=-100, le=100, description="higher starts first")
    limits: Limits = Limits()
    keep_last: int = Field(
        default=1, ge=1, le=100, description="of the newest students, beside the best one and those that are pinned"
    )


class TrainSubmission(Envelope, spec.TrainSpec):
    """The teacher labels the data once; the student trains on the labels."""


class GuideSubmission(Envelope, spec.GuideSpec):
    """The teacher guides: every few epochs it labels fresh views of the data at the student's side."""


SUBMISSIONS: dict[str, type[TrainSubmission] | type[GuideSubmission]] = {
    "train": TrainSubmission,
    "guide": GuideSubmission,
}


@dataclass(frozen=True)
class Submission:
    """A body that was understood. `given` is its mode and config as they came, before defaults."""

    body: Any
    spec: spec.TrainSpec | spec.GuideSpec
    given: dict[str, Any]
    name: str | None
    labels: dict[str, str]
    priority: int
    limits: submit.Limits
    keep_last: int


def parse(body: json_body.Body) -> Submission:
    """The submission in a body, or an error that names every problem and its place."""
    return understand(json_body.parse(body))


def understand(given: Any) -> Submission:
    """The same of JSON that was read."""
    if not isinstance(given, dict):
        raise Invalid([Fault("", 'should be an object, such as {"mode": "train", "config": {}}')])
    mode = given.get("mode")
    if not isinstance(mode, str) or mode not in SUBMISSIONS:
        wrong = f"there is no mode {faults.quoted(mode)}" if "mode" in given else "is missing"
        raise Invalid([Fault("/mode", f"{wrong}; the modes are {', '.join(SUBMISSIONS)}")])
    try:
        found = SUBMISSIONS[mode].model_validate(given)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        raise Invalid(faults.find(details, given, model=SUBMISSIONS[mode])) from None
    return Submission(
        body=given,
        spec=spec.parse({"mode": mode, "config": given["config"]}),
        given={"mode": mode, "config": given["config"]},
        name=found.name,
        labels=found.labels,
        priority=found.priority,
        limits=submit.Limits(**found.limits.model_dump()),
        keep_last=found.keep_last,
    )


def check_data(submission: Submission, settings: Settings) -> None:
    """Refuse a packed data set that is not to be had, which the spec alone does not tell."""
    if missing := _packed_faults(submission.spec.config, settings.data_dir / "datasets"):
        raise Invalid(missing)


def check_teacher(session: Session, submission: Submission) -> None:
    """Refuse a teacher of another job that is not to be had; until the transaction ends it stays."""
    try:
        lending.check(session, submission.spec)
    except NoTeacher as error:
        raise Invalid([Fault("/config/teacher/job", error.why)]) from None


def _packed_faults(config: spec.Config, folder: Path) -> list[Fault]:
    """What only the data folder knows: whether a packed data set is there, and whether its images allow the crops."""
    if not packed_facts.is_packed(config.dataset):
        return []
    try:
        if config.dataset not in packed_facts.names(folder):
            return [Fault("/config/dataset", packed_facts.missing(folder, config.dataset))]
        _, height, width = packed_facts.read(folder, config.dataset).shape
    except (DataError, OSError) as error:
        return [Fault("/config/dataset", str(error))]
    fault = config.crop_fault(height, width)
    return [Fault("/config", fault)] if fault is not None else []


Submitted = Annotated[Submission, Depends(parse)]


# -- changing a job ----------------------------------------------------------------------------------------------


class Change(spec.Part):
    """What users may change of a job; what is not named stays."""

    name: Name | None = None
    labels: dict[LabelKey, LabelValue] = Field(default={}, max_length=32)
    priority: int = Field(default=0, ge=-100, le=100)


def _change(body: json_body.Body) -> dict[str, Any]:
    given = json_body.parse(body)
    try:
        return Change.model_validate(given).model_dump(exclude_unset=True)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        raise Invalid(faults.find(details, given, model=Change)) from None


Changed = Annotated[dict[str, Any], Depends(_change)]
