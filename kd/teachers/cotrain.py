"""A teacher that goes on learning between the rounds of `guide`."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from kd.errors import LossDiverged
from kd.evaluation.scores import is_finite
from kd.events import Evaluated, Event, Noted
from kd.machine.precision import read_scale
from kd.models.weights import State, copy_of
from kd.objectives import logits
from kd.objectives.objective import cross_entropy
from kd.randomness import derive, permutation, seed_torch
from kd.spec import GuideConfig, Optimizer, Teacher
from kd.teachers.frozen import freeze
from kd.teachers.guides import Guide
from kd.training.batches import Batch, cut_batches
from kd.training.logbook import Logbook
from kd.training.recipe import make_optimizer
from kd.training.resuming.position import Scores
from kd.training.run import Run
from kd.training.start import hold, rest
from kd.training.validation import validate

# Shapes: N = images, B = batch, C = classes.


class Cotrain(Guide):
    """The teacher learns on between rounds, pulled toward the student so that its advice stays within reach.

    After Shi et al., 2021. What made it worse on the validation split is taken back.
    """

    def __init__(self, run: Run, log: Logbook):
        assert isinstance(run.config, GuideConfig)
        self.run, self.log, self.recipe = run, log, run.config.rounds.cotrain
        self.name = "learning on"
        best = log.outcome("teacher").best
        self._begin(best.weights, best.top1)

    def _begin(
        self, weights: State, top1: float, optimizer: dict[str, Any] | None = None, scaler: dict[str, Any] | None = None
    ) -> None:
        self.learner = self.run.build(self.run.teacher_arch, "teacher", weights)
        hold(self.run, "teacher", self.learner)
        self.scaler = self.run.scaler()
        recipe = Optimizer(lr=self.recipe.lr, weight_decay=0)
        self.optimizer = make_optimizer(recipe, list(self.learner.parameters()), self.scaler)
        if optimizer is not None:
            self.optimizer.load_state_dict(optimizer)
        if scaler:
            self.scaler.load_state_dict(scaler)
        self.top1 = top1
        # Who labels is a frozen copy: the learner goes on changing, and is not folded.
        self.model = freeze(self.run, weights)

    def turn(self, number: int, rounds: int, student: nn.Module, scores: Scores) -> Iterator[Event]:
        if number == 0:
            return  # it is at its best, and the student knows nothing yet
        run, log, before = self.run, self.log, self.state()
        log.enter("teacher")
        yield from self._learn(number, student)
        # All processes must keep, or take back, the same teacher: so they judge one with the same batch statistics.
        run.team.level(self.learner)
        found = validate(run, self.learner)
        yield Evaluated(phase="teacher", step=log.position.step, epoch=number, split="validation", metrics=found)
        healthy = is_finite(found)
        if not healthy or found["top1"] < self.top1:
            worse = f"made the teacher worse ({found['top1']:.1%} after {self.top1:.1%})"
            harm = worse if healthy else "has led the teacher to answers that are no finite numbers"
            yield Noted(
                code="teacher_rolled_back",
                message=f"Learning on {harm}: round {number + 1} has the one from before.",
            )
            # Weights and momentum: with the momentum of what was taken back it would go the same wrong way again.
            self.restore(before)
        else:
            self.top1 = found["top1"]
            self.model = freeze(run, copy_of(self.learner))

    def _learn(self, number: int, student: nn.Module) -> Iterator[Event]:
        run, log, seed = self.run, self.log, self.run.config.seed
        wanted = run.config.teacher
        # A teacher that was brought along has no recipe of its own.
        recipe = wanted if isinstance(wanted, Teacher) else run.config
        batch_size, pieces = recipe.batch_size, recipe.gradient_accumulation
        learner = run.team.together(self.learner)
        student.eval()  # here it is the one that is asked
        self.learner.train()
        rest(self.run, "teacher", self.learner)
        seen, unsaid, sums = 0, 0, torch.zeros((), device=run.device)
        log.begin_counting()
        # A batch at least: of less there is little to learn, and of a few images there are no batch statistics.
        images = max(round(self.recipe.epochs * len(run.train)), min(batch_size, len(run.train)))
        for turn, order_N in enumerate(self._orders(images, number)):
            batches = cut_batches(
                run.train,
                run.viewer_of("teacher"),
                order_N,
                number + turn,
                batch_size,
                pieces=pieces,
                team=run.team,
            )
            for place, batch in enumerate(batches):
                # As in the loop: dropout must not depend on what was drawn before a resume.
                seed_torch(derive(seed, "cotrain dropout", number, turn, place, *run.team.own_name))
                self.optimizer.zero_grad(set_to_none=True)
                for piece in batch.pieces(pieces):
                    with torch.no_grad(), run.autocast():
                        student_BC = student(piece.pixels_BCHW)
                    with run.autocast():
                        teacher_BC = learner(piece.pixels_BCHW)
                    loss = self._loss(teacher_BC, student_BC, piece)
                    self.scaler.scale(loss * piece.weight).backward()  # type: ignore[no-untyped-call]
                    # Summed on the device, and read when somebody is to hear of it.
                    sums += loss.detach() * len(piece.labels_B)
                self.scaler.step(self.optimizer)
                self.scaler.update()
                log.position.step += 1

                seen, unsaid = seen + len(batch.labels_B), unsaid + len(batch.labels_B)
                if log.is_time_to_report:
                    yield self._step(sums, unsaid)
                    unsaid = 0
                    sums.zero_()
        if unsaid:
            yield self._step(sums, unsaid)

    def _orders(self, images: int, number: int) -> Iterator[Tensor]:
        """The images to learn from before round `number`: in turns of the same size, each a part of an order of its
        own. Not whole epochs and a rest, which may be a handful."""
        turns = math.ceil(images / len(self.run.train))
        for turn in range(turns):
            order_N = permutation(len(self.run.train), derive(self.run.config.seed, "cotrain", number, turn))
            yield order_N[: images // turns]

    def _loss(self, teacher_BC: Tensor, student_BC: Tensor, batch: Batch) -> Tensor:
        # The student is the teacher's teacher here: the KL is taken from it.
        temperature = self.run.config.objective.temperature
        assert isinstance(temperature, int | float)  # the spec refuses others here
        toward_student = logits.distance("kd", teacher_BC, student_BC, batch.labels_B, temperatures=(temperature,))
        hard = cross_entropy(teacher_BC, batch.labels_B, batch.mix, self.run.class_weights_C)
        return hard + self.recipe.pull * toward_student

    def _step(self, loss_sum: Tensor, images: int) -> Event:
        loss = loss_sum.item() / images
        if not math.isfinite(loss):
            raise LossDiverged(self.log.position.step, self.recipe.lr, {"cotrain_loss": loss})
        metrics = {"cotrain_loss": loss} | read_scale(self.scaler, self.log.position.step, self.recipe.lr)
        return self.log.step("teacher", 1, images * self.run.team.size, metrics)

    def state(self) -> dict[str, Any]:
        # A copy: the momentum that state_dict() hands out is the one that goes on changing.
        optimizer = copy.deepcopy(self.optimizer.state_dict())
        return {
            "weights": copy_of(self.learner),
            "optimizer": optimizer,
            "scaler": self.scaler.state_dict(),
            "top1": self.top1,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._begin(state["weights"], state["top1"], state["optimizer"], state.get("scaler"))
