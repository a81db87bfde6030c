"""Where a run stands, how long it took so far, and what is said and saved of it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from kd import outputs
from kd.events import Phase, Saved, Step, is_of_teacher
from kd.models.safetensors.facts import Facts
from kd.models.weights import State, save_weights
from kd.parallel.team import Team
from kd.training.progress import Progress
from kd.training.resuming import resume
from kd.training.resuming.position import Moment, Outcome, Position, Scores, is_better
from kd.training.resuming.request import Request

# How often a run speaks while it trains. Reading the device's counters makes the host wait for it.
STEP_SECONDS = 0.5


class Logbook:
    """The position of a run and its clocks. Every process of a team keeps one; the leader's alone is written down."""

    def __init__(
        self,
        position: Position,
        *,
        request: Request,
        out: Path,
        student: Facts,
        save_seconds: float,
        save_now: threading.Event | None = None,
        repetitions: int = 1,
        team: Team = Team(),  # immutable
    ):
        """`request` is what the run was asked for, to which a resume state belongs. Students are saved with the
        facts `student`. Whoever sets `save_now` wants the next step to save. The run has so many `repetitions`."""
        self.position, self.progress, self.repetitions = position, Progress(), repetitions
        self._request, self._out, self._student, self._team = request, out, student, team
        self._save_seconds, self._save_now = save_seconds, save_now
        self._said_at = self._saved_at = self._phase_began_at = time.monotonic()

    def outcome(self, phase: Phase) -> Outcome:
        """What came of a phase that trained a model and is finished."""
        return self.position.outcomes[phase]

    def begin_repetition(self, number: int) -> None:
        """The models of the one before were measured, and go; what is left of them is the student that was saved. (One
        that is under way goes on.)"""
        position = self.position
        if number == position.repetition:
            return
        position.repetition = number
        position.finished = tuple(phase for phase in position.finished if phase == "labelling" or is_of_teacher(phase))
        position.outcomes = {phase: outcome for phase, outcome in position.outcomes.items() if is_of_teacher(phase)}

    def is_best_student(self, scores: Scores, *, ended: bool = True) -> bool:
        """Whether a student of these scores is better than those of all earlier repetitions. One that has not `ended`
        never is: what is kept of it in the end may be worse."""
        earlier = self.position.measured
        return (ended or not earlier) and all(is_better(scores, one.student_scores) for one in earlier)

    # -- time ----------------------------------------------------------------------------------------------------

    def enter(self, phase: Phase) -> None:
        """A phase begins or goes on; its time counts from here."""
        if self.position.phase:
            self._count_seconds()
        self.position.phase = phase

    @property
    def is_asked_to_save(self) -> bool:
        return self._save_now is not None and self._save_now.is_set()

    @property
    def is_time_to_report(self) -> bool:
        return time.monotonic() - self._said_at >= STEP_SECONDS

    @property
    def is_time_to_save(self) -> bool:
        due = time.monotonic() - self._saved_at >= self._save_seconds
        return self._team.leads and (due or self.is_asked_to_save)

    def begin_counting(self) -> None:
        """Images count from here: what went before (an evaluation, a save) is not the loop's speed."""
        self._said_at = time.monotonic()

    def step(
        self, phase: Phase, share: float, images: int, metrics: dict[str, float], *, epoch: int = 0, epochs: int = 0
    ) -> Step:
        """What to say after showing `images` images since the last word; `share` of the phase is done."""
        now = time.monotonic()
        speed = images / max(now - self._said_at, 1e-9)
        self._said_at = now
        self._advance(phase, share)
        return Step(
            phase=phase,
            step=self.position.step,
            epoch=epoch,
            epochs=epochs,
            metrics=metrics,
            images_per_second=round(speed, 1),
            fraction=round(self.progress.fraction, 4),
            eta_seconds=self.progress.eta_seconds,
        )

    # -- saving --------------------------------------------------------------------------------------------------

    def save(
        self,
        epoch: int = 0,
        *,
        student: State | None = None,
        best: bool = False,
        metrics: dict[str, float] | None = None,
    ) -> Iterator[Saved]:
        """Write the position down, and with it the student as it is now, if there is one to offer."""
        self._count_seconds()
        if not self._team.leads:
            return  # ours is the same
        step, file = self.position.step, None
        state = resume.save_position(self.position, self._request, self._out)
        if student is not None:
            file = save_weights(student, self._student, self._out, resume.folder_of(step) / outputs.STUDENT)
        yield Saved(
            phase=self.position.phase,
            step=step,
            epoch=epoch,
            resume=state,
            student=file,
            best=best,
            metrics=metrics or {},
            fraction=self.progress.fraction,
        )
        self._saved_at = time.monotonic()

    def save_as(self, phase: Phase, epoch: int) -> Iterator[Saved]:
        """Save the position of another phase than the one that is under way. It counts as a step, as in `finish`."""
        self._count_seconds()
        under_way, self.position.phase = self.position.phase, phase
        self.position.step += 1
        yield from self.save(epoch)
        self.position.phase = under_way

    def finish(
        self, outcome: Outcome | None = None, epoch: int = 0, *, student: Moment | None = None
    ) -> Iterator[Saved]:
        """The phase is over: keep what came of it, and of a student that was not offered yet the best one. It counts as
        a step, so that its checkpoint is a later one."""
        position = self.position
        position.finished += (position.phase,)
        if outcome is not None:
            position.outcomes[position.phase] = outcome
        position.current = None
        position.step += 1
        self._advance(position.phase, 1)
        if position.phase == "student":  # one that stops early leaves rounds that nobody will label
            self._advance("labelling", 1)
        if student is None:
            return self.save(epoch)
        best = self.is_best_student(student.scores)
        return self.save(student.epoch, student=student.weights, best=best, metrics=student.scores)

    def _advance(self, phase: str, share: float) -> None:
        self.progress.done(phase, share, repetition=self.position.repetition)

    def _count_seconds(self) -> None:
        now = time.monotonic()
        phase, seconds = self.position.phase, self.position.seconds
        seconds[phase] = seconds.get(phase, 0.0) + now - self._phase_began_at
        self._phase_began_at = now
