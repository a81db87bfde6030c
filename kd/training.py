"""The one training loop: teacher, student and control all learn in it.

Batch order, views, learning rate and dropout depend on (seed, epoch, step) alone, so a run that was killed
and goes on from a checkpoint ends with the same weights as one that was not.
"""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from kd import evaluate, losses
from kd.checkpoint import State, copy_of
from kd.errors import Diverged
from kd.events import Evaluated, Event, Phase, PhaseStarted
from kd.losses import Parts
from kd.seeds import derive, permutation, seed_torch
from kd.spec import Objective, Optimizer, Schedule
from kd.workbench import Workbench

EVALUATION_BATCH = 512

# Shapes: B = batch, N = validation images, C = classes.


class Recipe(Protocol):
    """How long and with what: a `kd.spec.Teacher`, or the config's own fields for student and control."""

    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def optimizer(self) -> Optimizer: ...
    @property
    def schedule(self) -> Schedule: ...


class Guidance(Protocol):
    """A teacher at the student's side: which view an epoch shows, and what the teacher says of it."""

    @property
    def objective(self) -> Objective: ...
    @property
    def validation_NC(self) -> Tensor:
        """The teacher's logits of the validation split, to compare with."""

    def prepare(self, epoch: int) -> Iterator[Event]: ...
    def view(self, epoch: int) -> int: ...
    def logits(self, image_B: Tensor, epoch: int) -> Tensor: ...


def fit(
    bench: Workbench,
    phase: Phase,
    model: nn.Module,
    recipe: Recipe,
    *,
    guidance: Guidance | None = None,
    patience: int | None = None,
) -> Iterator[Event]:
    """Train to the last epoch, or until `patience` epochs brought no better validation accuracy.

    Leaves `{"best", "last", "best_epoch", "epochs", "validation"}` in `bench.position.finished[phase]`.
    Raises `Diverged` when the loss is no longer a finite number.
    """
    position, train = bench.position, bench.train
    optimizer = make_optimizer(recipe.optimizer, model)
    best: dict[str, Any] = {"epoch": 0, "weights": copy_of(model), "scores": {"top1": -1.0, "nll": math.inf}}
    epoch, first_batch, stopped = 0, 0, False
    if position.current is not None:  # resumed in the middle of this phase
        current = position.current
        model.load_state_dict(current["model"])
        optimizer.load_state_dict(current["optimizer"])
        epoch, first_batch, best, stopped = current["epoch"], current["batch"], current["best"], current["stopped"]
    bench.enter(phase)
    yield PhaseStarted(phase=phase, epochs=recipe.epochs, facts={"images": len(train), "epoch": epoch})

    count = len(train)
    batches = math.ceil(count / recipe.batch_size)
    # A last batch of one image has no variance for batch normalisation; it waits for the next epoch's order.
    if batches > 1 and count % recipe.batch_size == 1:
        batches -= 1
    sums = torch.zeros(5, device=bench.device, dtype=torch.float64)  # loss, hard, soft, correct, images

    def where_it_stands(next_batch: int) -> dict[str, Any]:
        return {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epoch": epoch,
            "batch": next_batch,
            "best": best,
            "stopped": stopped,
        }

    model.train()
    while epoch < recipe.epochs and not stopped:
        if guidance is not None:
            yield from guidance.prepare(epoch)
        view = guidance.view(epoch) if guidance is not None else epoch
        order = permutation(count, derive(bench.config.seed, "order", epoch)).to(bench.device)
        bench.begin_counting()

        for batch in range(first_batch, batches):
            image_B = order[batch * recipe.batch_size : (batch + 1) * recipe.batch_size]
            labels_B = train.labels_N[image_B]
            rate = learning_rate(recipe, epoch + batch / batches)
            for group in optimizer.param_groups:
                group["lr"] = rate
            seed_torch(derive(bench.config.seed, "dropout", epoch, batch))

            inputs = train.viewer.show(image_B, torch.full_like(image_B, view))
            with autocast(bench):
                student_BC = model(inputs)
            parts = (
                losses.distillation(student_BC, guidance.logits(image_B, epoch), labels_B, guidance.objective)
                if guidance is not None
                else hard_only(student_BC, labels_B)
            )
            optimizer.zero_grad(set_to_none=True)
            parts.total.backward()  # type: ignore[no-untyped-call]
            if recipe.optimizer.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.optimizer.clip_norm)
            optimizer.step()
            position.step += 1

            sums += batch_sums(parts, student_BC, labels_B)
            last_batch = batch == batches - 1
            saves = bench.time_to_save() and not last_batch
            if last_batch or saves or bench.time_to_speak():
                share = (epoch + (batch + 1) / batches) / recipe.epochs
                images, metrics = means(sums, position.step, rate)
                sums.zero_()
                yield bench.step(phase, share, images, metrics, epoch=epoch + 1, epochs=recipe.epochs)
                bench.begin_counting()
            if saves:
                position.current = where_it_stands(batch + 1)
                yield bench.save(epoch + 1)
                bench.begin_counting()
        epoch, first_batch = epoch + 1, 0

        scores = validate(bench, model, guidance)
        yield Evaluated(phase=phase, step=position.step, epoch=epoch, split="validation", metrics=scores)
        better = is_better(scores, best["scores"])
        if better:
            best = {"epoch": epoch, "weights": copy_of(model), "scores": scores}
        stopped = patience is not None and epoch - best["epoch"] >= patience
        ended = stopped or epoch == recipe.epochs
        offer = phase == "student" and (better or ended)
        if offer or (bench.time_to_save() and not ended):
            position.current = where_it_stands(0)
            student = copy_of(model) if phase == "student" else None
            yield bench.save(epoch, student=student, best=better and phase == "student", metrics=scores)

    outcome = {
        "best": best["weights"],
        "last": copy_of(model),
        "best_epoch": best["epoch"],
        "epochs": epoch,
        "validation": best["scores"],
    }
    yield bench.finish(outcome, epoch)


def make_optimizer(recipe: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a recipe, in its fused form: one kernel for all parameters."""
    if recipe.name == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    return torch.optim.SGD(
        model.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        fused=True,
    )


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """The rate at a moment of the training, in epochs from its start."""
    schedule, peak = recipe.schedule, recipe.optimizer.lr
    if epoch < schedule.warmup_epochs:
        # A first step at a rate of exactly 0 would be wasted, hence the small offset.
        return peak * max(epoch / schedule.warmup_epochs, 1e-3)
    if schedule.name == "cosine":
        share = (epoch - schedule.warmup_epochs) / (recipe.epochs - schedule.warmup_epochs)
        return peak * (1 + math.cos(math.pi * share)) / 2
    if schedule.name == "step":
        return peak * schedule.gamma ** sum(epoch >= milestone for milestone in schedule.milestones)
    return peak


def autocast(bench: Workbench) -> Any:
    """The forward's precision. Losses stay outside: they are fp32 always."""
    if bench.autocast is None:
        return nullcontext()
    return torch.autocast(bench.device.type, dtype=bench.autocast)


def hard_only(student_BC: Tensor, labels_B: Tensor) -> Parts:
    """Cross-entropy alone, for those that learn without a teacher."""
    hard = losses.hard(student_BC, labels_B)
    return Parts(total=hard, hard=hard.detach(), soft=torch.zeros_like(hard))


def batch_sums(parts: Parts, student_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Loss, hard part, soft part and hits of a batch, summed over its images; the images. Stays on the device."""
    with torch.no_grad():
        correct = (student_BC.argmax(dim=1) == labels_B).sum()
        images = torch.full_like(correct, len(labels_B))
        sizes = torch.stack([parts.total, parts.hard, parts.soft]).double() * len(labels_B)
        return torch.cat([sizes, torch.stack([correct, images]).double()])


def means(sums: Tensor, step: int, rate: float) -> tuple[int, dict[str, float]]:
    """The images counted and the means over them. Reading them makes the host wait for the device."""
    loss, hard, soft, correct, images = sums.tolist()
    metrics = {"loss": loss / images, "hard_loss": hard / images, "soft_loss": soft / images}
    if not all(map(math.isfinite, metrics.values())):
        raise Diverged(step, rate, metrics)
    return int(images), {**metrics, "top1": correct / images, "lr": rate}


def validate(bench: Workbench, model: nn.Module, guidance: Guidance | None) -> dict[str, float]:
    """Scores on the validation split; beside a teacher also how far the two agree."""
    logits_NC = evaluate.predict(model, bench.validation.viewer, EVALUATION_BATCH, bench.autocast)
    scores = evaluate.score(logits_NC, bench.dataset.validation.labels)
    if guidance is not None:
        scores["agreement"] = evaluate.agreement(logits_NC, guidance.validation_NC)
        scores["kl"] = losses.kd(
            logits_NC, guidance.validation_NC, bench.dataset.validation.labels, temperature=1
        ).item()
    return scores


def is_better(scores: dict[str, float], than: dict[str, float]) -> bool:
    """Higher accuracy, or the same with less surprise: on a small split ties are common."""
    return (scores["top1"], -scores["nll"]) > (than["top1"], -than["nll"])


def weights_of(bench: Workbench, phase: Phase, which: str = "best") -> State:
    """The weights that a finished phase left."""
    return bench.position.finished[phase][which]  # type: ignore[no-any-return]
