"""What a model begins from: whose weights these are, and what is known of them before they are loaded."""

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from kd.errors import BadWeights, StartUnfit
from kd.models import weights
from kd.models.preprocess.said import NAMED, Preprocess
from kd.models.preprocess.usual import usual
from kd.models.start import Beginning, read_file, read_published
from kd.spec import GuideConfig, Student, Teacher, TrainConfig, start_of, teachers_in
from kd.spec.brought import StartOfJob, StartPublished, StartUploaded
from kd.teachers import uploads
from kd.teachers.kinds import FILE_NAMES


def starts_in(
    config: TrainConfig | GuideConfig,
    files: Mapping[str, Path],
    finished: Collection[str],
    *,
    classes: int,
    shape: tuple[int, int, int],
) -> dict[str, Beginning]:
    """What models begin from that see images of `shape`, by their roles; not of teachers that have learnt out. Raises
    `StartUnfit`."""
    learning: dict[str, Teacher | Student] = {
        role: one
        for role, one in teachers_in(config.teacher).items()
        if isinstance(one, Teacher) and role not in finished
    }
    learning["student"] = config.student
    found: dict[str, Beginning] = {}
    for role, one in learning.items():
        if isinstance(one.start, StartPublished):
            read = partial(read_published, one.arch, classes, shape)
            sees = usual(one.arch) or Preprocess(**NAMED["imagenet"])
            found[role] = Beginning(f"the published weights of {one.arch}", (), sees, read)  # of classes that are none
        elif one.start is not None:
            found[role] = beginning_of(one.start, files[start_of(role)], one.arch, role)
    return found


def beginning_of(start: StartOfJob | StartUploaded, file: Path, arch: str, role: str) -> Beginning:
    """What a model of this architecture begins from; `file` is that of another job's model, or what says what was
    brought. Raises `StartUnfit`."""
    try:
        if isinstance(start, StartOfJob):
            facts = weights.read_facts(file)
            whose, its = f"the {start.role} of {start.job}", facts.arch
            found = found_in(file, whose, facts.classes, facts.preprocess)
        else:
            known = uploads.read_manifest(file)
            uploads.content(file, known)  # as it was brought
            if why := uploads.why_no_start(known, arch):
                raise StartUnfit(f"{known.id} {why}", role)
            whose, its, there = f"{known.said.name} ({known.id})", known.arch, file.with_name(FILE_NAMES[known.kind])
            found = found_in(there, whose, known.said.classes, known.said.preprocess)
    except (BadWeights, ValueError) as error:
        raise StartUnfit(str(error).removesuffix("."), role) from error
    except uploads.NoSuchTeacher as error:
        raise StartUnfit(error.why, role) from error
    if its != arch:
        raise StartUnfit(f"{found.whose} is a {its}, and {role}.arch is {arch}", role)
    return found


def found_in(file: Path, whose: str, classes: tuple[str, ...] | None, sees: Preprocess | None) -> Beginning:
    """The network in a file, of which this is said as a whole: within, it may see otherwise than the images of its data
    set were shown to it, and answer in another order. Raises `BadWeights`."""
    sights = weights.read_sights(file)
    if any(sight.order is not None for sight in sights):
        classes = ()  # in an order that is none of a data set: a new head learns it sooner than we could tell
    for sight in sights:
        sees = sight.preprocess or sees
    return Beginning(whose, classes, sees, partial(read_file, file))
