"""What a job will take, by what those before it took: seconds for each image that a model is shown or labels, and the
memory of the same models.

Nothing is known of a model that has never run here, and nothing is said of it. On other images the same model takes as
much longer as they have more pixels, unless they are so small that it is not the pixels that take the time.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs.files import layout
from jobs.kinds import Kind
from jobs.queue import preflight
from jobs.queue.preflight import Preflight
from jobs.states import State
from jobs.tables import Job
from kd.data import packed_facts
from kd.data.catalog import DATASETS
from kd.errors import DataError
from kd.spec import Config, GuideConfig, TeacherOfJob, TeacherUploaded, TrainConfig, parse, teachers_in
from kd.spec.teacher import OneModel, arch_of, trained_in

# What of the past is asked: machines and versions change.
JOBS_ASKED = 100
# Of the same phase, model and images the last so many count.
SAMPLES = 10
# Of images with fewer numbers, 3 x 32 x 32, those with more say nothing, nor they of these.
SMALLEST_SIZE = 3_072

# Of another version, or its images are gone.
UNKNOWN = (ValidationError, DataError, KeyError)
MEMORY = "peak_memory_bytes.host"

Phase = str


class Task(NamedTuple):
    """What takes its time: a model that learns, or one that labels, on images of so many numbers."""

    does: str  # "learn", "label" or "evaluate"
    arch: str
    gpus: int
    size: int  # channels x height x width


class Models(NamedTuple):
    """Who is in memory, and with how much at once."""

    dataset: str
    student: str
    teachers: tuple[str, ...]
    batch_size: int
    gpus: int
    size: int  # channels x height x width


@dataclass(frozen=True)
class Estimate:
    """Seconds of each phase, and the most memory of the machine; None where nothing like it has run."""

    seconds: Mapping[Phase, float | None]
    start_seconds: float
    """Until the first phase, and after the last one."""
    memory_bytes: int | None
    jobs: int
    """By so many jobs."""
    error: float | None
    """By how much the estimates of earlier jobs were off as a rule, as a share of what those took; None: there are
    none."""

    @property
    def total_seconds(self) -> float | None:
        known = [each for each in self.seconds.values() if each is not None]
        return self.start_seconds + sum(known) if len(known) == len(self.seconds) else None

    def told(self) -> dict[str, Any]:
        """As users read it, and as a job keeps it."""
        return {
            "total_seconds": _rounded(self.total_seconds, 1),
            "seconds": {phase: _rounded(each, 1) for phase, each in self.seconds.items()},
            "memory_bytes": self.memory_bytes,
            "jobs": self.jobs,
            "error": _rounded(self.error, 3),
        }


def _rounded(number: float | None, digits: int) -> float | None:
    return None if number is None else round(number, digits)


@dataclass
class _Past:
    """What jobs took."""

    an_image: dict[Task, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds for each image."""
    start: list[float] = field(default_factory=list)
    memory: dict[Models, list[int]] = field(default_factory=lambda: defaultdict(list))
    errors: list[float] = field(default_factory=list)
    jobs: int = 0

    def seconds_an_image(self, task: Task) -> float | None:
        if task in self.an_image:
            return median(self.an_image[task][:SAMPLES])
        alike = [
            (abs(other.size - task.size), median(found[:SAMPLES]) * task.size / other.size)
            for other, found in self.an_image.items()
            if other._replace(size=task.size) == task and min(other.size, task.size) >= SMALLEST_SIZE
        ]
        return min(alike)[1] if alike else None


def foresee(session: Session, spec: Mapping[str, Any], data_dir: Path) -> Estimate | None:
    """What a job that was accepted will take; None where nobody can reckon it: its images are gone, say."""
    try:
        config = parse(dict(spec), accepted=True).config
        return estimate(session, config, preflight.reckon(config, data_dir, None), data_dir)
    except UNKNOWN:
        return None


def estimate(session: Session, config: TrainConfig | GuideConfig, found: Preflight, data_dir: Path) -> Estimate:
    """What a job with this config, of which so much is known, will take. One read, of some megabytes at most."""
    past = _past(session, data_dir)
    seconds: dict[Phase, float | None] = {}
    for phase, task, images in _tasks(config, found, data_dir):
        each = past.seconds_an_image(task)
        before = seconds.get(phase, 0.0)
        seconds[phase] = None if each is None or before is None else before + each * images
    memory = past.memory.get(_models(config, data_dir), ())[:SAMPLES]
    return Estimate(
        seconds,
        median(past.start) if past.start else 0.0,
        max(memory, default=None),
        past.jobs,
        median(past.errors) if past.errors else None,
    )


def _past(session: Session, data_dir: Path) -> _Past:
    past = _Past()
    ended = (
        select(Job.resolved_spec, Job.result, Job.run_seconds, Job.estimate, Job.attempt)
        .where(Job.state == State.SUCCEEDED, Job.kind == Kind.DISTILLATION)
        .order_by(Job.id.desc())
        .limit(JOBS_ASKED)
    )
    for spec, result, run_seconds, expected, attempt in session.execute(ended):
        try:
            config = parse(spec, accepted=True).config
            found = preflight.reckon(config, data_dir, None)
            tasks = list(_tasks(config, found, data_dir))
            models = _models(config, data_dir)
        except UNKNOWN:
            continue
        with contextlib.suppress(TypeError, AttributeError):  # a number that JSON has not, written by another version
            _learn(past, tasks, config, result or {}, run_seconds)
            if attempt > 1:
                continue  # the time was that of several, the memory that of the last one
            if models.gpus <= 1 and isinstance(peak := (result or {}).get("metrics", {}).get(MEMORY), int | float):
                past.memory[models].append(int(peak))
            if run_seconds and (total := (expected or {}).get("total_seconds")) is not None:
                past.errors.append(abs(total - run_seconds) / run_seconds)
    return past


def _learn(past: _Past, tasks: list[tuple[Phase, Task, int]], config: Config, result: Any, run_seconds: float) -> None:
    took, metrics = result.get("seconds", {}), result.get("metrics", {})
    if not took:
        return
    past.jobs += 1
    past.start.append(max(run_seconds - sum(took.values()), 0.0))
    together: dict[Phase, list[tuple[Task, int]]] = defaultdict(list)
    for phase, task, images in tasks:
        together[phase].append((task, images))
    for phase, parts in together.items():
        if len(parts) > 1 or not took.get(phase):
            continue  # of several that label together nobody knows whose time it was; labels that were there cost none
        (task, images), *_ = parts
        planned = _epochs(config, phase)
        done = metrics.get(f"{phase}.epochs")
        if planned and isinstance(done, int | float):  # it may have stopped earlier
            images = round(images * done / planned)
        if images > 0:
            past.an_image[task].append(took[phase] / images)


def _epochs(config: Config, phase: Phase) -> int | None:
    if phase in ("labelling", "evaluating"):
        return None
    trained = {_role(place): teacher.epochs for place, teacher in trained_in(config.teacher)}
    return trained.get(phase, config.epochs)


def _tasks(config: TrainConfig | GuideConfig, found: Preflight, data_dir: Path) -> Iterator[tuple[Phase, Task, int]]:
    """What each phase will do, and to how many images."""
    size, gpus = _size(config, data_dir), _gpus(config)
    learners = {_role(place): teacher.arch for place, teacher in trained_in(config.teacher)}
    for place, images in found.images_shown.items():
        role = _role(place)
        yield role, Task("learn", learners.get(role, config.student.arch), gpus, size), images
    for teacher in teachers_in(config.teacher).values():
        yield "labelling", Task("label", _whose(teacher), gpus, size), found.images_labelled
    yield "evaluating", Task("evaluate", config.student.arch, gpus, size), found.images


def _models(config: TrainConfig | GuideConfig, data_dir: Path) -> Models:
    teachers = tuple(_whose(teacher) for teacher in teachers_in(config.teacher).values())
    return Models(
        config.dataset, config.student.arch, teachers, config.batch_size, _gpus(config), _size(config, data_dir)
    )


def _gpus(config: Config) -> int:
    return config.resources.gpus if config.resources.device != "cpu" else 0


def _whose(teacher: OneModel) -> str:
    """Who labels: of files and of other jobs' models each is one of its own."""
    if isinstance(teacher, TeacherUploaded):
        return teacher.upload
    return f"{teacher.role} of {teacher.job}" if isinstance(teacher, TeacherOfJob) else str(arch_of(teacher))


def _role(place: str) -> str:
    """`teacher.2` of `teacher.committee.1`: phases count from 1."""
    name, _, number = place.rpartition(".committee.")
    return f"{name}.{int(number) + 1}" if name else place


def _size(config: Config, data_dir: Path) -> int:
    if packed_facts.is_packed(config.dataset):
        channels, height, width = packed_facts.read(data_dir / layout.DATASETS, config.dataset).shape
    else:
        channels, height, width = DATASETS[config.dataset].shape
    side = config.input_size
    return channels * (side * side if side else height * width)
