"""Where the teacher comes from."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from kd.spec.names import Arch, JobId
from kd.spec.part import Part
from kd.spec.recipe import (
    ACCUMULATION_SAYS,
    EMA_SAYS,
    Augmentation,
    BatchSize,
    EmaDecay,
    Epochs,
    GradientAccumulation,
    Optimizer,
    Schedule,
)


class Teacher(Part):
    """A teacher trained in this run, with a recipe of its own."""

    arch: Arch = "cnn"
    epochs: Epochs = Field(default=12, description="at most; training stops early on a plateau")
    patience: int = Field(default=4, ge=1, le=10_000, description="epochs without a better validation accuracy")
    augmentation: Augmentation | None = Field(default=None, description="default: crops and flips as the student's")
    batch_size: BatchSize = 64
    gradient_accumulation: GradientAccumulation = Field(default=1, description=ACCUMULATION_SAYS)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    ema: EmaDecay | None = Field(default=None, description=EMA_SAYS)


class TeacherOfJob(Part):
    """A teacher that is not trained in this run: another job on the same data set has it."""

    job: JobId = Field(description="the job that trained it")
    role: Literal["teacher", "student"] = Field(
        default="teacher", description="which of its models; of its students the best one"
    )


def _kind_of_teacher(given: Any) -> str:
    # What is neither gets its complaint as the usual kind.
    of_job = "job" in given if isinstance(given, dict) else isinstance(given, TeacherOfJob)
    return "of a job" if of_job else "trained here"


AnyTeacher = Annotated[
    Annotated[Teacher, Tag("trained here")] | Annotated[TeacherOfJob, Tag("of a job")], Discriminator(_kind_of_teacher)
]
