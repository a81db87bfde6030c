"""Teachers that jobs take over from one another: who may have which, and where its weights are."""

import contextlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from jobs.errors import ArtifactNotFound, CheckpointNotFound, JobNotFound, NoTeacher, NoTeacherYet
from jobs.files import find
from jobs.files.store import Stored
from jobs.job import get_job, keep_job
from jobs.states import FINAL, State
from jobs.tables import File, Job
from kd.outputs import TEACHER
from kd.spec import GuideSpec, TeacherOfJob, TrainSpec
from kd.spec.features import misses


def check(session: Session, spec: TrainSpec | GuideSpec) -> None:
    """Refuse a spec that names a teacher of another job unless it is there. Raises `NoTeacher`, or `NoTeacherYet` where
    it is worth to wait.

    In the transaction that adds the job: until it ends the teacher's job cannot be deleted.
    """
    wanted, dataset = spec.config.teacher, spec.config.dataset
    if not isinstance(wanted, TeacherOfJob):
        return
    keep_job(session, wanted.job)
    job = _lender(session, wanted)
    learnt_from = job.resolved_spec["config"]["dataset"]
    if learnt_from != dataset:
        raise NoTeacher(job.id, f"learnt from {learnt_from}, but this run is on {dataset}")
    _find_file(session, job, wanted)
    for field, why in misses(spec.config.objective, spec.config.student.arch, _arch(session, job, wanted)):
        raise NoTeacher(job.id, f"has a {wanted.role} that does not suit the objective: {field} {why}")


def check_again(session: Session, teacher: TeacherOfJob) -> None:
    """The same for a job that has waited for it.

    Of a job that did not succeed it takes no student: that one had not learnt out, and nobody chose it all the same.
    """
    job = _lender(session, teacher)
    if teacher.role == "student" and job.state in FINAL - {State.SUCCEEDED}:
        raise NoTeacher(job.id, f"{_past_tense(job.state)} before its student had learnt out")
    _find_file(session, job, teacher)


def teacher_of(spec: Mapping[str, Any]) -> TeacherOfJob | None:
    """The teacher that a stored spec takes over from another job; None if it trains its own."""
    given = spec["config"]["teacher"]
    return TeacherOfJob.model_validate(given) if "job" in given else None


def find_weights(session: Session, job_id: str, spec: Mapping[str, Any]) -> Stored | None:
    """The weights that a job's spec takes over; None if none, or if they are gone."""
    teacher = teacher_of(spec)
    if teacher is None:
        return None
    with contextlib.suppress(ArtifactNotFound):  # an earlier attempt of the job has made them its own
        return _stored(find.artifact(session, job_id, TEACHER))
    with contextlib.suppress(NoTeacher):
        return _stored(_find_file(session, _lender(session, teacher), teacher))
    return None


def _stored(file: File) -> Stored:
    return Stored(file.path, file.sha256)


def _lender(session: Session, teacher: TeacherOfJob) -> Job:
    try:
        return get_job(session, teacher.job)
    except JobNotFound:
        raise NoTeacher(teacher.job, "does not exist") from None


def _arch(session: Session, job: Job, wanted: TeacherOfJob) -> str | None:
    """The architecture of what a job lends; None where the job that has trained it is gone."""
    config = job.resolved_spec["config"]
    if wanted.role == "student":
        return str(config["student"]["arch"])
    taken = teacher_of(job.resolved_spec)
    if taken is None:
        return str(config["teacher"]["arch"])
    with contextlib.suppress(NoTeacher):
        return _arch(session, _lender(session, taken), taken)
    return None


def _find_file(session: Session, job: Job, teacher: TeacherOfJob) -> File:
    with contextlib.suppress(ArtifactNotFound, CheckpointNotFound):
        if teacher.role == "teacher":
            return find.artifact(session, job.id, TEACHER)
        if job.state in FINAL:  # until then a better student may take the best one's place
            student = find.checkpoint(session, job.id, "best").student
            assert student is not None, "only checkpoints with a student are found"
            return student
    if job.state in FINAL:
        raise NoTeacher(job.id, f"{_past_tense(job.state)} without a {teacher.role} to take over")
    raise NoTeacherYet(job.id, f"is {job.state} and has no finished {teacher.role} yet")


def _past_tense(state: State) -> str:
    return "was cancelled" if state is State.CANCELLED else str(state)
