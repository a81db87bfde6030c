"""What the page shows besides the scores: found where the logits of a model are at hand, which nobody keeps.

Of several seeds it is kept of one: of the best student so far, which at the end is the one that is offered.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kd.report.calibration import reliability
from kd.report.disagreement import most_disputed
from kd.report.provenance import made_with
from kd.training.curve import columns
from kd.training.resuming.position import Outcome
from kd.training.run import Run

# Shapes: N = images, C = classes.


def evidence(run: Run, outcomes: Mapping[str, Outcome], logits: Mapping[str, Tensor]) -> dict[str, Any]:
    """Parts of the report, as plain values of bounded size: of each role's logits, float [N, C] on the test split, and
    of how each learnt. Whoever is missing is missing there."""
    data = run.dataset
    return {
        "curves": {role: columns(outcome.curve) for role, outcome in outcomes.items()},
        "reliability": {role: reliability(logits_NC, data.test.labels) for role, logits_NC in logits.items()},
        "disputed": most_disputed(logits, data.test, data.classes),
        "made_with": made_with(run),
    }
