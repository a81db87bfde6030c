"""Get a teacher: train it to its best on the validation split, and measure it before it teaches."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from kd import checkpoint, evaluate, training
from kd.events import Event, Noted, Wrote
from kd.workbench import Workbench


def obtain(bench: Workbench) -> Iterator[Event]:
    """Train the teacher the spec describes, unless that is done. Its best weights end up in the position."""
    recipe = bench.config.teacher
    if "teacher" not in bench.position.finished:
        model = bench.build(recipe.arch, "teacher")
        yield from training.fit(bench, "teacher", model, recipe, patience=recipe.patience)

    # Also after a resume: the run may have been stopped before it came to this.
    outcome = bench.position.finished["teacher"]
    top1, chance = outcome["validation"]["top1"], 1 / len(bench.dataset.classes)
    if top1 < 2 * chance:
        yield Noted(
            code="weak_teacher",
            message=f"The teacher is right on {top1:.1%} of the validation images, hardly better than guessing "
            f"({chance:.1%}). Its labels will teach little: try a smaller learning rate or more epochs.",
        )
    file = checkpoint.save_weights(outcome["best"], bench.facts(recipe.arch), bench.out, Path("teacher.safetensors"))
    yield Wrote(file=file)


def best(bench: Workbench) -> nn.Module:
    """The teacher at its best, ready to label: in eval mode, gradients off."""
    model = bench.build(bench.config.teacher.arch, "teacher", training.weights_of(bench, "teacher"))
    return model.eval().requires_grad_(False)


def validation_logits(bench: Workbench, teacher: nn.Module) -> Tensor:
    """What the teacher says of the validation split; float32 [N, C] on the CPU."""
    return evaluate.predict(teacher, bench.validation.viewer, training.EVALUATION_BATCH, bench.autocast)
