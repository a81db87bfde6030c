"""What a submission would come to, without a job of it."""

from dataclasses import dataclass
from pathlib import Path

from jobs.database.engine import Sessions
from jobs.files import layout, quota
from jobs.queue.submit import Submission, check_data, check_teachers
from jobs.settings import Settings
from kd.data import packed_facts
from kd.data.catalog import DATASETS, TEST_FRACTION
from kd.spec import Config, GuideConfig, TrainConfig
from kd.spec.teacher import trained_in

LOGIT_BYTES = 2
"""Of a number in a label table."""


@dataclass(frozen=True)
class Preflight:
    """What a run will read and write, as far as its spec and its data set say it."""

    waits_for: str | None
    """The job that still has to have its teacher."""
    images: int
    """To learn from: those for validation and test are not among them."""
    images_shown: dict[str, int]
    """To each model that learns, over all epochs and seeds; a teacher may stop earlier."""
    images_labelled: int
    """Views that the teacher labels, once for all seeds."""
    table_bytes: int | None
    """Of the label table, which other jobs may have made already; None: the mode makes none."""


def look_ahead(db: Sessions, settings: Settings, submission: Submission) -> Preflight:
    """Every check of `submit`, in its order, and no job. Raises what that raises."""
    config = submission.spec.config
    with db.read() as session:
        quota.check(session, settings)
    check_data(config, settings.data_dir)
    with db.begin() as session:
        waits_for = check_teachers(session, submission, settings.data_dir)
        session.rollback()
    return reckon(config, settings.data_dir, waits_for)


def reckon(config: TrainConfig | GuideConfig, data_dir: Path, waits_for: str | None) -> Preflight:
    """What can be told of a spec that was accepted, and whose data set is there."""
    images, classes = _images(config, data_dir)
    at_once = 2 if config.objective.paired else 1
    of_student = images * config.epochs * at_once * config.seeds
    shown = {place: images * teacher.epochs for place, teacher in trained_in(config.teacher)} | {"student": of_student}
    if config.control:
        shown["control"] = of_student
    if config.baselines.label_smoothing is not None:
        shown["label_smoothing"] = of_student
    labelled = images * _views(config) * at_once
    table_bytes = labelled * classes * LOGIT_BYTES if isinstance(config, TrainConfig) else None
    return Preflight(waits_for, images, shown, labelled, table_bytes)


def _images(config: Config, data_dir: Path) -> tuple[int, int]:
    """Those to learn from, when the splits that the data set has not are cut off; and its classes."""
    if packed_facts.is_packed(config.dataset):
        packed = packed_facts.read(data_dir / layout.DATASETS, config.dataset)
        left, validation, test, classes = packed.train, packed.validation, packed.test, len(packed.classes)
    else:
        named = DATASETS[config.dataset]
        left, validation, test, classes = named.train, 0, named.test, named.classes
    if not test:
        left -= round(left * TEST_FRACTION)
    return left if validation else left - round(left * config.validation_fraction), classes


def _views(config: TrainConfig | GuideConfig) -> int:
    """Of each image, that are labelled over the run."""
    augmentation = config.augmentation
    there = (2 * augmentation.crop_padding + 1) ** 2 * (2 if augmentation.flip else 1)

    def at_most(wanted: int) -> int:
        return wanted if augmentation.endless else min(wanted, there)

    if isinstance(config, TrainConfig):
        return there if config.views == "all" else at_most(config.views)
    whole, rest = divmod(config.epochs, config.rounds.epochs)
    each = at_most(config.rounds.views)
    return whole * each + min(rest, each)
