"""Where the teacher comes from: trained here or before, of another job, brought as a file, a committee of such, or
labels made elsewhere."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from kd.spec.augmentation import Augmentation
from kd.spec.brought import START_SAYS, AnyStart, Brought, TeacherOfJob, TeacherUploaded
from kd.spec.names import Arch, OwnArch, TableId
from kd.spec.part import Part, without_default
from kd.spec.recipe import (
    ACCUMULATION_SAYS,
    EMA_SAYS,
    BatchSize,
    EmaDecay,
    Epochs,
    GradientAccumulation,
    Optimizer,
    Schedule,
)

MOST_MEMBERS = 8


class Teacher(Part):
    """A teacher trained in this run, with a recipe of its own."""

    arch: Arch = "cnn"
    start: AnyStart | None = Field(default=None, description=START_SAYS)
    epochs: Epochs = Field(
        default=12,
        description="at most; training stops early on a plateau; defaults to the recipe's",
        json_schema_extra=without_default,
    )
    patience: int = Field(
        default=4,
        ge=1,
        le=10_000,
        description="epochs without a better validation accuracy; defaults to the recipe's, or to 4 beside epochs",
        json_schema_extra=without_default,
    )
    augmentation: Augmentation | None = Field(default=None, description="default: crops and flips as the student's")
    batch_size: BatchSize = 64
    gradient_accumulation: GradientAccumulation = Field(default=1, description=ACCUMULATION_SAYS)
    optimizer: Optimizer = Field(default=Optimizer(), json_schema_extra=without_default)
    schedule: Schedule = Field(default=Schedule(), json_schema_extra=without_default)
    ema: EmaDecay | None = Field(default=None, description=EMA_SAYS)


class TeacherAsBuilt(Part):
    """A teacher that is trained already: the factory of an architecture of one's own gives it with its weights."""

    as_built: OwnArch = Field(description="an architecture of your own, built with its weights")


def _kind_of_teacher(given: Any) -> str:
    # What is none of them gets its complaint as the usual kind.
    for kind, mark, field in (
        ("of a job", TeacherOfJob, "job"),
        ("as built", TeacherAsBuilt, "as_built"),
        ("a committee", Committee, "committee"),
        ("of labels", TeacherLabels, "labels"),
        ("uploaded", TeacherUploaded, "upload"),
    ):
        if field in given if isinstance(given, dict) else isinstance(given, mark):
            return kind
    return "trained here"


def _kind_of_member(given: Any) -> str:
    kind = _kind_of_teacher(given)
    return kind if kind in ("of a job", "uploaded", "as built") else "trained here"


OneModel = Teacher | TeacherOfJob | TeacherUploaded | TeacherAsBuilt
Ready = Brought | TeacherAsBuilt
"""Who is trained already."""

Member = Annotated[
    Annotated[Teacher, Tag("trained here")]
    | Annotated[TeacherOfJob, Tag("of a job")]
    | Annotated[TeacherUploaded, Tag("uploaded")]
    | Annotated[TeacherAsBuilt, Tag("as built")],
    Discriminator(_kind_of_member),
]


def _of_several(members: tuple[OneModel, ...]) -> tuple[OneModel, ...]:
    if not 2 <= len(members) <= MOST_MEMBERS:
        raise PydanticCustomError(
            "committee",
            "a committee has 2 to {most} members, not {given}; of a single one give its fields as the teacher's",
            {"most": MOST_MEMBERS, "given": len(members)},
        )
    ready = [member for member in members if isinstance(member, Ready)]
    for place, member in enumerate(ready):
        if member in ready[:place]:
            raise PydanticCustomError(
                "committee",
                "{which} is named twice; a committee gains by members that differ",
                {"which": _named(member)},
            )
    return members


def _named(member: "Ready") -> str:
    if isinstance(member, TeacherOfJob):
        return f"the {member.role} of {member.job}"
    return member.upload if isinstance(member, TeacherUploaded) else member.as_built


class Committee(Part):
    """Several teachers at once: the student learns from the mean of their probabilities."""

    committee: Annotated[tuple[Member, ...], AfterValidator(_of_several)] = Field(
        strict=False,  # JSON has lists, no tuples
        description="2 to 8 teachers, each trained here, another job's, brought or as built; those that are trained "
        "differ in their seeds",
    )


class TeacherLabels(Part):
    """No teacher, but what one has said of the images as they are: a table that somebody has pushed."""

    labels: TableId = Field(description="the label table")


AnyTeacher = Annotated[
    Annotated[Teacher, Tag("trained here")]
    | Annotated[TeacherOfJob, Tag("of a job")]
    | Annotated[TeacherAsBuilt, Tag("as built")]
    | Annotated[Committee, Tag("a committee")]
    | Annotated[TeacherLabels, Tag("of labels")]
    | Annotated[TeacherUploaded, Tag("uploaded")],
    Discriminator(_kind_of_teacher),
]


OneOfThem = OneModel | Committee | TeacherLabels


def teachers_in(teacher: OneOfThem) -> dict[str, OneModel]:
    """Those whose models teach, by their roles: `teacher`, or a committee's `teacher.1` and so on; of labels nobody."""
    if isinstance(teacher, TeacherLabels):
        return {}
    if isinstance(teacher, Committee):
        return {f"teacher.{number}": member for number, member in enumerate(teacher.committee, 1)}
    return {"teacher": teacher}


def arch_of(teacher: OneOfThem) -> str | None:
    """The architecture of a single teacher, as far as the spec says it."""
    if isinstance(teacher, TeacherAsBuilt):
        return teacher.as_built
    return teacher.arch if isinstance(teacher, Teacher) else None


def trained_in(teacher: OneOfThem) -> Iterator[tuple[str, Teacher]]:
    """Those that are trained here, each with its place in the spec: `teacher`, or `teacher.committee.0`, say."""
    members = teachers_in(teacher).values()
    for place, member in enumerate(members):
        if isinstance(member, Teacher):
            yield (f"teacher.committee.{place}" if isinstance(teacher, Committee) else "teacher"), member
