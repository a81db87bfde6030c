"""How a teacher that somebody has brought is evaluated before it teaches: by a job of light work."""

from sqlalchemy import select

from jobs.database.engine import Sessions
from jobs.errors import NoRoom, SpecRefused
from jobs.files import layout, quota
from jobs.kinds import Kind
from jobs.queue.submit import add_light_job, facts_of
from jobs.settings import Settings
from jobs.states import FINAL
from jobs.tables import Job
from jobs.teachers import lending
from jobs.teachers.labels import images_of
from jobs.teachers.uploads import why_not
from kd.errors import DataError
from kd.spec import TeacherUploaded
from kd.spec.evaluate import Evaluate, EvaluateConfig, EvaluateSpec
from kd.spec.faults import Fault
from kd.teachers import uploads


def evaluate(db: Sessions, settings: Settings, teacher_id: str, wanted: Evaluate) -> tuple[Job, bool]:
    """The job that says how good a teacher is, and True; or the one that is at this very work, and False.

    Raises `NoSuchTeacher`, `SpecRefused`, and `NoRoom`.
    """
    if (trouble := quota.trouble(settings)) is not None:
        raise NoRoom(trouble)
    facts = facts_of(wanted.dataset, settings.data_dir, "/dataset")
    usual = Evaluate.model_fields["validation_fraction"].get_default()
    if facts is not None and facts.validation and wanted.validation_fraction != usual:
        why = f"would do nothing here: {wanted.dataset} has a validation split of its own"
        raise SpecRefused([Fault("/validation_fraction", why)])
    given = wanted.model_dump(exclude_unset=True)
    spec = EvaluateSpec(config=EvaluateConfig(**given, teacher=TeacherUploaded(upload=teacher_id)))
    asked = spec.model_dump(mode="json")
    at_it = select(Job).where(Job.kind == Kind.LIGHT, Job.state.not_in(FINAL), Job.mode == spec.mode)
    with db.begin() as session:
        lending.keep_borrowers_away(session)  # who asks for the same at the same moment comes after us
        found = uploads.read(settings.data_dir / layout.TEACHERS, teacher_id)
        try:
            images, unfit = (
                images_of(settings.data_dir, wanted.dataset),
                why_not(found, wanted.dataset, settings.data_dir),
            )
        except DataError as error:  # it is deleted at this moment
            raise SpecRefused([Fault("/dataset", layout.without_places(str(error), settings.data_dir))]) from None
        if unfit is not None:
            raise SpecRefused([Fault("/dataset", f"does not suit this teacher, which {unfit}")])
        if faults := [Fault(f"/{field}", why) for field, why in wanted.too_much(images.classes)]:
            raise SpecRefused(faults)
        for job in session.execute(at_it).scalars():
            if job.resolved_spec == asked:
                return job, False
        return add_light_job(session, spec, lent=teacher_id), True
