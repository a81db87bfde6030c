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

JobProgress = Mapping[str, Any]  # a job's `progress`: fraction, phase, epoch, epochs, images_per_second, eta_seconds


class ProgressDisplay(Protocol):
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def say(self, line: str) -> None: ...
    def show(self, progress: JobProgress, accuracy: float | None) -> None: ...
    def hold(self, why: str) -> None: ...


def progress_display(quiet: bool = False) -> ProgressDisplay:
    """What suits where the output goes; `quiet` says nothing, for those who want JSON only."""
    to = console()
    if quiet:
        return NoProgress()
    return ProgressBar(to) if to.is_terminal else ProgressLines(to)


def description(progress: JobProgress, accuracy: float | None) -> str:
    """`repetition 2/5  student 4/15  97.10 %  12,300 images/s`; what is not known yet is left out."""
    phase, epoch, epochs = progress.get("phase"), progress.get("epoch"), progress.get("epochs")
    parts = [f"{phase} {epoch}/{epochs}" if epochs else str(phase or "starting")]
    if progress.get("repetition"):
        parts.insert(0, f"repetition {progress['repetition']}/{progress['repetitions']}")
    if accuracy is not None:
        parts.append(numbers.per_cent(accuracy))
    if progress.get("images_per_second"):
        parts.append(f"{numbers.count(progress['images_per_second'])} images/s")
    return "  ".join(parts)


class ProgressBar:
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

    def show(self, progress: JobProgress, accuracy: float | None) -> None:
        eta = progress.get("eta_seconds")
        self._progress.update(
            self._task,
            completed=progress.get("fraction") or 0.0,
            description=description(progress, accuracy),
            left="" if eta is None else f"{numbers.clock(eta)} left",
        )

    def hold(self, why: str) -> None:
        """Nothing moves, for this reason."""
        self._progress.update(self._task, description=escape(why), left="")


class ProgressLines:
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

    def show(self, progress: JobProgress, accuracy: float | None) -> None:
        now, phase = time.monotonic(), progress.get("phase")
        if not phase or (phase == self._phase and now - self._spoke < PLAIN_SECONDS):
            return
        self._phase, self._spoke, self._held = phase, now, None
        eta = progress.get("eta_seconds")
        left = "" if eta is None else f"  {numbers.clock(eta)} left"
        self.say(f"{(progress.get('fraction') or 0) * 100:3.0f} %  {description(progress, accuracy)}{left}")

    def hold(self, why: str) -> None:
        """Said once: it may stay so for days."""
        if why != self._held:
            self._phase, self._held = None, why
            self.say(why)


class NoProgress:
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def say(self, line: str) -> None:
        pass

    def show(self, progress: JobProgress, accuracy: float | None) -> None:
        pass

    def hold(self, why: str) -> None:
        pass
