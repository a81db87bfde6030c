"""How a model does on the validation split, and by that which epoch is kept."""

import math

from torch import nn

from kd.evaluation.predict import predict
from kd.evaluation.scores import agreement, score
from kd.models.folding import for_inference
from kd.models.weights import copy_of
from kd.objectives import logits
from kd.training.guidance import Guidance
from kd.training.resuming.position import Moment, Record, Scores, is_better
from kd.training.run import Run


def validate(run: Run, model: nn.Module, guidance: Guidance | None = None) -> Scores:
    """Scores on the validation split; beside a teacher also how far the two agree."""
    labels_N = run.dataset.validation.labels
    logits_NC = predict(for_inference(model), run.validation.viewer, run.autocast_dtype, team=run.team)
    scores = score(logits_NC, labels_N)
    if guidance is not None and guidance.validation_NC is not None:
        scores["agreement"] = agreement(logits_NC, guidance.validation_NC)
        scores["kl"] = logits.distance("kd", logits_NC, guidance.validation_NC, labels_N, temperatures=(1,)).item()
    return scores


class Choice:
    """The one-standard-error rule (Breiman, Friedman, Olshen, Stone, 1984): of all epochs whose accuracy is within a
    standard error of the highest, the latest is the `best`.

    The highest of many noisy accuracies is mostly luck, and under a rate that falls later epochs are the better ones:
    an earlier one must have earned its place. `images` is the size of the validation split, on which the error depends.
    """

    def __init__(self, best: Moment, record: Record | None, *, images: int):
        """Without a `record`, as in what earlier versions have saved, the best one holds it."""
        self.best, self.record = best, record or Record(best.epoch, best.scores)
        self._images = images

    def weigh(self, epoch: int, model: nn.Module, scores: Scores) -> bool:
        """Whether the model, as it is after `epoch` epochs, is the best so far."""
        if is_better(scores, self.record.scores):
            self.record = Record(epoch, scores)
        highest = self.record.scores["top1"]
        is_kept = scores["top1"] >= highest - standard_error(highest, self._images)
        if is_kept:
            self.best = Moment(epoch, copy_of(model), scores)
        return is_kept

    def is_record(self, epoch: int) -> bool:
        """Whether no epoch has a higher accuracy than this one."""
        return epoch == self.record.epoch


def standard_error(accuracy: float, images: int) -> float:
    """That of an accuracy, in 0..1, which was counted over so many images (Agresti, Coull, 1998): with half a hit and
    half a miss more, so that not even of ten hits in ten is it 0."""
    counted = images + 1
    share = (accuracy * images + 0.5) / counted
    return math.sqrt(share * (1 - share) / counted)
