"""Where `kd run` finds the teachers that it does not train."""

from pathlib import Path

from cli.errors import Misused
from jobs.files import layout
from kd.outputs import weights_of
from kd.spec import GuideSpec, TeacherOfJob, TeacherUploaded, TrainSpec, teachers_in
from kd.teachers import uploads


def find_teacher_files(
    run_spec: TrainSpec | GuideSpec, given: list[Path], data: Path, resumed: Path | None
) -> list[Path]:
    """The files of the teachers that come from elsewhere, in the spec's order: `given` for other jobs', those that were
    brought are in the data folder; a run that goes on has kept the former in its own. Raises `NoSuchTeacher`."""
    each, of_jobs = teachers_in(run_spec.config.teacher), iter(_of_jobs(run_spec, given, resumed))
    files = []
    for teacher in each.values():
        if isinstance(teacher, TeacherOfJob):
            files.append(next(of_jobs))
        elif isinstance(teacher, TeacherUploaded):
            uploads.read(data / layout.TEACHERS, teacher.upload)
            files.append(uploads.manifest(data / layout.TEACHERS, teacher.upload))
    return files


def _of_jobs(run_spec: TrainSpec | GuideSpec, given: list[Path], resumed: Path | None) -> list[Path]:
    each = teachers_in(run_spec.config.teacher).items()
    of_jobs = {role: teacher for role, teacher in each if isinstance(teacher, TeacherOfJob)}
    if not of_jobs:
        if given:
            raise Misused("--teacher-file needs a spec whose config.teacher names a job; this one does not.")
        return []
    kept = [resumed / weights_of(role) for role in of_jobs] if resumed is not None else []
    if kept and all(file.exists() for file in kept):
        if given:
            raise Misused(f"The run in {resumed} has its teacher already; leave --teacher-file out to go on with it.")
        return kept
    if len(given) != len(of_jobs):
        fetch = "; ".join(f"`kd download {teacher.job} {which(teacher)}`" for teacher in of_jobs.values())
        raise Misused(
            f"config.teacher names a job, so --teacher-file must name its weights: {fetch} fetches them."
            if len(of_jobs) == 1
            else f"config.teacher names {len(of_jobs)} jobs, so --teacher-file must name the weights of each, in their "
            f"order: {fetch} fetch them."
        )
    return given


def which(teacher: TeacherOfJob) -> str:
    """What `kd download` is asked for."""
    return "--checkpoint best" if teacher.role == "student" else f"--artifact {weights_of(teacher.role)}"
