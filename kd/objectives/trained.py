"""What an objective trains beside the student: it learns with it, is saved for a resume, and is never exported."""

from torch import nn

from kd.models.features import Measures
from kd.spec.objective import Term


def make_part(term: Term, student: Measures | None, teacher: Measures | None) -> nn.Module:
    """What a student's features go through before a term compares them; for most nothing, which has no weights."""
    if term.method == "srd":
        assert student is not None, "the run measures what the objective reads"
        assert teacher is not None, "of both"
        return nn.Linear(student.pooled, teacher.pooled)
    return nn.Identity()
