"""Live progress: one bar on a terminal, plain lines in a pipe or a log."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from cli.shown import numbers
from cli.shown.console import console

# A line in a log is kept for ever; a bar is drawn over.
PLAIN_SECONDS = 5.0

Standing = Mapping[str, Any]  # a job's `progress`: fraction, phase, epoch, epochs, images_per_second, eta_seconds


class Display(Protocol):
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def say(self, line: str) -> None: ...
    def show(self, standing: Standing, accuracy: float | None) -> None: ...
    def hold(self, why: str) -> None: ...


def display(quiet: bool = False) -> Display:
    """What suits where the output goes; `quiet` says nothing, for those who want JSON only."""
    to = console()
    if quiet:
        return Silence()
    return Bar(to) if to.is_terminal else Lines(to)


def described(standing: Standing, accuracy: float | None) -> str:
    """`student 4/15  97.10 %  12,300 images/s`; what is not known yet is left out."""
    phase, epoch, epochs = standing.get("phase"), standing.get("epoch"), standing.get("epochs")
    parts = [f"{phase} {epoch}/{epochs}" if epochs else str(phase or "starting")]
    if accuracy is not None:
        parts.append(numbers.per_cent(accuracy))
    if standing.get("images_per_second"):
        parts.append(f"{numbers.count(standing['images_per_second'])} images/s")
    return "  ".join(parts)


class Bar:
    """One bar for the whole run; lines that are said stay above it."""

    def __init__(self, to: Console):
        self._progress = Progress(
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[left]}", style="dim"),
            console=to,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=1.0, left="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        self._progress.console.print(line, markup=False)

    def show(self, standing: Standing, accuracy: float | None) -> None:
        eta = standing.get("eta_seconds")
        self._progress.update(
            self._task,
            completed=standing.get("fraction") or 0.0,
            description=described(standing, accuracy),
            left="" if eta is None else f"{numbers.clock(eta)} left",
        )

    def hold(self, why: str) -> None:
        """Nothing moves, for this reason."""
        self._progress.update(self._task, description=escape(why), left="")


class Lines:
    """The same as lines: one when the phase changes, and now and then."""

    def __init__(self, to: Console):
        self._console = to
        self._phase: str | None = None
        self._spoke = 0.0
        self._held: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def say(self, line: str) -> None:
        self._console.print(line, markup=False)

    def show(self, standing: Standing, accuracy: float | None) -> None:
        now, phase = time.monotonic(), standing.get("phase")
        if not phase or (phase == self._phase and now - self._spoke < PLAIN_SECONDS):
            return
        self._phase, self._spoke, self._held = phase, now, None
        eta = standing.get("eta_seconds")
        left = "" if eta is None else f"  {numbers.clock(eta)} left"
        self.say(f"{(standing.get('fraction') or 0) * 100:3.0f} %  {described(standing, accuracy)}{left}")

    def hold(self, why: str) -> None:
        """Said once: it may stay so for days."""
        if why != self._held:
            self._phase, self._held = None, why
            self.say(why)


class Silence:
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def say(self, line: str) -> None:
        pass

    def show(self, standing: Standing, accuracy: float | None) -> None:
        pass

    def hold(self, why: str) -> None:
        pass
