"""Teachers that jobs take over from one another: who may have which, and where its weights are."""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, exists, or_, select, text
from sqlalchemy.orm import Session, aliased

from jobs.errors import (
    ArtifactNotFound,
    CheckpointNotFound,
    JobNotFound,
    NoTeacher,
    NoTeacherYet,
    SpecRefused,
)
from jobs.files import find, layout
from jobs.files.store import Stored
from jobs.job import get_job, keep_job
from jobs.kinds import Kind
from jobs.states import FINAL, State
from jobs.tables import File, Job, Loan
from kd.outputs import weights_of
from kd.spec import GuideSpec, TeacherLabels, TeacherOfJob, TeacherUploaded, TrainSpec, brought_in
from kd.spec.brought import StartOfJob, StartUploaded, is_start, start_of
from kd.spec.faults import Fault
from kd.spec.terms.features import misses
from kd.teachers import uploads
from kd.teachers.uploads import NoSuchTeacher


def check(session: Session, spec: TrainSpec | GuideSpec, data_dir: Path) -> str | None:
    """Refuse a spec that names models of other jobs, to teach or to begin from, which are not to be had. Raises
    `SpecRefused`.

    Returns the job that is to be waited for: the first that is still to have what it lends; None if all is there. In
    the transaction that adds the job: until it ends the models' jobs cannot be deleted.
    """
    wanted = [
        (given.pointer, given.what, given.arch)
        for given in brought_in(spec.config).values()
        if isinstance(given.what, TeacherOfJob)
    ]
    for job_id in sorted({model.job for _, model, _ in wanted}):  # in one order, as whoever deletes locks them
        keep_job(session, job_id)
    faults: list[Fault] = []
    models: dict[str, str] = {}
    waits_for = None
    for place, teacher, arch in wanted:
        try:
            if arch is not None:
                _check_start(session, teacher, arch, data_dir)
                continue
            sha256 = _check_one(session, teacher, spec, data_dir)
        except NoTeacherYet as error:
            waits_for = waits_for or error.job_id
            continue
        except NoTeacher as error:
            faults.append(Fault(f"{place}/job", error.why))
            continue
        if (twin := models.setdefault(sha256, place)) != place:
            why = f"has the very model of {twin}; a committee gains by members that differ"
            faults.append(Fault(f"{place}/job", why))
    if faults:
        raise SpecRefused(faults)
    return waits_for


def check_lent(session: Session, model: TeacherOfJob) -> None:
    """Raise `NoTeacher` unless a job has this model, whatever it is for."""
    _find_file(session, _lender(session, model), model)


def check_again(session: Session, teachers: Iterable[TeacherOfJob]) -> None:
    """The same for a job that has waited for them. Raises `NoTeacher` if one will not come any more; else
    `NoTeacherYet`, of the first that is still to come.

    Of a job that did not succeed it takes no student: that one had not learnt out, and nobody chose it all the same.
    """
    not_yet = None
    for teacher in teachers:
        job = _lender(session, teacher)
        if teacher.role == "student" and job.state in FINAL - {State.SUCCEEDED}:
            raise NoTeacher(job.id, f"{_past_tense(job.state)} before its student had learnt out")
        try:
            _find_file(session, job, teacher)
        except NoTeacherYet as error:
            not_yet = not_yet or error
    if not_yet is not None:
        raise not_yet


def keep_what_is_lent(session: Session) -> None:
    """Until this transaction ends, nothing that somebody has brought is deleted."""
    _lock_loans(session, "ROW EXCLUSIVE")


def keep_borrowers_away(session: Session) -> None:
    """Until this transaction ends, no job comes that would borrow what somebody has brought."""
    _lock_loans(session, "SHARE ROW EXCLUSIVE")


def _lock_loans(session: Session, mode: str) -> None:
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time
        session.execute(text(f"LOCK TABLE loans IN {mode} MODE"))


def loans_of(spec: TrainSpec | GuideSpec) -> set[str]:
    """What a job borrows, besides another job's teacher: the ids of the jobs that lend its committee, or weights to
    begin from, of models or labels that somebody has brought."""
    teacher = spec.config.teacher
    lent = {teacher.labels} if isinstance(teacher, TeacherLabels) else set()
    for one in (given.what for given in brought_in(spec.config).values()):
        if isinstance(one, TeacherUploaded):
            lent.add(one.upload)
        elif one is not teacher:
            lent.add(one.job)
    return lent


def lends(job: type[Job]) -> ColumnElement[bool]:
    """Whether a job lends a teacher to one that has not ended."""
    one, several = aliased(Job), aliased(Job)
    return or_(
        exists().where(one.teacher_job_id == job.id, one.state.not_in(FINAL)),
        exists().where(Loan.lends == job.id, Loan.job_id == several.id, several.state.not_in(FINAL)),
    )


def borrowers(session: Session, lender: str, *, limit: int) -> list[str]:
    """Jobs that have not ended and borrow from this job, this label table or this teacher."""
    of_one = select(Job.id).where(Job.teacher_job_id == lender, Job.state.not_in(FINAL))
    of_several = select(Job.id).join(Loan, Loan.job_id == Job.id).where(Loan.lends == lender, Job.state.not_in(FINAL))
    return list(session.execute(of_one.union(of_several).order_by("id").limit(limit)).scalars())


def borrowed(spec: Mapping[str, Any]) -> dict[str, TeacherOfJob]:
    """Those of a stored spec, each by its role in the run: `teacher`, or a committee's `teacher.2`."""
    return {role: one for role, one in brought(spec).items() if isinstance(one, TeacherOfJob)}


def brought(spec: Mapping[str, Any]) -> dict[str, TeacherOfJob | TeacherUploaded]:
    """The same with those that somebody has brought as files, in the order of `kd.spec.brought_in`."""
    found: dict[str, TeacherOfJob | TeacherUploaded] = {}
    for role, one in _models(spec["config"]).items():
        if "job" in one:
            found[role] = (StartOfJob if is_start(role) else TeacherOfJob).model_validate(one)
        elif "upload" in one:
            found[role] = (StartUploaded if is_start(role) else TeacherUploaded).model_validate(one)
    return found


def find_weights(session: Session, job_id: str, spec: Mapping[str, Any]) -> dict[str, Stored]:
    """The weights that a job's spec takes over, by their roles there; those that are gone are left out."""
    found: dict[str, Stored] = {}
    for role, teacher in borrowed(spec).items():
        with contextlib.suppress(NoTeacher):
            found[role] = _stored(_find_file(session, _lender(session, teacher), teacher))
        if isinstance(teacher, StartOfJob):
            continue
        with contextlib.suppress(ArtifactNotFound):  # an earlier attempt of the job has made them its own
            found[role] = _stored(find.artifact(session, job_id, weights_of(role)))
    return found


def _stored(file: File) -> Stored:
    return Stored(file.path, file.sha256)


def _check_one(session: Session, teacher: TeacherOfJob, spec: TrainSpec | GuideSpec, data_dir: Path) -> str:
    """The sha256 of its weights. Raises `NoTeacher`."""
    job, config = _lender(session, teacher), spec.config
    learnt_from = job.resolved_spec["config"]["dataset"]
    if learnt_from != config.dataset:
        raise NoTeacher(job.id, f"learnt from {learnt_from}, but this run is on {config.dataset}")
    its, ours = job.resolved_spec["config"].get("input_size"), config.input_size
    if None not in (its, ours) and its != ours:  # of one that says none only the images tell it, which the run does
        raise NoTeacher(job.id, f"has models that see {its}×{its} pixels, and those of this run see {ours}×{ours}")
    sha256 = _find_file(session, job, teacher).sha256
    for field, why in misses(config.objective, config.student.arch, _arch(session, job, teacher, data_dir)):
        raise NoTeacher(job.id, f"has a {teacher.role} that does not suit the objective: {field} {why}")
    return sha256


def _check_start(session: Session, start: TeacherOfJob, wanted: str, data_dir: Path) -> None:
    """Raises `NoTeacher`."""
    job = _lender(session, start)
    _check_role(job, start)
    arch = _arch(session, job, start, data_dir)
    if arch not in (None, wanted):  # of what cannot be told here the run will say it
        raise NoTeacher(job.id, f"has a {start.role} that is a {arch}, and what is to begin from it is a {wanted}")
    _find_file(session, job, start)


def _lender(session: Session, teacher: TeacherOfJob) -> Job:
    try:
        job = get_job(session, teacher.job)
    except JobNotFound:
        raise NoTeacher(teacher.job, "does not exist") from None
    if job.kind is Kind.LIGHT:
        raise NoTeacher(job.id, f"trains nobody: its mode is {job.mode}")
    return job


def _arch(session: Session, job: Job, wanted: TeacherOfJob, data_dir: Path) -> str | None:
    """The architecture of what a job lends; None where the job that has trained it is gone, or the file that was
    brought."""
    config = job.resolved_spec["config"]
    if wanted.role == "student":
        return str(config["student"]["arch"])
    taken = brought(job.resolved_spec).get(wanted.role)
    if taken is None:
        teacher = _teachers(config)[wanted.role]
        return str(teacher.get("as_built") or teacher["arch"])
    with contextlib.suppress(NoTeacher, NoSuchTeacher):
        if isinstance(taken, TeacherUploaded):
            return uploads.read(data_dir / layout.TEACHERS, taken.upload).arch
        return _arch(session, _lender(session, taken), taken, data_dir)
    return None


def _check_role(job: Job, teacher: TeacherOfJob) -> None:
    """Raises `NoTeacher` where the job has nobody in this role."""
    role, teachers = teacher.role, _teachers(job.resolved_spec["config"])
    if role != "student" and role not in teachers:
        members = len(teachers)
        raise NoTeacher(
            job.id,
            f"was taught by a committee: name one of it with a role, teacher.1 to teacher.{members}"
            if role == "teacher"
            else f"has no {role}: it was taught by "
            + (f"a committee of {members}" if members > 1 else "one teacher, which has the role teacher"),
        )


def _find_file(session: Session, job: Job, teacher: TeacherOfJob) -> File:
    """Raises `NoTeacher`, or `NoTeacherYet` where it is worth to wait."""
    _check_role(job, teacher)
    role = teacher.role
    with contextlib.suppress(ArtifactNotFound, CheckpointNotFound):
        if role != "student":
            return find.artifact(session, job.id, weights_of(role))
        if job.state in FINAL:  # until then a better student may take the best one's place
            student = find.checkpoint(session, job.id, "best").student
            assert student is not None, "only checkpoints with a student are found"
            return student
    if job.state in FINAL:
        raise NoTeacher(job.id, f"{_past_tense(job.state)} without a {role} to take over")
    raise NoTeacherYet(job.id, f"is {job.state} and has no finished {role} yet")


def _teachers(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those whose models teach in a stored config, by their roles: `teacher`, or a committee's `teacher.2`."""
    given = config.get("teacher", {})  # a job that makes a data set has none
    members = {f"teacher.{number}": member for number, member in enumerate(given.get("committee", ()), 1)}
    return members or {"teacher": given}


def _models(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The same with what they and the student begin from."""
    found: dict[str, dict[str, Any]] = {}
    for role, one in _teachers(config).items():
        found[role] = one
        if (start := one.get("start")) is not None:
            found[start_of(role)] = start
    if (model := config.get("model")) is not None:  # of an export: whose model leaves
        found["model"] = model
    if (start := config.get("student", {}).get("start")) is not None:
        found[start_of("student")] = start
    return found


def _past_tense(state: State) -> str:
    return "was cancelled" if state is State.CANCELLED else str(state)
