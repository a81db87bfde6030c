"""Who guides through the rounds of `guide`: the teacher at its best, as it once was, or as it goes on learning."""

import math
from collections.abc import Iterator
from typing import Any

from torch import nn

from kd.events import Event, Noted
from kd.spec import GuideConfig
from kd.teachers.frozen import freeze
from kd.teachers.obtain import members_of
from kd.training.logbook import Logbook
from kd.training.resuming.position import Moment, Scores
from kd.training.run import Run


class Guide:
    """The teacher's best checkpoint, in every round. `top1` is of the validation split."""

    model: nn.Module
    name: str
    top1: float

    def __init__(self, run: Run, log: Logbook):
        self.run, self.best = run, log.outcome("teacher").best
        self._take(self.best, "best")

    def turn(self, number: int, rounds: int, student: nn.Module, scores: Scores) -> Iterator[Event]:
        """Get ready for round `number` of `rounds`, counted from 0; then `model` teaches it."""
        return iter(())

    def models(self) -> Iterator[nn.Module]:
        """Whose labels a round's are: the mean of what these say, who come one after the other into memory."""
        yield self.model

    def state(self) -> dict[str, Any]:
        """What a resumed run must know to be guided in the same way."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Guide on from there."""
        assert not state, "what has no state is restored to none"

    def _take(self, moment: Moment, name: str) -> None:
        self.model, self.name, self.top1 = freeze(self.run, moment.weights), name, moment.top1


class Together(Guide):
    """A committee, each member at its best, in every round."""

    name = "committee"

    def __init__(self, run: Run, log: Logbook):
        self.members, self.top1 = members_of(run, log), log.outcome("teacher").best.top1

    def models(self) -> Iterator[nn.Module]:
        for member, weights in self.members:
            yield freeze(member, weights)


class Route(Guide):
    """Anchors along the teacher's training guide the first rounds, its best checkpoint the last (Jin et al., 2019).

    An anchor that the student has overtaken has nothing to teach: it is dropped, and the next one guides.
    """

    def __init__(self, run: Run, log: Logbook):
        assert isinstance(run.config, GuideConfig)
        self.run, self.share = run, run.config.rounds.route.share
        outcome = log.outcome("teacher")
        self.best, self.anchors = outcome.best, outcome.anchors
        self.dropped = 0
        self._go_to(0)

    def turn(self, number: int, rounds: int, student: nn.Module, scores: Scores) -> Iterator[Event]:
        with_anchors = math.ceil(self.share * rounds)
        planned = number * len(self.anchors) // with_anchors if number < with_anchors else len(self.anchors)
        reached = scores.get("top1", -1.0)
        while self.dropped < len(self.anchors) and self.anchors[self.dropped].top1 < reached:
            anchor = self.anchors[self.dropped]
            self.dropped += 1
            if self.dropped > planned:  # else its time was over anyway
                yield Noted(
                    code="anchor_dropped",
                    message=f"The anchor of epoch {anchor.epoch} ({anchor.top1:.1%}) is worse than the student "
                    f"is now ({reached:.1%}): a later one guides.",
                )
        self._go_to(max(planned, self.dropped))

    def state(self) -> dict[str, Any]:
        return {"dropped": self.dropped, "taken": self.taken}

    def restore(self, state: dict[str, Any]) -> None:
        self.dropped = state["dropped"]
        self._go_to(state["taken"])

    def _go_to(self, number: int) -> None:
        self.taken = number
        if number < len(self.anchors):
            anchor = self.anchors[number]
            self._take(anchor, f"anchor of epoch {anchor.epoch}")
        else:
            self._take(self.best, "best")
