"""What a model begins from: whose weights these are, and what is known of them before they are loaded."""

from collections.abc import Collection, Mapping
from pathlib import Path

from kd.errors import BadWeights, StartUnfit
from kd.models import weights
from kd.models.start import Beginning
from kd.spec import GuideConfig, Start, Student, Teacher, TrainConfig, start_of, teachers_in
from kd.spec.brought import StartOfJob
from kd.teachers import uploads
from kd.teachers.kinds import FILE_NAMES


def beginning_of(start: Start, file: Path, arch: str, role: str) -> Beginning:
    """What a model of this architecture begins from; `file` is that of another job's model, or what says what was
    brought. Raises `StartUnfit`."""
    try:
        if isinstance(start, StartOfJob):
            facts = weights.read_facts(file)
            found = Beginning(file, f"the {start.role} of {start.job}", facts.classes, facts.preprocess)
            its = facts.arch
        else:
            known = uploads.read_manifest(file)
            uploads.content(file, known)  # as it was brought
            if why := uploads.why_no_start(known, arch):
                raise StartUnfit(f"{known.id} {why}", role)
            whose = f"{known.said.name} ({known.id})"
            found = Beginning(file.with_name(FILE_NAMES[known.kind]), whose, known.said.classes, known.said.preprocess)
            its = known.arch
    except (BadWeights, ValueError) as error:
        raise StartUnfit(str(error).removesuffix("."), role) from error
    except uploads.NoSuchTeacher as error:
        raise StartUnfit(error.why, role) from error
    if its != arch:
        raise StartUnfit(f"{found.whose} is a {its}, and {role}.arch is {arch}", role)
    return found


def starts_in(
    config: TrainConfig | GuideConfig, files: Mapping[str, Path], finished: Collection[str]
) -> dict[str, Beginning]:
    """What models begin from, by their roles; not of teachers that have learnt out. Raises `StartUnfit`."""
    learning: dict[str, Teacher | Student] = {
        role: one
        for role, one in teachers_in(config.teacher).items()
        if isinstance(one, Teacher) and role not in finished
    }
    learning["student"] = config.student
    return {
        role: beginning_of(one.start, files[start_of(role)], one.arch, role)
        for role, one in learning.items()
        if one.start is not None
    }
