"""A teacher that goes on learning between the rounds of `guide`."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from kd.errors import Diverged
from kd.events import Evaluated, Event, Noted
from kd.models.weights import State, copy_of
from kd.objectives import logits, objective
from kd.randomness import derive, permutation, seed_torch
from kd.spec import GuideConfig, Teacher
from kd.teachers import frozen
from kd.training.batches import lessons
from kd.training.guidance import Scores
from kd.training.run import Workbench, autocast, weights_of
from kd.training.validation import validate
from kd.views.mixup import Mix


class Cotrain:
    """The teacher learns on between rounds, pulled toward the student so that its advice stays within reach.

    After Shi et al., 2021. What made it worse on the validation split is taken back.
    """

    def __init__(self, bench: Workbench):
        assert isinstance(bench.config, GuideConfig)
        self.bench, self.recipe = bench, bench.config.rounds.cotrain
        self.name = "learning on"
        self._begin(weights_of(bench, "teacher"), bench.position.finished["teacher"]["validation"]["top1"])

    def _begin(self, weights: State, top1: float, optimizer: dict[str, Any] | None = None) -> None:
        self.learner = self.bench.build(self.bench.teacher_arch, "teacher", weights)
        self.optimizer = torch.optim.SGD(self.learner.parameters(), lr=self.recipe.lr, momentum=0.9, fused=True)
        if optimizer is not None:
            self.optimizer.load_state_dict(optimizer)
        self.top1 = top1
        self.model = frozen.with_weights(self.bench, weights)

    def turn(self, number: int, rounds: int, student: nn.Module, scores: Scores) -> Iterator[Event]:
        if number == 0:
            return  # it is at its best, and the student knows nothing yet
        bench, before = self.bench, self.state()
        bench.enter("teacher")
        yield from self._learn(number, student)
        bench.team.level(self.learner)
        found = validate(bench, self.learner, None)
        yield Evaluated(phase="teacher", step=bench.position.step, epoch=number, split="validation", metrics=found)
        if found["top1"] < self.top1:
            yield Noted(
                code="teacher_rolled_back",
                message=f"Learning on made the teacher worse ({found['top1']:.1%} after {self.top1:.1%}): "
                f"round {number + 1} has the one from before.",
            )
            self.restore(before)
        else:
            self.top1 = found["top1"]
            self.model = frozen.with_weights(bench, copy_of(self.learner))

    def _learn(self, number: int, student: nn.Module) -> Iterator[Event]:
        bench, config = self.bench, self.bench.config
        temperature = config.objective.temperature
        batch_size = config.teacher.batch_size if isinstance(config.teacher, Teacher) else config.batch_size
        learner = bench.team.together(self.learner)
        student.eval()
        self.learner.train()
        images = round(self.recipe.epochs * len(bench.train))
        seen, unsaid, sums = 0, 0, torch.zeros((), device=bench.device)
        bench.begin_counting()
        for turn, order_N in enumerate(self._orders(images, number)):
            taught = lessons(
                bench.train, bench.viewer_of("teacher"), order_N, number + turn, batch_size, team=bench.team
            )
            for batch, lesson in enumerate(taught):
                seed_torch(derive(config.seed, "cotrain dropout", number, turn, batch, *bench.team.own_name))
                with torch.no_grad(), autocast(bench):
                    student_BC = student(lesson.pixels_BCHW)
                with autocast(bench):
                    teacher_BC = learner(lesson.pixels_BCHW)
                loss = self._loss(teacher_BC, student_BC, lesson.labels_B, lesson.mix, temperature)
                self.optimizer.zero_grad(set_to_none=True)
                (loss * lesson.weight).backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
                bench.position.step += 1
                sums += loss.detach() * len(lesson.labels_B)
                seen, unsaid = seen + len(lesson.labels_B), unsaid + len(lesson.labels_B)
                if bench.time_to_speak():
                    yield self._step(sums, unsaid)
                    unsaid = 0
                    sums.zero_()
        if unsaid:
            yield self._step(sums, unsaid)

    def _orders(self, images: int, number: int) -> Iterator[Tensor]:
        for turn in range(math.ceil(images / len(self.bench.train))):
            order_N = permutation(len(self.bench.train), derive(self.bench.config.seed, "cotrain", number, turn))
            part_N = order_N[: images - turn * len(order_N)]
            if len(part_N) >= 2 * self.bench.team.size:  # of a single image there are no batch statistics
                yield part_N

    def _loss(
        self, teacher_BC: Tensor, student_BC: Tensor, labels_B: Tensor, mix: Mix | None, temperature: float
    ) -> Tensor:
        toward_student = logits.kd(teacher_BC, student_BC, labels_B, temperature=temperature)
        return objective.hard(teacher_BC, labels_B, mix) + self.recipe.pull * toward_student

    def _step(self, loss_sum: Tensor, images: int) -> Event:
        loss = loss_sum.item() / images
        if not math.isfinite(loss):
            raise Diverged(self.bench.position.step, self.recipe.lr, {"cotrain_loss": loss})
        return self.bench.step("teacher", 1, images * self.bench.team.size, {"cotrain_loss": loss})

    def state(self) -> dict[str, Any]:
        # A copy: the momentum that state_dict() hands out is the one that goes on changing.
        optimizer = copy.deepcopy(self.optimizer.state_dict())
        return {"weights": copy_of(self.learner), "optimizer": optimizer, "top1": self.top1}

    def restore(self, state: dict[str, Any]) -> None:
        self._begin(state["weights"], state["top1"], state["optimizer"])
