"""Who guides through the rounds of `guide`: the teacher at its best, as it once was, or as it goes on learning."""

import math
from collections.abc import Iterator
from typing import Any, Protocol

from torch import nn

from kd.events import Event, Noted
from kd.spec import GuideConfig
from kd.teachers import frozen
from kd.teachers.cotrain import Cotrain
from kd.training.guidance import Scores
from kd.training.run import Workbench


class Guide(Protocol):
    """Takes its turn at the start of every round; then `model` teaches it. `top1` is of the validation split."""

    model: nn.Module
    name: str
    top1: float

    def turn(self, number: int, rounds: int, student: nn.Module, scores: Scores) -> Iterator[Event]:
        """Get ready for round `number` of `rounds`, counted from 0."""

    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


def make(bench: Workbench) -> Guide:
    """The guide that the spec asks for."""
    assert isinstance(bench.config, GuideConfig)
    kinds: dict[str, type[Fixed] | type[Route] | type[Cotrain]] = {"fixed": Fixed, "route": Route, "cotrain": Cotrain}
    return kinds[bench.config.rounds.teacher](bench)


class Fixed:
    """The teacher's best checkpoint, in every round."""

    def __init__(self, bench: Workbench):
        self.model, self.name = frozen.best(bench), "best"
        self.top1 = bench.position.finished["teacher"]["validation"]["top1"]

    def turn(self, number: int, rounds: int, student: nn.Module, scores: Scores) -> Iterator[Event]:
        return iter(())

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


class Route:
    """Anchors along the teacher's training guide the first rounds, its best checkpoint the last (Jin et al., 2019).

    An anchor that the student has overtaken has nothing to teach: it is dropped, and the next one guides.
    """

    def __init__(self, bench: Workbench):
        assert isinstance(bench.config, GuideConfig)
        self.bench, self.share = bench, bench.config.rounds.route.share
        self.anchors = bench.position.finished["teacher"]["anchors"]
        self.dropped = 0
        self._take(0)

    def turn(self, number: int, rounds: int, student: nn.Module, scores: Scores) -> Iterator[Event]:
        with_anchors = math.ceil(self.share * rounds)
        planned = number * len(self.anchors) // with_anchors if number < with_anchors else len(self.anchors)
        reached = scores.get("top1", -1.0)
        while self.dropped < len(self.anchors) and self.anchors[self.dropped]["top1"] < reached:
            anchor = self.anchors[self.dropped]
            self.dropped += 1
            if self.dropped > planned:  # else its time was over anyway
                yield Noted(
                    code="anchor_dropped",
                    message=f"The anchor of epoch {anchor['epoch']} ({anchor['top1']:.1%}) is worse than the student "
                    f"is now ({reached:.1%}): a later one guides.",
                )
        self._take(max(planned, self.dropped))

    def state(self) -> dict[str, Any]:
        return {"dropped": self.dropped, "taken": self.taken}

    def restore(self, state: dict[str, Any]) -> None:
        self.dropped = state["dropped"]
        self._take(state["taken"])

    def _take(self, number: int) -> None:
        self.taken = number
        if number < len(self.anchors):
            anchor = self.anchors[number]
            self.name, self.top1 = f"anchor of epoch {anchor['epoch']}", anchor["top1"]
            self.model = frozen.with_weights(self.bench, anchor["weights"])
        else:
            self.name, self.top1 = "best", self.bench.position.finished["teacher"]["validation"]["top1"]
            self.model = frozen.best(self.bench)
