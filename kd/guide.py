"""The `guide` pipeline: in rounds, the teacher labels fresh views of the data and the student trains on them."""

import math
from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from kd.evaluation import mean
from kd.events import Event, PhaseStarted, RoundEnded
from kd.labels import labelling
from kd.labels.label import Label
from kd.labels.progress import with_steps
from kd.models.features import Observed, Points, name_stages
from kd.objectives.objective import Answer
from kd.report.evaluate import conclude, measure
from kd.spec import GuideConfig
from kd.teachers.cotrain import Cotrain
from kd.teachers.frozen import validation_logits
from kd.teachers.guides import Guide, Route, Together
from kd.teachers.obtain import obtain_teacher
from kd.training import loop
from kd.training.baselines import train_baselines
from kd.training.guidance import Guidance, look_up
from kd.training.logbook import Logbook
from kd.training.repetitions import each_seed, numbered
from kd.training.resuming.position import Scores
from kd.training.run import Run
from kd.training.start import begin

GUIDES: dict[str, type[Guide]] = {"fixed": Guide, "route": Route, "cotrain": Cotrain}

# By round and guide: the teacher's logits of the validation split, and its labels of the round's views [N, V, C].
Tables = dict[tuple[int, str], tuple[Tensor, Tensor]]

# Shapes: N = images, V = views of each in a round, C = numbers of a label, B = batch.


def guide(run: Run, log: Logbook) -> Iterator[Event]:
    """Teacher; rounds of labelling and training, control, evaluation, from each seed. What is finished is skipped.

    The student has one optimizer and one schedule over all rounds: a round changes the labels, nothing else.
    """
    config = run.config
    assert isinstance(config, GuideConfig)

    yield from obtain_teacher(run, log)

    made: Tables = {}
    guide = Together if run.members else GUIDES[config.rounds.teacher]
    for one in each_seed(run, log):
        if "student" not in log.position.finished:
            guidance = RoundLabels(one, log, guide(one, log), made)
            student = yield from begin(one, log, "student")
            learning = loop.fit(
                one, log, "student", student, one.config, one.objective(), guidance=guidance, patience=config.patience
            )
            yield from numbered(log, learning)
        yield from numbered(log, train_baselines(one, log))
        yield from numbered(log, measure(one, log))
    yield from conclude(run, log)


class RoundLabels(Guidance):
    """Soft labels made round by round: round r of E epochs shows the views, or the pairs of views, numbered r·V to
    r·V + V - 1."""

    def __init__(self, run: Run, log: Logbook, guide: Guide, made: Tables | None = None):
        """`made` are the tables of earlier seeds, to which this one adds: the views of a round are the same for all."""
        assert isinstance(run.config, GuideConfig)
        self.made = made if made is not None and run.config.seeds > 1 and run.shares_rounds else None
        self.run, self.log, self.guide, self.config = run, log, guide, run.config
        self.at_once = run.plan.at_once
        self.rounds = math.ceil(self.config.epochs / self.config.rounds.epochs)
        reads_maps = "stages" in self.config.objective.reads
        self.points = Points(stages=name_stages(run.teacher_arch) if reads_maps else ())
        self.validation_NC = torch.empty(0)
        self.round: int | None = None  # whose turn the guide has taken
        self.labelled: int | None = None  # whose labels are here
        self.table_NVC = torch.empty(0)

    def prepare(self, epoch: int, student: nn.Module, scores: Scores) -> Iterator[Event]:
        """Label the views of this epoch's round, unless that is done.

        A round's table is kept nowhere on disk: after a resume it is labelled again, by the same guide, so it is the
        same.
        """
        log, E, V = self.log, self.config.rounds.epochs, self.run.views_a_round
        number = epoch // E
        if number == self.labelled:
            return
        # A guide that has taken its turn before the resume must not take it twice: it would have learnt on.
        if number != self.round:
            yield from self.guide.turn(number, self.rounds, student, scores)
            self.round = number
        name = (number, self.guide.name)
        if self.made is not None and name in self.made:
            (self.validation_NC, self.table_NVC), self.labelled = self.made[name], number
            return
        first = number * V * self.at_once
        shown = min(V, self.config.epochs - number * E) * self.at_once  # the last round may be a short one
        log.enter("labelling")
        facts = {"round": number + 1, "rounds": self.rounds, "views": shown, "guide": self.guide.name}
        yield PhaseStarted(phase="labelling", facts=facts)
        self.validation_NC, self.table_NVC = yield from self._label(first, shown)
        self.labelled = number
        if self.made is not None:
            self.made[name] = self.validation_NC, self.table_NVC
        log.enter("student")

    def _label(self, first: int, shown: int) -> Generator[Event, None, tuple[Tensor, Tensor]]:
        """What the guide says of the validation split, and of so many views of every image from number `first` on."""
        run, log, dtype = self.run, self.log, self.run.autocast_dtype or torch.float32
        images, numbers, members = len(run.train), len(run.dataset.classes) + run.pooled, len(run.members) or 1
        said_NC, total_NVC, table_NVC = [], None, torch.empty(0)
        for number, model in enumerate(self.guide.models()):
            said_NC.append(validation_logits(run, model))
            # Zeros, because in a team each fills in its share and the sum is the whole.
            table_NVC = torch.zeros(images, shown, numbers, device=run.device, dtype=dtype)
            says = Label(model, pooled=run.pooled > 0)
            written = labelling.label_views(run, log, says, range(first, first + shown), table_NVC)
            before, planned = first * members + shown * number, run.views_to_label * members
            yield from with_steps(log, written, before=before * images, planned=planned * images)
            run.team.sum(table_NVC)
            if members > 1:
                total_NVC = mean.add(total_NVC, table_NVC)
        if total_NVC is None:
            return said_NC[0], table_NVC
        return mean.mean_logits(said_NC), mean.divide(total_NVC, members).to(dtype)

    def view(self, epoch: int) -> int:
        return epoch // self.config.rounds.epochs * self.run.views_a_round + self._column(epoch)

    def answer(self, image_B: Tensor, epoch: int) -> Answer:
        label_BC = look_up(self.table_NVC, image_B, self._column(epoch), self.at_once)
        return Answer.of_label(label_BC.float(), len(self.run.dataset.classes))

    def look(self, answer: Answer, pixels_BCHW: Tensor) -> Answer:
        """With the maps of the guide's stages, where the objective compares them."""
        if not self.points.stages:
            return answer
        # Not in inference mode: a loss may save them for its backward pass.
        with torch.no_grad(), self.run.autocast():
            _, features = Observed(self.guide.model, self.points)(pixels_BCHW)
        return answer._replace(stages=features.stages)

    def conclude(self, epoch: int, scores: Scores, *, ended: bool) -> Iterator[Event]:
        """Say how the round went, after its last epoch."""
        if epoch % self.config.rounds.epochs == 0 or ended:
            assert self.round is not None
            measured = {name: scores[name] for name in ("top1", "agreement", "kl")}
            yield RoundEnded(
                step=self.log.position.step,
                round=self.round + 1,
                rounds=self.rounds,
                guide=self.guide.name,
                metrics={"teacher_top1": self.guide.top1} | measured,
            )

    def state(self) -> dict[str, Any]:
        return {"round": self.round, "guide": self.guide.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.round = state["round"]
        self.guide.restore(state["guide"])

    def _column(self, epoch: int) -> int:
        return epoch % self.config.rounds.epochs % self.run.views_a_round
