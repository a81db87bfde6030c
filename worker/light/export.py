"""Make a file of a student, and see that it says the same. On the CPU: the GPUs are for distillations. If it is ended,
the next one begins anew."""

from pathlib import Path
from typing import Any

from jobs.endings import Code
from kd.errors import BadModel, BadWeights, DataError, ExportUnfit, GraphLost, KdError, ModelMissing, NotConverted
from kd.export.export import export
from kd.spec.export import ExportSpec
from worker.children.carry_out import GoOn, Say
from worker.children.failures import is_out_of_memory
from worker.children.machine_failures import DISK, Known

KNOWN = (
    Known(is_out_of_memory, Code.OUT_OF_MEMORY, "Give the worker more memory."),
    *DISK,
    Known(
        lambda error: isinstance(error, DataError),
        Code.BAD_DATA,
        "Put the data set's files where the message says, or train on those that are there, and ask again.",
    ),
    Known(
        lambda error: isinstance(error, ModelMissing | BadModel),
        Code.NO_PACKAGE,
        "Install where the workers run what the message names, and ask for the export again.",
    ),
    Known(
        lambda error: isinstance(error, GraphLost),
        Code.OUT_OF_MEMORY,
        "Give the worker more memory, or ask for fewer images; the file itself may be good.",
    ),
    Known(
        lambda error: isinstance(error, ExportUnfit | NotConverted),
        Code.BAD_EXPORT,
        "Take the weights, which are what was trained: GET /jobs/{id}/checkpoints/best/download.",
    ),
    Known(
        lambda error: isinstance(error, BadWeights),
        Code.BAD_TEACHER,
        "The student's file is damaged, or its architecture is another one now: train it again.",
    ),
    Known(lambda error: isinstance(error, KdError), Code.BAD_SPEC, "Ask for the export again, as the message says."),
)


def carry_out(order: dict[str, Any], say: Say, go_on: GoOn) -> None:
    ((file, sha256),) = order["teacher_files"]
    for event in export(
        ExportSpec.model_validate(order["spec"]).config,
        Path(order["out"]),
        data_folder=Path(order["data_folder"]),
        model_file=(Path(file), sha256),
    ):
        say(event)
        go_on()
