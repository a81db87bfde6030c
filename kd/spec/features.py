"""Whether two architectures have what an objective compares of them, beside logits."""

from collections.abc import Iterator

from kd.models.catalog import has_pooled
from kd.spec.objective import READS, Objective

LOGITS = "or a method that compares logits: kd, dkd, dist, wttm"


def misses(objective: Objective, student: str, teacher: str | None) -> Iterator[tuple[str, str]]:
    """What one of the two has not: (field, why). The teacher's architecture may be unknown as yet: None."""
    for place, term in objective.places:
        read = READS.get(term.method)
        for role, arch in (("student", student), ("teacher", teacher)):
            if read == "pooled" and arch is not None and not has_pooled(arch):
                yield (
                    f"{place}.method",
                    f"{term.method} compares what the classifiers of student and teacher read, and that of the {role}, "
                    f"{arch}, is a convolution: take another {role}, {LOGITS}",
                )
