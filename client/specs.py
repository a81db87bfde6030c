"""What an answer says of what a job was asked to do, as far as this client and the commands rely on it."""

from typing import Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from client.part import Part


class Student(Part):
    arch: str


class Teacher(Part):
    """One that is trained, here or before, the job that trained it, a committee of such, labels, or a file."""

    arch: str | None = None
    as_built: str | None = None
    job: str | None = None
    role: str | None = None
    committee: list["Teacher"] | None = None
    labels: str | None = None
    upload: str | None = None

    @model_validator(mode="after")
    def _is_known(self) -> "Teacher":
        if not any((self.job and self.role, self.arch, self.as_built, self.committee, self.labels, self.upload)):
            raise PydanticCustomError("teacher", "should have an arch, a job and a role, a committee, labels or a file")
        return self


class Config(Part):
    dataset: str
    student: Student
    teacher: Teacher


class ResolvedSpec(Part):
    config: Config


class Ingest(Part):
    name: str


class IngestSpec(Part):
    mode: Literal["ingest"]
    config: Ingest


class EvaluateConfig(Part):
    dataset: str
    teacher: Teacher


class EvaluateSpec(Part):
    mode: Literal["evaluate"]
    config: EvaluateConfig


class Model(Part):
    job: str
    role: str


class ExportConfig(Part):
    format: str
    model: Model


class ExportSpec(Part):
    mode: Literal["export"]
    config: ExportConfig
