"""The one training loop: teacher, student and control all learn in it.

Batch order, views, learning rate and dropout depend on (seed, epoch, step) alone, so a run that was killed
and goes on from a checkpoint ends with the same weights as one that was not.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from kd.errors import Diverged
from kd.events import Evaluated, Event, Phase, PhaseStarted
from kd.models.weights import copy_of
from kd.objectives import objective
from kd.objectives.objective import Parts
from kd.randomness import derive, permutation, seed_torch
from kd.training.anchors import Trail
from kd.training.batches import Lesson, batches_of, lessons
from kd.training.ema import Average
from kd.training.guidance import Guidance, Scores
from kd.training.meter import Tally
from kd.training.recipe import Recipe, learning_rate, make_optimizer
from kd.training.run import Workbench, autocast
from kd.training.validation import is_better, validate

# Shapes: B = batch, C = classes.


def fit(
    bench: Workbench,
    phase: Phase,
    model: nn.Module,
    recipe: Recipe,
    *,
    guidance: Guidance | None = None,
    patience: int | None = None,
    anchors: int = 0,
) -> Iterator[Event]:
    """Train to the last epoch, or until `patience` epochs brought no better validation accuracy.

    Leaves `{"best", "last", "best_epoch", "epochs", "validation", "anchors"}` in `bench.position.finished[phase]`:
    weights, and `anchors` moments on the way to the best ones. Raises `Diverged` when the loss is not a finite number.
    """
    position, train, team = bench.position, bench.train, bench.team
    viewer = bench.viewer_of(phase)
    optimizer = make_optimizer(recipe.optimizer, model)
    average = Average(model, recipe.ema) if recipe.ema is not None else None
    judged = average.model if average is not None else model  # what is evaluated and kept
    trail = Trail(anchors)
    best: dict[str, Any] = {"epoch": 0, "weights": copy_of(judged), "scores": {"top1": -1.0, "nll": math.inf}}
    epoch, first_batch, stopped = 0, 0, False
    scores: Scores = {}
    if position.current is not None:  # resumed in the middle of this phase
        current = position.current
        model.load_state_dict(current["model"])
        optimizer.load_state_dict(current["optimizer"])
        epoch, first_batch, best, stopped = current["epoch"], current["batch"], current["best"], current["stopped"]
        scores, trail = current["scores"], Trail(anchors, **current["trail"])
        if average is not None:
            average.load(current["average"])
        if guidance is not None:
            guidance.restore(current["guidance"])
    learner = team.together(model)
    bench.enter(phase)
    yield PhaseStarted(phase=phase, epochs=recipe.epochs, facts={"images": len(train), "epoch": epoch})

    batches = batches_of(len(train), recipe.batch_size, team)
    tally = Tally(bench.device)

    def where_it_stands(next_batch: int) -> dict[str, Any]:
        return {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average.model.state_dict() if average is not None else None,
            "epoch": epoch,
            "batch": next_batch,
            "best": best,
            "stopped": stopped,
            "scores": scores,
            "trail": {"stride": trail.stride, "moments": trail.moments},
            "guidance": guidance.state() if guidance is not None else None,
        }

    while epoch < recipe.epochs and not stopped:
        if guidance is not None:
            if first_batch == 0:  # else the position is still that from which we went on
                position.current = where_it_stands(0)
            for event in guidance.prepare(epoch, judged, scores):
                yield event
                if bench.is_asked_to_save:  # whoever goes on from here lets the guide begin this anew
                    yield from bench.save_as(phase, epoch)
        order_N = permutation(len(train), derive(bench.config.seed, "order", epoch))
        view = guidance.view(epoch) if guidance is not None else epoch
        taught = lessons(
            train,
            viewer,
            order_N,
            view,
            recipe.batch_size,
            first=first_batch,
            team=team,
            labeller=guidance,
            epoch=epoch,
        )
        model.train()
        bench.begin_counting()

        for batch, lesson in enumerate(taught, first_batch):
            rate = learning_rate(recipe, epoch + batch / batches)
            for group in optimizer.param_groups:
                group["lr"] = rate
            seed_torch(derive(bench.config.seed, "dropout", epoch, batch, *team.own_name))

            with autocast(bench):
                student_BC = learner(lesson.pixels_BCHW)
            parts = loss_of(lesson, student_BC, guidance)
            optimizer.zero_grad(set_to_none=True)
            (parts.total if lesson.weight == 1 else parts.total * lesson.weight).backward()  # type: ignore[no-untyped-call]
            if recipe.optimizer.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.optimizer.clip_norm)
            optimizer.step()
            if average is not None:
                average.update(epoch * batches + batch)
            position.step += 1

            tally.add(parts, student_BC, lesson.labels_B)
            last_batch = batch == batches - 1
            saves = bench.time_to_save() and not last_batch
            if last_batch or saves or bench.time_to_speak():
                share = (epoch + (batch + 1) / batches) / recipe.epochs
                images, metrics = means(tally, position.step, rate)
                yield bench.step(phase, share, images * team.size, metrics, epoch=epoch + 1, epochs=recipe.epochs)
                bench.begin_counting()
            if saves:
                position.current = where_it_stands(batch + 1)
                yield from bench.save(epoch + 1)
                bench.begin_counting()
        epoch, first_batch = epoch + 1, 0

        team.level(model, judged)
        scores = validate(bench, judged, guidance)
        yield Evaluated(phase=phase, step=position.step, epoch=epoch, split="validation", metrics=scores)
        if guidance is not None:
            yield from guidance.conclude(epoch, scores)
        better = is_better(scores, best["scores"])
        if better:
            best = {"epoch": epoch, "weights": copy_of(judged), "scores": scores}
        trail.pass_by(epoch, judged, scores)
        stopped = patience is not None and epoch - best["epoch"] >= patience
        ended = stopped or epoch == recipe.epochs
        offer = phase == "student" and (better or ended)
        if offer or (bench.time_to_save() and not ended):
            position.current = where_it_stands(0)
            student = copy_of(judged) if phase == "student" else None
            yield from bench.save(epoch, student=student, best=better and phase == "student", metrics=scores)

    outcome = {
        "best": best["weights"],
        "last": copy_of(judged),
        "best_epoch": best["epoch"],
        "epochs": epoch,
        "validation": best["scores"],
        "anchors": trail.anchors(before=best["epoch"]),
    }
    yield from bench.finish(outcome, epoch)


def loss_of(lesson: Lesson, student_BC: Tensor, guidance: Guidance | None) -> Parts:
    """What the student is told about its answers: by teacher and labels, or by the labels alone."""
    if guidance is None or lesson.teacher_BC is None:
        hard = objective.hard(student_BC, lesson.labels_B, lesson.mix)
        return Parts(total=hard, hard=hard.detach(), soft=torch.zeros_like(hard))
    return objective.distillation(student_BC, lesson.teacher_BC, lesson.labels_B, guidance.objective, lesson.mix)


def means(tally: Tally, step: int, rate: float) -> tuple[int, dict[str, float]]:
    """The images counted and the means over them. Raises `Diverged` when the loss is not a finite number."""
    images, (loss, hard, soft, correct) = tally.read()
    metrics = {"loss": loss, "hard_loss": hard, "soft_loss": soft}
    if not all(map(math.isfinite, metrics.values())):
        raise Diverged(step, rate, metrics)
    return images, {**metrics, "top1": correct, "lr": rate}
