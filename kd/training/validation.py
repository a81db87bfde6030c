"""How a model does on the validation split, by which `Choice` finds the best epoch."""

from torch import nn

from kd.evaluation.predict import predict
from kd.evaluation.scores import agreement, score
from kd.models.folding import for_inference
from kd.objectives import logits
from kd.training.guidance import Guidance
from kd.training.position import Scores
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
