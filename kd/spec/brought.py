"""Models that are not made in this run: another job's, or one that somebody has brought. They teach as they are, or
give a model that learns here its first weights."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from kd.spec.names import JobId, UploadId
from kd.spec.part import Part

Role = Literal[
    "teacher",
    "student",
    "teacher.1",
    "teacher.2",
    "teacher.3",
    "teacher.4",
    "teacher.5",
    "teacher.6",
    "teacher.7",
    "teacher.8",
]

Module = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$")]


def _each_once(modules: tuple[str, ...]) -> tuple[str, ...]:
    for place, module in enumerate(modules):
        if module in modules[:place]:
            raise PydanticCustomError("frozen", "{module} is named twice", {"module": module})
    return modules


class TeacherOfJob(Part):
    """A teacher that is not trained in this run: another job on the same data set has it."""

    job: JobId = Field(description="the job that trained it")
    role: Role = Field(
        default="teacher",
        description="which of its models: of its students the best one; of its committee a member, teacher.1, say",
    )


class TeacherUploaded(Part):
    """A teacher that somebody has brought: an ONNX model of whatever architecture, or weights of one that is known."""

    upload: UploadId = Field(description="its id, as `kd teacher add` says it")


Brought = TeacherOfJob | TeacherUploaded
"""Whose weights come as a file."""


class _FineTuned(Part):
    """How what was taken over goes on learning."""

    frozen: Annotated[tuple[Module, ...], AfterValidator(_each_once)] = Field(
        default=(),
        strict=False,  # JSON has lists, no tuples
        max_length=1_000,
        description="parts of the network that stay as they came, statistics too, by their names in it: layer1, say",
    )
    body_rate: float = Field(
        default=1, gt=0, le=1, description="the rate of all but the head, as a share of the recipe's"
    )


class StartOfJob(TeacherOfJob, _FineTuned):
    """First weights from another job's model of the same architecture, on whatever data set."""


class StartUploaded(TeacherUploaded, _FineTuned):
    """First weights from a safetensors file that somebody has brought, of the same architecture."""


class StartPublished(_FineTuned):
    """First weights from what timm, or torchvision, publishes of the same architecture."""

    published: Literal[True] = Field(
        description="the file that timm or torchvision has in its cache, where the job runs"
    )


Start = StartOfJob | StartUploaded | StartPublished


def _kind_of_start(given: Any) -> str:
    # What is none of them gets its complaint as the usual kind.
    for kind, mark, field in (("of a job", StartOfJob, "job"), ("published", StartPublished, "published")):
        if field in given if isinstance(given, dict) else isinstance(given, mark):
            return kind
    return "uploaded"


AnyStart = Annotated[
    Annotated[StartOfJob, Tag("of a job")]
    | Annotated[StartUploaded, Tag("uploaded")]
    | Annotated[StartPublished, Tag("published")],
    Discriminator(_kind_of_start),
]
START = ".start"
START_SAYS = "weights to begin from, of the same architecture; none: it is born anew"


def start_of(role: str) -> str:
    """What the file is called from which a model begins that has this role in the run."""
    return f"{role}{START}"


def is_start(role: str) -> bool:
    return role.endswith(START)
