"""The child process for light work: an order on stdin, what happens on stdout, as a trainer has it.

It needs no torch. What it does is done anew if it is ended: it saves nothing.
"""

import threading
import time
from pathlib import Path
from typing import Any

from jobs.endings import Code
from kd.events import Finished, Noted, PhaseStarted, Step, Stopped
from kd.spec.ingest import IngestSpec
from worker.children.carry_out import Say, Work, live

PHASE = "ingesting"


class _Stop(BaseException):
    """We were asked to. No `Exception`: nobody on the way may take it for an error."""


def _load() -> Work:
    from jobs.errors import NoSuchUpload
    from jobs.files import uploads
    from kd.data.ingest.add import add
    from kd.disk import sha256_of
    from kd.errors import DataError, KdError
    from worker.children.machine_failures import DISK, MEMORY, Known, explain, passes

    def ingest(order: dict[str, Any], say: Say, save_now: threading.Event) -> None:
        config, began = IngestSpec.model_validate(order["spec"]).config, time.monotonic()

        def progress(phase: str, images: int, fraction: float) -> None:
            if save_now.is_set():
                raise _Stop
            rate = images / max(time.monotonic() - began, 1e-9)
            say(Step(phase=PHASE, step=images, fraction=fraction, images_per_second=rate))

        say(PhaseStarted(phase=PHASE))
        data_dir = Path(order["data_dir"])
        try:
            upload = uploads.read(data_dir, config.upload)
            file = uploads.path(data_dir, upload)
            is_whole = sha256_of(file) == upload.said.sha256
        except (NoSuchUpload, FileNotFoundError) as error:
            raise DataError(config.name, "its file is no longer there; bring it again") from error
        if not is_whole:
            uploads.remove(data_dir, upload.id)  # so that it can be brought again
            raise DataError(config.name, f"{file.name} is not the file that was announced; bring it again")
        try:
            facts = add(
                Path(order["data_folder"]),
                config.name,
                file,
                size=config.size,
                classes=config.classes,
                skip_unreadable=config.skip_unreadable,
                may_be_there=True,
                tell=lambda remark: say(Noted(code="understood", message=remark)),
                progress=progress,
            )
        except _Stop:
            say(Stopped())
            return
        counts = {"train": facts.train, "validation": facts.validation, "test": facts.test}
        metrics = {"images": facts.count, **counts, "classes": len(facts.classes)}
        say(Finished(step=facts.count, metrics=metrics, seconds={PHASE: time.monotonic() - began}))

    mend_it = Known(
        lambda error: isinstance(error, KdError),
        Code.BAD_DATA,
        "Mend the file as the message says, and bring it again.",
    )
    known = (MEMORY, *DISK, mend_it)
    return Work(ingest, lambda error: explain(error, known), passes)


if __name__ == "__main__":
    live(_load)
