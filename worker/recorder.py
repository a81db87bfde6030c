"""Write down what a trainer says, in order, under the lease's fence: events and metrics, checkpoints and files."""

import itertools
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.database.engine import Sessions
from jobs.endings import Ending
from jobs.errors import AlreadyWritten
from jobs.files import layout, store
from jobs.files.retention import NewFile
from jobs.queue import recording
from jobs.queue.fence import Claim
from jobs.tables import FileKind
from kd.events import (
    Advanced,
    Event,
    Failed,
    Finished,
    MadeSafe,
    PhaseStarted,
    Ready,
    Saved,
    SavedFile,
    Step,
    Stopped,
    Waiting,
    Wrote,
)


class Recorder:
    """What one trainer has said, and how much of it is in the database."""

    def __init__(self, db: Sessions, claim: Claim, data_dir: Path, folder: Path):
        self.db, self.claim = db, claim
        self.data_dir, self.folder = data_dir, folder
        self.failure: Ending | None = None  # why it gave up, if it could say so
        self.finished: Finished | None = None
        self.stopped = False  # it was asked to stop, saved where it stood and ended
        self.phase: str | None = None  # in which it was last; "cotrain" when a teacher learns on between rounds
        self._pending: deque[Event] = deque()  # said, not yet in the database
        self._written = 0  # how many came before those
        self._latest_metrics: dict[str, float] = {}

    @property
    def has_pending(self) -> bool:
        """Something is not in the database yet."""
        return bool(self._pending)

    @property
    def is_urgent(self) -> bool:
        """Steps and what was made safe can wait a moment; anything else is news."""
        return any(not isinstance(event, Step | MadeSafe) for event in self._pending)

    def hear(self, event: Event) -> None:
        """Take what the trainer said."""
        if isinstance(event, Failed):
            said = event.model_dump(exclude={"event"})
            self.failure = Ending.read(said | {"message": layout.without_places(event.message, self.data_dir)})
        if isinstance(event, Stopped):
            self.stopped = True
        if isinstance(event, Ready | Waiting | Advanced | Failed | Stopped):
            return  # it lives, or has ended: nothing of its run to be written down
        if isinstance(event, PhaseStarted | Step):
            learns_on = event.phase == "teacher" and self.phase not in (None, "teacher")
            self.phase = "cotrain" if learns_on else event.phase
        self._pending.append(event)
        if isinstance(event, Finished):
            self.finished = event

    def flush(self) -> None:
        """Write what was said, in order, each message once: a failed write is tried again, unless it had not failed."""
        while self._pending:
            batch = self._next_batch()
            messages = range(self._written, self._written + len(batch))
            try:
                self._write(batch, messages)
                written = messages.stop
            except AlreadyWritten as error:  # the database had done it when it, or the way to it, broke
                written = error.messages
            while self._written < written:
                self._pending.popleft()
                self._written += 1

    def _next_batch(self) -> list[Event]:
        """A file by itself; all that was said before the next one together."""
        if isinstance(self._pending[0], Saved | Wrote):
            return [self._pending[0]]
        return list(itertools.takewhile(lambda event: not isinstance(event, Saved | Wrote), self._pending))

    def _write(self, batch: Sequence[Event], messages: range) -> None:
        first = batch[0]
        if isinstance(first, Saved | Wrote):
            self._publish(first, messages)
        else:
            self._record(batch, messages)

    def _record(self, batch: Sequence[Event], messages: range) -> None:
        said = [
            {"type": event.event, "data": event.model_dump(mode="json", exclude={"event"})}
            for event in batch
            if event.for_users
        ]
        points: dict[tuple[str, int], float] = {}
        progress: dict[str, Any] | None = None
        phase: str | None = None
        for event in batch:
            added = event.points()
            points |= added
            self._latest_metrics |= {name: value for (name, _), value in added.items()}
            if isinstance(event, Step | PhaseStarted):
                phase = event.phase
            if isinstance(event, Step):
                progress = event.model_dump(mode="json", exclude={"event", "metrics"})
        with self.db.begin() as session:
            recording.record(
                session,
                self.claim,
                events=said,
                metrics=[(name, step, value) for (name, step), value in points.items()],
                phase=phase,
                progress=progress,
                latest_metrics=self._latest_metrics or None,
                safe_fraction=max((event.fraction for event in batch if isinstance(event, MadeSafe)), default=None),
                messages=messages,
            )

    def _publish(self, event: Saved | Wrote, messages: range) -> None:
        with self.db.begin() as session:
            if isinstance(event, Wrote):
                file = self._new_file(FileKind.ARTIFACT, event.file)
                superseded = recording.publish_file(session, self.claim, file, messages=messages)
            else:
                new = [self._new_file(FileKind.RESUME, event.resume)]
                if event.student is not None:
                    new.append(self._new_file(FileKind.STUDENT, event.student))
                superseded = recording.publish(
                    session,
                    self.claim,
                    phase=event.phase,
                    step=event.step,
                    epoch=event.epoch,
                    best=event.best,
                    metrics=event.metrics,
                    fraction=event.fraction,
                    files=new,
                    messages=messages,
                ).superseded
        store.delete(self.data_dir, superseded)

    def _new_file(self, kind: FileKind, file: SavedFile) -> NewFile:
        path = store.put(self.data_dir, self.folder / file.path)
        return NewFile(kind=kind, name=file.name, path=path, size=file.size, sha256=file.sha256)
