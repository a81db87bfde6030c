"""How a student leaves: by a job of light work, which makes a file of it and sees that it says the same."""

from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from jobs.database.engine import Sessions
from jobs.errors import NoRoom, NoTeacher, SpecRefused
from jobs.files import quota
from jobs.job import get_job, keep_job
from jobs.kinds import Kind
from jobs.pages import Page, newest_first, read
from jobs.queue.submit import add_light_job, facts_of
from jobs.settings import Settings
from jobs.states import FINAL, State
from jobs.tables import Job, Loan
from jobs.teachers import lending
from kd.spec import TeacherOfJob
from kd.spec.export import Export, ExportConfig, ExportSpec
from kd.spec.faults import Fault

MODE = "export"
OF_ITS_DATA = ("dataset", "validation_fraction", "input_size")
"""What an export takes from the job's own spec: it is held against the student on images that this was judged on."""


def export(db: Sessions, settings: Settings, job_id: str, wanted: Export) -> tuple[Job, bool]:
    """The job that makes this file of a job's student, and True; or the one that has made it, or is at it, and False.
    That one needs neither room nor data.

    Raises `JobNotFound`, `SpecRefused` where the job has no student to give, and `NoRoom`.
    """
    with db.read() as session:
        spec = _spec(session, job_id, wanted)
        if (made := _find_made(session, job_id, spec)) is not None:
            return made, False
    if (trouble := quota.trouble(settings)) is not None:
        raise NoRoom(trouble)
    facts_of(spec.config.dataset, settings.data_dir, "")
    with db.begin() as session:
        keep_job(session, job_id)  # before the loans, as whoever deletes it has them in this order
        lending.keep_borrowers_away(session)  # who asks for the same at the same moment comes after us
        spec = _spec(session, job_id, wanted)
        if (made := _find_made(session, job_id, spec)) is not None:
            return made, False
        return add_light_job(session, spec, lent=job_id), True


def list_exports(session: Session, job_id: str, *, limit: int, after: str | None) -> Page[Job]:
    """The exports of a job's student, the newest first. Raises `JobNotFound`."""
    get_job(session, job_id)
    return read(session, newest_first(_of(job_id), Job.id, limit=limit, after=after), limit, lambda job: job.id)


def _spec(session: Session, job_id: str, wanted: Export) -> ExportSpec:
    """Raises `SpecRefused` unless the job has a student to give."""
    model = TeacherOfJob(job=job_id, role="student")
    config: dict[str, Any] = get_job(session, job_id).resolved_spec["config"]
    try:
        lending.check_lent(session, model)
    except NoTeacher as error:
        raise SpecRefused([Fault("", str(error).removesuffix("."))]) from None
    given = {name: config[name] for name in OF_ITS_DATA if config.get(name) is not None}
    return ExportSpec(config=ExportConfig(**wanted.model_dump(exclude_unset=True), model=model, **given))


def _find_made(session: Session, job_id: str, spec: ExportSpec) -> Job | None:
    asked = spec.model_dump(mode="json")
    there = _of(job_id).where(Job.state.not_in(FINAL - {State.SUCCEEDED})).order_by(Job.id.desc())
    return next((job for job in session.execute(there).scalars() if job.resolved_spec == asked), None)


def _of(job_id: str) -> Select[Job]:
    """By what was lent to them, which has an index."""
    loans = select(Loan.job_id).where(Loan.lends == job_id)
    return select(Job).where(Job.id.in_(loans), Job.kind == Kind.LIGHT, Job.mode == MODE)
