"""Whether two architectures have what an objective compares of them, beside logits."""

from collections.abc import Iterator

from kd.models.catalog import MODELS, ONNX, has_pooled, stages_of
from kd.models.own.names import is_own
from kd.spec.objective import READS, Objective, Term
from kd.spec.teacher import AnyTeacher, Committee, TeacherLabels, arch_of

OTHERWISE = "or a method that compares logits alone: kd, dkd, dist, wttm, cross_view"
FEATURES = {"pooled": "features", "stages": "maps of stages"}
"""What one model has, by what reads it."""
WITH_STAGES = ", ".join([arch for arch in MODELS if stages_of(arch)][:6]) + ", …"


def faults(objective: Objective, student: str, teacher: AnyTeacher, *, has_maps: bool) -> Iterator[tuple[str, str]]:
    """What a spec has not of what its objective compares: (field, why). `has_maps`: the teacher runs at the student's
    side."""
    if not has_maps:
        yield from _misses_maps(objective)
    if isinstance(teacher, Committee):
        yield from _misses_one_model(objective, "a committee is no one model and has none")
    if isinstance(teacher, TeacherLabels):
        yield from _misses_one_model(objective, "labels that were pushed have none")
    yield from misses(objective, student, arch_of(teacher))


def misses(objective: Objective, student: str, teacher: str | None) -> Iterator[tuple[str, str]]:
    """What one of the two has not: (field, why). The teacher's architecture may be unknown as yet: None."""
    for place, term in objective.places:
        if why := _why_not(term, student, teacher):
            yield f"{place}.method", f"{term.method} {why}, {OTHERWISE}"


def _misses_one_model(objective: Objective, why: str) -> Iterator[tuple[str, str]]:
    """What a teacher that is not one model has not, whatever the student: (field, why)."""
    for place, term in objective.places:
        if what := FEATURES.get(READS.get(term.method, "")):
            yield f"{place}.method", f"{term.method} compares {what}, and {why}: take one teacher, {OTHERWISE}"


def _misses_maps(objective: Objective) -> Iterator[tuple[str, str]]:
    """What is in no label table, whatever the models: (field, why)."""
    for place, term in objective.places:
        if READS.get(term.method) == "stages":
            yield (
                f"{place}.method",
                f"{term.method} compares maps of stages, which are too large for a label table: use mode 'guide', "
                "where the teacher runs at the student's side",
            )


def _why_not(term: Term, student: str, teacher: str | None) -> str | None:
    read = READS.get(term.method)
    if read == "heads" and not stages_of(student):
        why = f"{student} {_without_stages(student)}"
        return f"puts heads on the student's stages, and {why}: take a student that has ({WITH_STAGES})"
    if teacher == ONNX and read in FEATURES:
        return f"compares {FEATURES[read]}, and an ONNX model has none to show: take another teacher"
    for role, arch in (("student", student), ("teacher", teacher)):
        if read == "stages" and arch is not None and not stages_of(arch):
            why = f"the {role}, {arch}, {_without_stages(arch)}"
            return f"compares maps of stages, and {why}: take another ({WITH_STAGES})"
        if read == "pooled" and arch is not None and not has_pooled(arch):
            return (
                f"compares what the classifiers of student and teacher read, and that of the {role}, {arch}, is a "
                f"convolution: take another {role}"
            )
    if read == "stages" and teacher is not None:
        return _why_no_pair(term, student, teacher)
    return None


def _without_stages(arch: str) -> str:
    return "is one of your own, whose stages nobody knows" if is_own(arch) else "has none"


def _why_no_pair(term: Term, student: str, teacher: str) -> str | None:
    """Why the stages of the two cannot be compared one by one."""
    theirs = stages_of(student), stages_of(teacher)
    if term.method in ("at", "reviewkd") and theirs[0] != theirs[1]:
        return (
            f"compares stage by stage, and {student} has {theirs[0]} of them, {teacher} has {theirs[1]}: take two with "
            "as many, or fitnet, which compares one"
        )
    if term.method == "fitnet" and term.stage > min(theirs):
        return (
            f"compares stage {term.stage}, and {student} has {theirs[0]} of them, {teacher} has {theirs[1]}: take one "
            "that both have"
        )
    return None
