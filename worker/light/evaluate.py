"""Say how good a teacher is that somebody has brought. On the CPU: the GPUs are for distillations. If it is ended, the
next one begins anew."""

from pathlib import Path
from typing import Any

from jobs.endings import Code
from kd.errors import BadModel, BadWeights, DataError, GraphUnfit, KdError, ModelMissing, TeacherUnfit
from kd.evaluate_teacher import evaluate_teacher
from kd.spec.evaluate import EvaluateSpec
from worker.children.carry_out import GoOn, Say
from worker.children.failures import is_out_of_memory
from worker.children.machine_failures import DISK, Known

KNOWN = (
    Known(is_out_of_memory, Code.OUT_OF_MEMORY, "Give the worker more memory, or ask for fewer images."),
    *DISK,
    Known(
        lambda error: isinstance(error, DataError),
        Code.BAD_DATA,
        "Put the data set's files where the message says, or mend them as it says, and ask for the evaluation again.",
    ),
    Known(
        lambda error: isinstance(error, ModelMissing),
        Code.NO_PACKAGE,
        "Install it where the workers run, as the message says, and ask for the evaluation again.",
    ),
    Known(
        lambda error: isinstance(error, BadModel),
        Code.BAD_SPEC,
        "Mend the factory as the message says, install it where the workers run, and ask for the evaluation again.",
    ),
    Known(
        lambda error: isinstance(error, BadWeights | GraphUnfit | TeacherUnfit),
        Code.BAD_TEACHER,
        "Bring the teacher again as the message says, or name a data set of its classes.",
    ),
    Known(
        lambda error: isinstance(error, KdError),
        Code.BAD_SPEC,
        "Ask for the evaluation again, as the message says.",
    ),
)


def carry_out(order: dict[str, Any], say: Say, go_on: GoOn) -> None:
    ((file, sha256),) = order["teacher_files"]
    for event in evaluate_teacher(
        EvaluateSpec.model_validate(order["spec"]).config,
        Path(order["out"]),
        data_folder=Path(order["data_folder"]),
        teacher_file=(Path(file), sha256),
    ):
        say(event)
        go_on()
