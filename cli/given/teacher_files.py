"""Where `kd run` finds the models that it does not make: teachers, and weights to begin from."""

from pathlib import Path

from cli.errors import Misused
from jobs.files import layout
from kd.outputs import weights_of
from kd.spec import GuideSpec, TeacherOfJob, TeacherUploaded, TrainSpec, brought_in
from kd.spec.brought import is_start
from kd.teachers import uploads


def find_teacher_files(
    run_spec: TrainSpec | GuideSpec, given: list[Path], data: Path, resumed: Path | None
) -> list[Path]:
    """The files of the models that come from elsewhere, in the order of `brought_in`: `given` for other jobs', those
    that were brought are in the data folder; a run that goes on has kept other jobs' teachers in its own. Raises
    `NoSuchTeacher`."""
    each = brought_in(run_spec.config)
    of_jobs = _of_jobs(
        {role: one.what for role, one in each.items() if isinstance(one.what, TeacherOfJob)}, given, resumed
    )
    for role, model in ((role, one.what) for role, one in each.items()):
        if isinstance(model, TeacherUploaded):
            uploads.read(data / layout.TEACHERS, model.upload)
            of_jobs[role] = uploads.manifest(data / layout.TEACHERS, model.upload)
    return [of_jobs[role] for role in each]


def _of_jobs(wanted: dict[str, TeacherOfJob], given: list[Path], resumed: Path | None) -> dict[str, Path]:
    """The file of each, by its role. What a run has begun from it does not keep."""
    if not wanted:
        if given:
            raise Misused("--teacher-file needs a spec that names a job, to teach or to begin from; this one does not.")
        return {}
    teachers = [role for role in wanted if not is_start(role)]
    kept = {role: resumed / weights_of(role) for role in teachers} if resumed is not None else {}
    if not all(file.exists() for file in kept.values()):
        kept = {}
    missing = {role: model for role, model in wanted.items() if role not in kept}
    if given and not missing:
        raise Misused(f"The run in {resumed} has its teacher already; leave --teacher-file out to go on with it.")
    if len(given) != len(missing):
        fetch = "; ".join(f"{role}: `kd download {model.job} {which(model)}`" for role, model in missing.items())
        raise Misused(
            f"The spec names a job, so --teacher-file must name its weights ({fetch} fetches them)."
            if len(missing) == 1
            else f"The spec names {len(missing)} models of jobs, so --teacher-file must name the weights of each, in "
            f"this order ({fetch})."
        )
    return kept | dict(zip(missing, given, strict=True))


def which(teacher: TeacherOfJob) -> str:
    """What `kd download` is asked for."""
    return "--checkpoint best" if teacher.role == "student" else f"--artifact {weights_of(teacher.role)}"
