"""Where `kd run` finds the models that it does not make: teachers, and weights to begin from."""

from pathlib import Path

from cli.errors import Misused
from jobs.files import layout
from kd.outputs import weights_of
from kd.spec import GuideSpec, TeacherOfJob, TrainSpec, brought_in
from kd.spec.brought import is_start
from kd.teachers import uploads


def find_teacher_files(
    run_spec: TrainSpec | GuideSpec, given: list[Path], data: Path, resumed: Path | None
) -> list[Path]:
    """The files of the models that come from elsewhere, in the order of `brought_in`: `given` for other jobs', those
    that were brought are in the data folder; a run that goes on has kept other jobs' teachers in its own. Raises
    `NoSuchTeacher`."""
    of_jobs, files = iter(_of_jobs(run_spec, given, resumed)), []
    for model in (each.what for each in brought_in(run_spec.config).values()):
        if isinstance(model, TeacherOfJob):
            files.append(next(of_jobs))
        else:
            uploads.read(data / layout.TEACHERS, model.upload)
            files.append(uploads.manifest(data / layout.TEACHERS, model.upload))
    return files


def _of_jobs(run_spec: TrainSpec | GuideSpec, given: list[Path], resumed: Path | None) -> list[Path]:
    each = brought_in(run_spec.config).items()
    of_jobs = {role: given.what for role, given in each if isinstance(given.what, TeacherOfJob)}
    if not of_jobs:
        if given:
            raise Misused("--teacher-file needs a spec that names a job, to teach or to begin from; this one does not.")
        return []
    kept = [resumed / weights_of(role) for role in of_jobs if not is_start(role)] if resumed is not None else []
    if len(kept) == len(of_jobs) and all(file.exists() for file in kept):
        if given:
            raise Misused(f"The run in {resumed} has its teacher already; leave --teacher-file out to go on with it.")
        return kept
    if len(given) != len(of_jobs):
        fetch = "; ".join(f"`kd download {model.job} {which(model)}`" for model in of_jobs.values())
        raise Misused(
            f"The spec names a job, so --teacher-file must name its weights: {fetch} fetches them."
            if len(of_jobs) == 1
            else f"The spec names {len(of_jobs)} models of jobs, so --teacher-file must name the weights of each, in "
            f"their order: {fetch} fetch them."
        )
    return given


def which(teacher: TeacherOfJob) -> str:
    """What `kd download` is asked for."""
    return "--checkpoint best" if teacher.role == "student" else f"--artifact {weights_of(teacher.role)}"
