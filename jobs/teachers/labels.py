"""Labels that somebody has pushed, which teach jobs: of which data sets they may be, and how long they stay."""

from pathlib import Path

from sqlalchemy.orm import Session

from jobs.errors import SpecRefused, TableLent
from jobs.files import layout
from jobs.teachers import lending
from kd.data import packed_facts
from kd.data.catalog import DATASETS
from kd.errors import DataError
from kd.labels import cache
from kd.labels.cache import NoSuchTable
from kd.labels.pushed import Images
from kd.spec import GuideSpec, TeacherLabels, TrainSpec
from kd.spec.faults import Fault

PLACE = "/config/teacher/labels"


def images_of(data_dir: Path, dataset: str) -> Images:
    """What labels of a data set must be like. Raises `DataError`."""
    if packed_facts.is_packed(dataset):
        facts = packed_facts.read(data_dir / layout.DATASETS, dataset)
        return Images(dataset, facts.count, len(facts.classes), (facts.count,), facts.digest)
    named = DATASETS[dataset]
    images = named.train + named.test
    # As they are published, those to learn from come first.
    return Images(dataset, images, named.classes, tuple(sorted({named.train, images})))


def check(session: Session, spec: TrainSpec | GuideSpec, data_dir: Path) -> None:
    """Refuse a spec whose labels are not there, or are of another data set. Raises `SpecRefused`.

    In the transaction that adds the job: until it ends the table cannot be deleted.
    """
    teacher = spec.config.teacher
    if not isinstance(teacher, TeacherLabels):
        return
    lending.keep_what_is_lent(session)
    try:
        entry, images = cache.entry(data_dir / layout.LABELS, teacher.labels), images_of(data_dir, spec.config.dataset)
    except NoSuchTable:
        raise SpecRefused([Fault(PLACE, "there is no such label table; POST /label-tables makes one")]) from None
    except DataError as error:
        raise SpecRefused([Fault("/config/dataset", layout.without_places(str(error), data_dir))]) from None
    found = entry.manifest
    if found is None or not entry.is_pushed:
        why = "is a table that a teacher labels here, view by view: name that teacher's job instead"
    elif found.dataset_name != images.dataset:
        why = f"is of {found.dataset_name}, but this run is on {images.dataset}"
    elif images.digest is not None and found.dataset != images.digest:
        why = f"is of other images: {images.dataset} has been packed anew since, and has another digest"
    else:
        return
    raise SpecRefused([Fault(PLACE, why)])


def remove(session: Session, data_dir: Path, table_id: str) -> None:
    """Delete a label table, in a transaction that keeps jobs from coming that would learn from it.

    Raises `TableLent` while there is one that has not ended, and what `cache.remove` raises.
    """
    lending.keep_borrowers_away(session)
    if borrowers := lending.borrowers(session, table_id, limit=5):
        raise TableLent(table_id, borrowers)
    cache.remove(data_dir / layout.LABELS, table_id)
