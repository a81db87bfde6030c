"""The teacher ready to label: in eval mode, gradients off."""

from collections.abc import Iterable

from torch import Tensor, nn

from kd.evaluation.mean import mean_logits
from kd.evaluation.predict import predict
from kd.models.folding import for_inference
from kd.models.weights import State
from kd.training.run import Run


def freeze(run: Run, weights: State) -> nn.Module:
    """The teacher as it is with these weights, ready to label."""
    return for_inference(run.build(run.teacher_arch, "teacher", weights))


def validation_logits(run: Run, teacher: nn.Module) -> Tensor:
    """What the teacher says of the validation split; float32 [N, C] on the CPU."""
    return predict(teacher, run.validation.viewer, run.autocast_dtype, team=run.team)


def mean_validation_logits(members: Iterable[tuple[Run, State]]) -> Tensor:
    """The same of a committee: of one member at a time, so that no two are in memory together."""
    return mean_logits([validation_logits(run, freeze(run, weights)) for run, weights in members])
