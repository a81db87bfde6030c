"""What a model is told to care about: the labels, and the teacher's answer if there is a teacher."""

from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd import spec
from kd.models.features import Features, Measures, Points
from kd.objectives.cross_view import cross_view
from kd.objectives.features import compare
from kd.objectives.logits import autocast_off, distance, exact
from kd.objectives.maps import compare_maps
from kd.objectives.trained import make_part
from kd.spec.objective import IN_PAIRS, OWN, READS, Term
from kd.spec.terms.ramps import Ramp
from kd.views.mixup import Mix

# Shapes: B = batch, C = classes.


class Answer(NamedTuple):
    """What a teacher says of a batch, as objectives take it."""

    logits_BC: Tensor
    pooled_BD: Tensor | None = None
    """What its classifier reads, where the objective compares that."""
    stages: tuple[Tensor, ...] = ()
    """The maps of its stages, where the objective compares those."""

    @classmethod
    def of_label(cls, label_BC: Tensor, classes: int) -> Self:
        """Taken from labels as a table holds them: logits of so many classes, and behind them the feature if any."""
        return cls(label_BC[:, :classes], label_BC[:, classes:] if label_BC.shape[1] > classes else None)

    def part(self, which: slice) -> Self:
        """Of these images of the batch."""
        return self._replace(
            logits_BC=self.logits_BC[which],
            pooled_BD=None if self.pooled_BD is None else self.pooled_BD[which],
            stages=tuple(map_BCHW[which] for map_BCHW in self.stages),
        )


class Parts(NamedTuple):
    """A loss and what it is made of. Only `total` carries a gradient; the other two are not yet weighted."""

    total: Tensor
    hard: Tensor
    soft: Tensor


class Objective(nn.Module):
    """hard_weight · CE(student, label) + Σ weight · D(student, teacher), each D as the spec says; without a spec the
    labels alone. In CE an image counts what its class does in `class_weights_C` (float [C]; none: all the same), and
    `label_smoothing` is the share of each label that is spread over all classes.

    A module, because some objectives have something to train (a regressor between two feature maps, say). Whatever that
    is, the loop gives it to the optimizer and to the checkpoint, and knows no more of it; it is never exported.
    """

    class_weights_C: Tensor | None

    def __init__(
        self,
        wanted: spec.Objective | None = None,
        class_weights_C: Tensor | None = None,
        *,
        label_smoothing: float = 0,
        epochs: int = 1,
        student: Measures | None = None,
        teacher: Measures | None = None,
    ):
        """`epochs` are those of the training, in which whatever has no end of its own comes to its end. `student` and
        `teacher` are how large the features are that the objective compares, if any."""
        super().__init__()
        self.wanted, self.label_smoothing, self.epochs = wanted, label_smoothing, epochs
        self.terms = [] if wanted is None else list(wanted.terms)
        self.points = Points() if student is None else student.points
        self.parts = nn.ModuleList(make_part(term, student, teacher) for term, _ in self.terms)
        # As the student's weights lie, and so the maps that come from it.
        self.parts.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # It goes where the module goes, but is no state: the data set says what it is.
        self.register_buffer("class_weights_C", class_weights_C, persistent=False)

    def forward(
        self,
        student_BC: Tensor,
        labels_B: Tensor,
        answer: Answer | None,
        mix: Mix | None = None,
        epoch: float = 0,
        features: Features | None = None,
    ) -> Parts:
        """The loss of a batch, after so many epochs and parts of one. `features` are what was seen at `points`.

        Under a mix the soft label needs no care: it is what the teacher says of the mixed image. Where views come in
        pairs, weak and strong in turn, each is an image like any other, except to a distance that compares the two.
        """
        hard = cross_entropy(student_BC, labels_B, mix, self.class_weights_C, label_smoothing=self.label_smoothing)
        # Not a soft weight of 0: teacher and control learn from labels in full, whatever the student's weights are.
        if self.wanted is None or answer is None:
            return Parts(hard, hard.detach(), torch.zeros_like(hard))
        # The parts are shown as they are, unweighted: so they can be compared between runs with other weights.
        total, soft = self._now(self.wanted.hard_weight, epoch) * hard, torch.zeros_like(hard)
        for (term, weight), part in zip(self.terms, self.parts, strict=True):
            if term.method in READS:
                far = self._distance_of_features(term, part, student_BC, labels_B, answer, epoch, features)
            else:
                far = self._distance(term, student_BC, labels_B, answer, epoch)
            total, soft = total + self._now(weight, epoch) * far, soft + far.detach()
        return Parts(total, hard.detach(), soft)

    def _distance(self, term: Term, student_BC: Tensor, labels_B: Tensor, answer: Answer, epoch: float) -> Tensor:
        several = term.temperature if isinstance(term.temperature, tuple) else (term.temperature,)
        temperatures = tuple(self._now(temperature, epoch) for temperature in several)
        own = self._own(term) | {"temperatures": temperatures, "standardized": term.standardize}
        if term.method in IN_PAIRS:
            return cross_view(student_BC, answer.logits_BC, **own)
        return distance(term.method, student_BC, answer.logits_BC, labels_B, **own)

    def _distance_of_features(
        self,
        term: Term,
        part: nn.Module,
        student_BC: Tensor,
        labels_B: Tensor,
        answer: Answer,
        epoch: float,
        features: Features | None,
    ) -> Tensor:
        """Of what is trained for the term, too: `part`, in single precision as the student's weights are."""
        assert features is not None, "the loop looks at the points"
        with autocast_off(student_BC):
            if READS[term.method] != "pooled":
                stages = part(tuple(exact(map_BCHW) for map_BCHW in features.stages))
                if READS[term.method] == "stages":
                    return compare_maps(term.method, stages, answer.stages, **self._own(term))
                several = (self._distance(term, logits_BC, labels_B, answer, epoch) for logits_BC in stages)
                return sum(several, start=self._distance(term, student_BC, labels_B, answer, epoch))
            assert features.pooled_BD is not None, "the points say so"
            assert answer.pooled_BD is not None, "the run asks for it"
            return compare(term.method, part(exact(features.pooled_BD)), answer.pooled_BD, **self._own(term))

    def _own(self, term: Term) -> dict[str, Any]:
        """The settings that its method alone has."""
        return {name: getattr(term, name) for name in OWN.get(term.method, ())}

    def _now(self, number: float | Ramp, epoch: float) -> float:
        return number.at(epoch, self.epochs) if isinstance(number, Ramp) else number


def cross_entropy(
    student_BC: Tensor,
    labels_B: Tensor,
    mix: Mix | None = None,
    class_weights_C: Tensor | None = None,
    *,
    label_smoothing: float = 0,
) -> Tensor:
    """Cross-entropy with the labels; of a mixed image with both, each by its share of it.

    With class weights the mean is over the images, not over their weights: so it does not depend on how the images are
    cut into batches, or shared by processes. Of a label, `label_smoothing` is spread evenly over all classes (Szegedy
    et al., 2016); a mixed image has a share of two such labels.
    """
    with autocast_off(student_BC):
        if mix is None and class_weights_C is None:
            return F.cross_entropy(exact(student_BC), labels_B, label_smoothing=label_smoothing)
        own_B = _weighed(student_BC, labels_B, class_weights_C, label_smoothing)
        if mix is None:
            return own_B.mean()
        # As two losses and not one soft target: the same by linearity, and no [B, C] of targets has to be made.
        other_B = _weighed(student_BC, mix.partner_B, class_weights_C, label_smoothing)
        return torch.lerp(other_B, own_B, mix.share_B.to(own_B)).mean()


def _weighed(student_BC: Tensor, labels_B: Tensor, class_weights_C: Tensor | None, label_smoothing: float) -> Tensor:
    """The cross-entropy of each image, times what its class weighs.

    Not by torch's own `weight`: together with smoothing that weighs each class of the soft label by itself, so that an
    image of a common class would be pulled toward the rare ones.
    """
    loss_B = F.cross_entropy(exact(student_BC), labels_B, reduction="none", label_smoothing=label_smoothing)
    return loss_B if class_weights_C is None else loss_B * class_weights_C[labels_B]
