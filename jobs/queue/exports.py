"""How a student leaves: by a job of light work, which makes a file of it and sees that it says the same."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from jobs.database.engine import Sessions
from jobs.errors import NoRoom, NoTeacher, SpecRefused
from jobs.files import quota
from jobs.job import get_job, keep_job
from jobs.kinds import Kind
from jobs.queue.submit import add_light_job, facts_of
from jobs.settings import Settings
from jobs.states import FINAL, State
from jobs.tables import Job
from jobs.teachers import lending
from kd.spec import TeacherOfJob
from kd.spec.export import Export, ExportConfig, ExportSpec
from kd.spec.faults import Fault

MODE = "export"
OF_ITS_DATA = ("dataset", "validation_fraction", "input_size")
"""What an export takes from the job's own spec: it is held against the student on images that this was judged on."""


def export(db: Sessions, settings: Settings, job_id: str, wanted: Export) -> tuple[Job, bool]:
    """The job that makes this file of a job's student, and True; or the one that has made it, or is at it, and False.

    Raises `JobNotFound`, `SpecRefused` where the job has no student to give, and `NoRoom`.
    """
    if (trouble := quota.trouble(settings)) is not None:
        raise NoRoom(trouble)
    with db.read() as session:
        config = get_job(session, job_id).resolved_spec["config"]
    model = TeacherOfJob(job=job_id, role="student")
    with db.begin() as session:
        lending.keep_borrowers_away(session)  # who asks for the same at the same moment comes after us
        keep_job(session, job_id)
        try:
            lending.check_lent(session, model)
        except NoTeacher as error:
            raise SpecRefused([Fault("", str(error).removesuffix("."))]) from None
        given = {name: config[name] for name in OF_ITS_DATA if config.get(name) is not None}
        spec = ExportSpec(config=ExportConfig(**wanted.model_dump(exclude_unset=True), model=model, **given))
        facts_of(spec.config.dataset, settings.data_dir, "")
        asked = spec.model_dump(mode="json")
        for job in _of(session, job_id, Job.state.not_in(FINAL - {State.SUCCEEDED})):
            if job.resolved_spec == asked:
                return job, False
        return add_light_job(session, spec, lent=job_id), True


def exports_of(session: Session, job_id: str) -> Sequence[Job]:
    """The exports of a job's student, the newest first. Raises `JobNotFound`."""
    get_job(session, job_id)
    return _of(session, job_id)


def _of(session: Session, job_id: str, *which: ColumnElement[bool]) -> Sequence[Job]:
    of_this_job = Job.resolved_spec["config"]["model"]["job"].as_string() == job_id
    found = select(Job).where(Job.kind == Kind.LIGHT, Job.mode == MODE, of_this_job, *which).order_by(Job.id.desc())
    return session.execute(found).scalars().all()
