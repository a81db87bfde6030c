"""Whether two architectures have what an objective compares of them, beside logits."""

from collections.abc import Iterator

from kd.models.catalog import MODELS, has_pooled, stages_of
from kd.spec.objective import READS, Objective, Term

OTHERWISE = "or a method that compares logits alone: kd, dkd, dist, wttm"
WITH_STAGES = ", ".join([arch for arch in MODELS if stages_of(arch)][:6]) + ", …"


def misses(objective: Objective, student: str, teacher: str | None) -> Iterator[tuple[str, str]]:
    """What one of the two has not: (field, why). The teacher's architecture may be unknown as yet: None."""
    for place, term in objective.places:
        if why := _why_not(term, student, teacher):
            yield f"{place}.method", f"{term.method} {why}, {OTHERWISE}"


def _why_not(term: Term, student: str, teacher: str | None) -> str | None:
    read = READS.get(term.method)
    if read == "heads" and not stages_of(student):
        return f"puts heads on the student's stages, and {student} has none: take a student that has ({WITH_STAGES})"
    for role, arch in (("student", student), ("teacher", teacher)):
        if read == "pooled" and arch is not None and not has_pooled(arch):
            return (
                f"compares what the classifiers of student and teacher read, and that of the {role}, {arch}, is a "
                f"convolution: take another {role}"
            )
    return None
