"""Make a packed data set of a file that somebody has uploaded. It needs no torch.

If it is ended, the next one goes on with the images that are unpacked.
"""

import time
from pathlib import Path
from typing import Any

from jobs.endings import Code
from jobs.errors import NoSuchUpload
from jobs.files import uploads
from kd.data.ingest.add import add
from kd.disk import sha256_of
from kd.errors import DataError, KdError
from kd.events import Finished, MadeSafe, Noted, PhaseStarted, Step
from kd.report.data_set.examine import examine
from kd.spec.ingest import Ingest, IngestSpec
from worker.children.carry_out import GoOn, Say
from worker.children.machine_failures import DISK, MEMORY, Known

PHASE, EXAMINING = "ingesting", "examining"
# Of all the time: to unpack images takes longer than to look through them.
SHARE_OF_INGESTING = 0.9

KNOWN = (
    MEMORY,
    *DISK,
    Known(
        lambda error: isinstance(error, KdError),
        Code.BAD_DATA,
        "Mend the file as the message says, and bring it again.",
    ),
)


def carry_out(order: dict[str, Any], say: Say, go_on: GoOn) -> None:
    config, began = IngestSpec.model_validate(order["spec"]).config, time.monotonic()

    def tell(phase: str, since: float, images: int, fraction: float) -> None:
        go_on()
        rate = images / max(time.monotonic() - since, 1e-9)
        say(Step(phase=phase, step=images, fraction=fraction, images_per_second=rate))

    say(PhaseStarted(phase=PHASE))
    file, sha256 = _uploaded(Path(order["data_dir"]), config)
    folder = Path(order["data_folder"])
    facts = add(
        folder,
        config.name,
        file,
        size=config.size,
        classes=config.classes,
        skip_unreadable=config.skip_unreadable,
        may_be_there=True,
        identity=lambda: sha256,
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
    for remark in examination.remarks(after_packing=True):
        say(Noted(code="examined", message=remark))
    counts = {"train": facts.train, "validation": facts.validation, "test": facts.test}
    metrics = {"images": facts.count, **counts, "classes": len(facts.classes)}
    seconds = {PHASE: packed - began, EXAMINING: time.monotonic() - packed}
    say(Finished(step=facts.count, metrics=metrics, seconds=seconds))


def _uploaded(data_dir: Path, config: Ingest) -> tuple[Path, str]:
    """The file that was announced, and its sha256. Raises `DataError` where it is not there, or another one."""
    try:
        upload = uploads.read(data_dir, config.upload)
        file = uploads.path(data_dir, upload)
        is_whole = sha256_of(file) == upload.said.sha256
    except (NoSuchUpload, FileNotFoundError) as error:
        raise DataError(config.name, "its file is no longer there; bring it again") from error
    if not is_whole:
        uploads.remove(data_dir, upload.id)  # so that it can be brought again
        raise DataError(config.name, f"{file.name} is not the file that was announced; bring it again")
    return file, upload.said.sha256
