"""The child process for light work: an order on stdin, what happens on stdout, as a trainer has it.

It needs no torch. If it is ended, the next one goes on with the images that are unpacked.
"""

import os
import threading
import time
from pathlib import Path
from typing import Any

from jobs.endings import Code
from kd.events import Finished, MadeSafe, Noted, PhaseStarted, Step, Stopped
from kd.spec.ingest import IngestSpec
from worker.children.carry_out import Say, Work, live

PHASE, EXAMINING = "ingesting", "examining"
# Of all the time: to unpack images takes longer than to look through them.
SHARE_OF_INGESTING = 0.9
# Beside a distillation one core is what it may take.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class _Stop(BaseException):
    """We were asked to. No `Exception`: nobody on the way may take it for an error."""


def _load() -> Work:
    os.environ |= ONE_THREAD  # before numpy is loaded, which reads it

    from jobs.errors import NoSuchUpload
    from jobs.files import uploads
    from kd.data.ingest.add import add
    from kd.disk import sha256_of
    from kd.errors import DataError, KdError
    from kd.report.examine import examine
    from worker.children.machine_failures import DISK, MEMORY, Known, explain, passes

    def ingest(order: dict[str, Any], say: Say, save_now: threading.Event) -> None:
        config, began = IngestSpec.model_validate(order["spec"]).config, time.monotonic()

        def tell(phase: str, since: float, images: int, fraction: float) -> None:
            if save_now.is_set():
                raise _Stop
            rate = images / max(time.monotonic() - since, 1e-9)
            say(Step(phase=phase, step=images, fraction=fraction, images_per_second=rate))

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
        folder = Path(order["data_folder"])
        try:
            facts = add(
                folder,
                config.name,
                file,
                size=config.size,
                classes=config.classes,
                skip_unreadable=config.skip_unreadable,
                may_be_there=True,
                identity=lambda: upload.said.sha256,
                tell=lambda remark: say(Noted(code="understood", message=remark)),
                progress=lambda phase, images, fraction: tell(PHASE, began, images, SHARE_OF_INGESTING * fraction),
                safe=lambda images, fraction: say(MadeSafe(count=images, fraction=SHARE_OF_INGESTING * fraction)),
            )
            packed = time.monotonic()
            say(PhaseStarted(phase=EXAMINING))
            examination = examine(
                folder,
                config.name,
                progress=lambda images, fraction: tell(
                    EXAMINING, packed, images, SHARE_OF_INGESTING + (1 - SHARE_OF_INGESTING) * fraction
                ),
            )
        except _Stop:
            say(Stopped())
            return
        for remark in examination.remarks(after_packing=True):
            say(Noted(code="examined", message=remark))
        counts = {"train": facts.train, "validation": facts.validation, "test": facts.test}
        metrics = {"images": facts.count, **counts, "classes": len(facts.classes)}
        seconds = {PHASE: packed - began, EXAMINING: time.monotonic() - packed}
        say(Finished(step=facts.count, metrics=metrics, seconds=seconds))

    mend_it = Known(
        lambda error: isinstance(error, KdError),
        Code.BAD_DATA,
        "Mend the file as the message says, and bring it again.",
    )
    known = (MEMORY, *DISK, mend_it)
    return Work(ingest, lambda error: explain(error, known), passes)


if __name__ == "__main__":
    live(_load)
