"""The teacher ready to label: in eval mode, gradients off."""

from torch import Tensor, nn

from kd.evaluation.predict import predict
from kd.models.folding import for_inference
from kd.models.weights import State
from kd.training.run import Workbench, weights_of


def best(bench: Workbench) -> nn.Module:
    """The teacher at its best, ready to label: in eval mode, gradients off."""
    return with_weights(bench, weights_of(bench, "teacher"))


def with_weights(bench: Workbench, weights: State) -> nn.Module:
    """The teacher as it is with these weights, ready to label."""
    return for_inference(bench.build(bench.teacher_arch, "teacher", weights))


def validation_logits(bench: Workbench, teacher: nn.Module) -> Tensor:
    """What the teacher says of the validation split; float32 [N, C] on the CPU."""
    return predict(teacher, bench.validation.viewer, bench.autocast, team=bench.team)
