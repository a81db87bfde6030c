"""The one training loop: teacher, student and control all learn in it.

Batch order, views, learning rate and dropout depend on (seed, epoch, step) alone, so a run that was killed
and goes on from a checkpoint ends with the same weights as one that was not.
"""

import math
from collections.abc import Iterator

from torch import nn

from kd.errors import LossDiverged, ScoresDiverged
from kd.evaluation.scores import is_finite
from kd.events import Evaluated, Event, Phase, PhaseStarted
from kd.machine.precision import read_scale
from kd.models.features import Observed
from kd.models.weights import copy_of, load_state
from kd.objectives.objective import Objective
from kd.randomness import derive, permutation, seed_torch
from kd.training.anchors import Trail
from kd.training.batches import count_batches, cut_batches
from kd.training.curve import Curve
from kd.training.ema import Average
from kd.training.guidance import Guidance
from kd.training.logbook import Logbook
from kd.training.meter import Meter
from kd.training.recipe import Recipe, learning_rate, make_optimizer
from kd.training.resuming.position import Moment, Outcome, Scores, Training
from kd.training.run import Run
from kd.training.start import learning_in, rest
from kd.training.validation import Choice, validate

# Shapes: B = batch, C = classes.


def fit(
    run: Run,
    log: Logbook,
    phase: Phase,
    model: nn.Module,
    recipe: Recipe,
    objective: Objective,
    *,
    guidance: Guidance | None = None,
    patience: int | None = None,
    anchors: int = 0,
) -> Iterator[Event]:
    """Train to the last epoch, or until `patience` epochs brought no better validation accuracy.

    Leaves the `Outcome` in the logbook: the last model, the best by `Choice`, and `anchors` moments on the way to it.
    Raises `Diverged` when the loss or a score is not a finite number.
    """
    position, team, seed = log.position, run.team, run.config.seed
    viewer = run.viewer_of(phase)
    # What an objective trains learns with the model, under the same recipe.
    learning = learning_in(run, phase, model, objective.to(run.device).parameters())
    scaler = run.scaler()
    optimizer = make_optimizer(recipe.optimizer, learning, scaler)
    average = Average(model, recipe.ema) if recipe.ema is not None else None
    judged = average.model if average is not None else model  # what is evaluated and kept
    trail, curve = Trail(anchors), Curve()
    # Epoch 0 is what the model was born as, which the first epoch replaces whatever it is.
    born = Moment(0, copy_of(judged), {"top1": -1.0, "nll": math.inf})
    choice = Choice(born, None, images=len(run.validation))
    epoch, first_batch, stopped = 0, 0, False
    scores: Scores = {}

    # Resumed in the middle of this phase: everything that the next step depends on is put back, and nothing else is.
    if position.current is not None:
        current = position.current
        load_state(model, current.model)
        optimizer.load_state_dict(current.optimizer)
        load_state(objective, current.objective)
        epoch, first_batch, stopped = current.epoch, current.batch, current.stopped
        choice = Choice(current.best, current.record, images=len(run.validation))
        scores, trail = current.scores, Trail(anchors, stride=current.stride, moments=current.moments)
        curve = Curve(current.curve, current.sums)
        if average is not None and current.average is not None:
            average.load(current.average)
        if current.scaler:  # else it was not in fp16 that it came so far
            scaler.load_state_dict(current.scaler)
        if guidance is not None:
            guidance.restore(current.guidance)
    elif phase in position.reopened:  # it had come to the end, and is to go on for more epochs
        before = position.reopened.pop(phase)
        load_state(model, before.last)
        load_state(objective, before.objective)
        if average is not None:
            average.load(before.last)
        epoch, curve = before.epochs, Curve(before.curve)
        choice = Choice(before.best, before.record, images=len(run.validation))
    learner, criterion = team.together(Observed(model, objective.points)), team.together(objective)
    log.enter(phase)
    yield PhaseStarted(
        phase=phase,
        epochs=recipe.epochs,
        facts={"images": len(run.train), "views_at_once": viewer.plan.at_once, "epoch": epoch},
    )

    pieces = recipe.gradient_accumulation
    batches = count_batches(len(run.train), recipe.batch_size, team, pieces)
    meter = Meter(run.device)

    def where_it_stands(next_batch: int) -> Training:
        # Not copies: a position is written before the next step changes them.
        return Training(
            epoch=epoch,
            batch=next_batch,
            model=model.state_dict(),
            optimizer=optimizer.state_dict(),
            objective=objective.state_dict(),
            average=average.model.state_dict() if average is not None else None,
            best=choice.best,
            record=choice.record,
            stopped=stopped,
            scores=scores,
            stride=trail.stride,
            moments=trail.moments,
            guidance=guidance.state() if guidance is not None else {},
            scaler=scaler.state_dict(),
            curve=curve.points,
            sums=curve.sums,
        )

    while epoch < recipe.epochs and not stopped:
        # A guide may take its turn here, and label: minutes, in which the run may be asked to save. The position is
        # taken before, so that whoever goes on from it lets the guide begin anew and sees the same guide.
        if guidance is not None:
            if first_batch == 0:  # else the position is still that from which we went on
                position.current = where_it_stands(0)
            for event in guidance.prepare(epoch, judged, scores):
                yield event
                if log.is_asked_to_save:
                    yield from log.save_as(phase, epoch)

        # A pure function of seed and epoch: a resumed run takes up the same order at the batch it had come to.
        order_N = permutation(len(run.train), derive(seed, "order", epoch))
        # Without labels to share nothing holds a model to a few views, and it sees a fresh one every epoch.
        view = guidance.view(epoch) if guidance is not None else epoch
        epoch_of_batches = cut_batches(
            run.train,
            viewer,
            order_N,
            view,
            recipe.batch_size,
            pieces=pieces,
            first=first_batch,
            team=team,
            guidance=guidance,
            epoch=epoch,
        )
        model.train()  # it was in eval mode for the validation
        rest(run, phase, model)
        log.begin_counting()

        for number, batch in enumerate(epoch_of_batches, first_batch):
            # Rate and objective follow the exact place in the epoch, so that a run resumed in its middle takes the same
            # steps.
            place = epoch + number / batches
            rate = learning_rate(recipe, place)
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("share", 1)  # a state that was saved before there were shares has none
            # Dropout draws from torch's own generators, whose state no checkpoint holds: each step sets it.
            seed_torch(derive(seed, "dropout", epoch, number, *team.own_name))

            optimizer.zero_grad(set_to_none=True)
            # One after the other, so that the activations of a piece are all that must fit into memory at a time.
            for piece in batch.pieces(pieces):
                with run.autocast():
                    student_BC, features = learner(piece.pixels_BCHW)
                answer = piece.answer
                if guidance is not None and answer is not None:
                    answer = guidance.look(answer, piece.pixels_BCHW)
                # Outside of autocast: in half precision a loss of many classes loses what it is about.
                parts = criterion(student_BC, piece.labels_B, answer, piece.mix, place, features)
                # DDP takes the mean over the processes, whose shares of a batch may differ by one image.
                loss = parts.total if piece.weight == 1 else parts.total * piece.weight
                scaler.scale(loss).backward()
                # The loss stays on the device until somebody is to hear of it: to read it makes the host wait.
                meter.add(parts, student_BC, piece.labels_B)
            if recipe.optimizer.clip_norm is not None:
                scaler.unscale_(optimizer)
                parameters = [one for group in learning for one in group["params"]]
                nn.utils.clip_grad_norm_(parameters, recipe.optimizer.clip_norm)
            scaler.step(optimizer)
            scaler.update()
            if average is not None:
                average.update(epoch * batches + number)
            position.step += 1

            last_batch = number == batches - 1
            saves = log.is_time_to_save and not last_batch
            if last_batch or saves or log.is_time_to_report:
                share = (epoch + (number + 1) / batches) / recipe.epochs
                images, metrics = read_means(meter, position.step, rate)
                curve.add(images, metrics)
                metrics |= read_scale(scaler, position.step, rate)
                yield log.step(phase, share, images * team.size, metrics, epoch=epoch + 1, epochs=recipe.epochs)
                log.begin_counting()
            if saves:
                position.current = where_it_stands(number + 1)
                yield from log.save(epoch + 1)
                log.begin_counting()
        epoch, first_batch = epoch + 1, 0

        # Every process judges the same averaged weights: without this each would keep a best epoch of its own.
        team.level(model, judged)
        scores = validate(run, judged, guidance)
        # Asked here too, because no loss has seen what the epoch's last update did, nor the averaged weights.
        if not is_finite(scores):
            raise ScoresDiverged(phase, "validation", epoch, scores)
        yield Evaluated(phase=phase, step=position.step, epoch=epoch, split="validation", metrics=scores)
        is_best = choice.weigh(epoch, judged, scores)
        trail.pass_by(epoch, judged, scores)
        curve.close(epoch, scores)
        stopped = patience is not None and epoch - choice.record.epoch >= patience
        ended = stopped or epoch == recipe.epochs
        if guidance is not None:
            yield from guidance.conclude(epoch, scores, ended=ended)

        # A student that does better than all before is worth a checkpoint at once: somebody may download it. So is the
        # last one, which is not the best if the run has begun to learn its images by heart.
        offer = phase == "student" and (choice.is_record(epoch) or ended)
        if offer or (log.is_time_to_save and not ended):
            position.current = where_it_stands(0)
            student = copy_of(judged) if phase == "student" else None
            best_of_all = is_best and phase == "student" and log.is_best_student(scores, ended=ended)
            yield from log.save(epoch, student=student, best=best_of_all, metrics=scores)

    best = choice.best
    outcome = Outcome(
        best=best,
        record=choice.record,
        last=copy_of(judged),
        epochs=epoch,
        anchors=trail.anchors(before=best.epoch),
        objective=copy_of(objective),
        curve=curve.points,
    )
    was_offered = phase != "student" or best.epoch == epoch
    yield from log.finish(outcome, epoch, student=None if was_offered else best)


def read_means(meter: Meter, step: int, rate: float) -> tuple[int, dict[str, float]]:
    """The images counted and the means over them. Raises `Diverged` when the loss is not a finite number."""
    images, (loss, hard, soft, correct) = meter.read()
    metrics = {"loss": loss, "hard_loss": hard, "soft_loss": soft}
    # Never zeroed or skipped: a run that goes on after a NaN has wasted whatever it trains from then on.
    if not all(map(math.isfinite, metrics.values())):
        raise LossDiverged(step, rate, metrics)
    return images, {**metrics, "top1": correct, "lr": rate}
