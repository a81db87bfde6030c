"""The files of teachers that come from elsewhere: whose they are, and what they say before anything is loaded."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kd.errors import BadWeights, StartUnfit, TeacherMissing, TeacherUnfit
from kd.models import weights
from kd.models.build import Seen
from kd.models.catalog import sees_colour, why_unknown
from kd.models.own.names import is_own
from kd.spec import GuideConfig, TeacherOfJob, TeacherUploaded, TrainConfig, brought_in
from kd.spec.brought import START, is_start
from kd.spec.teacher import OneModel, arch_of
from kd.teachers import uploads
from kd.teachers.kinds import FILE_NAMES
from kd.teachers.uploads import Uploaded


def match_files(
    config: TrainConfig | GuideConfig, files: Sequence[tuple[Path | str, str | None]]
) -> dict[str, tuple[Path, str | None]]:
    """The file of each model that comes from elsewhere, by its role (`brought_in`). Raises `TeacherMissing`."""
    brought = list(brought_in(config))
    if len(brought) != len(files):
        raise TeacherMissing(len(brought), len(files))
    return {role: (Path(file), sha256) for role, (file, sha256) in zip(brought, files, strict=True)}


def check_file(role: str, file: Path, sha256: str | None) -> None:
    """Raise what there is to say of a file that is not what it was: a teacher's, or that from which one begins."""
    try:
        weights.check_content(file, sha256)
    except BadWeights as error:
        if is_start(role):
            raise StartUnfit(str(error).removesuffix("."), role.removesuffix(START)) from error
        raise


def arch_of_teacher(teacher: OneModel, file: Path | None) -> str:
    """What will be trained, or what was brought along. Raises `TeacherUnfit`."""
    if (known := arch_of(teacher)) is not None:
        return known
    assert file is not None, "`match_files` has seen to it"
    if isinstance(teacher, TeacherUploaded):
        try:
            arch = uploads.read_manifest(file).arch
        except uploads.NoSuchTeacher as error:
            raise TeacherUnfit(error.why) from error
    else:
        arch = weights.read_facts(file).arch
    if (why := why_unknown(arch)) and not is_own(arch):  # one's own may not be installed here: to build it says so
        raise TeacherUnfit(why)
    return arch


def seen_by(teacher: OneModel, file: Path | None, shape: tuple[int, int, int]) -> Seen | None:
    """What a teacher is shown who may have learnt from other images than a data set's, which have this `shape`. None:
    those; or a run that goes on has its teacher already, and no need of its file."""
    if file is None:
        return None
    with suppress(uploads.NoSuchTeacher, BadWeights):
        if isinstance(teacher, TeacherOfJob):
            return weights.read_seen(file)
        found = uploads.read_manifest(file)
        if found.kind == "safetensors":
            return _seen_by_weights(found, file.with_name(FILE_NAMES[found.kind]), shape)
    return None


def _seen_by_weights(found: Uploaded, file: Path, shape: tuple[int, int, int]) -> Seen | None:
    if found.facts is not None:
        return weights.read_seen(file) or Seen(found.facts.shape)
    if (wanted := found.said.preprocess) is None:
        return None
    height, width = wanted.size or shape[1:]
    return Seen((3 if sees_colour(found.arch) else shape[0], height, width), bare=True)
