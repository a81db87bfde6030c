"""Say how good a teacher is that somebody has brought. On the CPU: the GPUs are for distillations. If it is ended, the
next one begins anew."""

from pathlib import Path
from typing import Any

from jobs.endings import Code
from kd.errors import BadWeights, GraphUnfit, SpecUnfit, TeacherUnfit
from kd.evaluate_teacher import evaluate_teacher
from kd.spec.evaluate import EvaluateSpec
from worker.children import failures
from worker.children.carry_out import GoOn, Say
from worker.children.machine_failures import MEMORY, Known

KNOWN = (
    MEMORY,
    Known(
        lambda error: isinstance(error, BadWeights | GraphUnfit | TeacherUnfit),
        Code.BAD_TEACHER,
        "Bring the teacher again as the message says, or name a data set of its classes.",
    ),
    Known(
        lambda error: isinstance(error, SpecUnfit),
        Code.BAD_SPEC,
        "Ask for the evaluation again as the message says.",
    ),
    *failures.KNOWN,
)


def evaluate(order: dict[str, Any], say: Say, go_on: GoOn) -> None:
    ((file, sha256),) = order["teacher_files"]
    evaluate_teacher(
        EvaluateSpec.model_validate(order["spec"]).config,
        Path(order["out"]),
        data_folder=Path(order["data_folder"]),
        teacher_file=(Path(file), sha256),
        say=say,
        go_on=go_on,
    )
