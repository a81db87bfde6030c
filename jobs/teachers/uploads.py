"""Teachers that somebody has brought as files: whether a job may have them, and how long they stay."""

from pathlib import Path

from sqlalchemy.orm import Session

from jobs.errors import SpecRefused, TeacherLent
from jobs.files import layout
from jobs.teachers import lending
from jobs.teachers.labels import images_of
from kd.errors import DataError
from kd.spec import GuideSpec, TeacherUploaded, TrainSpec, brought_in
from kd.spec.faults import Fault
from kd.spec.terms.features import misses
from kd.teachers import uploads
from kd.teachers.uploads import NoSuchTeacher, Uploaded, why_no_start


def check(session: Session, spec: TrainSpec | GuideSpec, data_dir: Path) -> None:
    """Refuse a spec whose teachers are not there, or know other classes than its images have, or that begins from what
    is no weights of such a model. Raises `SpecRefused`.

    In the transaction that adds the job: until it ends they cannot be deleted.
    """
    faults = []
    wanted = [
        (f"{given.pointer}/upload", given.what.upload, given.arch)
        for given in brought_in(spec.config).values()
        if isinstance(given.what, TeacherUploaded)
    ]
    if wanted:
        lending.keep_what_is_lent(session)
    for pointer, teacher_id, arch in wanted:
        try:
            found = uploads.read(data_dir / layout.TEACHERS, teacher_id)
        except NoSuchTeacher as error:
            faults.append(Fault(pointer, layout.without_places(error.why, data_dir)))
            continue
        if arch is not None:
            if why := why_no_start(found, arch):
                faults.append(Fault(pointer, why))
            continue
        try:
            why = why_not(found, spec.config.dataset, data_dir)
        except DataError as error:  # it is deleted at this moment
            faults.append(Fault("/config/dataset", layout.without_places(str(error), data_dir)))
            continue
        if why is not None:
            faults.append(Fault(pointer, why))
        for field, why in misses(spec.config.objective, spec.config.student.arch, found.arch):
            faults.append(Fault(f"/config/{field.replace('.', '/')}", why))
    if faults:
        raise SpecRefused(faults)


def why_not(found: Uploaded, dataset: str, data_dir: Path) -> str | None:
    """What keeps it from knowing the images of a data set, as far as its file says it; the run looks at all of it
    before it labels anything. Raises `DataError`."""
    images = images_of(data_dir, dataset)
    knows = len(found.said.classes) if found.said.classes is not None else found.graph and found.graph.classes
    if knows and knows != images.classes:
        return f"knows {knows} classes, and {dataset} has {images.classes}"
    return None


def remove(session: Session, data_dir: Path, teacher_id: str) -> None:
    """Delete a teacher, in a transaction that keeps jobs from coming that would have it.

    Raises `TeacherLent` while there is one that has not ended, and `NoSuchTeacher`.
    """
    lending.keep_borrowers_away(session)
    if borrowers := lending.borrowers(session, teacher_id, limit=5):
        raise TeacherLent(teacher_id, borrowers)
    uploads.remove(data_dir / layout.TEACHERS, teacher_id)
