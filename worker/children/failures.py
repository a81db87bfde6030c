"""What went wrong in a trainer, said so that its user can act on it. Only who has loaded torch loads this."""

import torch
from pydantic import ValidationError

from jobs.endings import Code, Ending
from kd.errors import (
    BadModel,
    BadResume,
    BadWeights,
    DamagedResume,
    DataError,
    DeviceMissing,
    Diverged,
    GraphUnfit,
    KdError,
    LabelsHeld,
    LabelsUnfit,
    ModelMissing,
    StartUnfit,
    TeacherMissing,
    TeacherUnfit,
)
from worker.children import machine_failures
from worker.children.machine_failures import Known, chain


def explain(error: BaseException) -> Ending:
    """The ending that this error makes of a run."""
    return machine_failures.explain(error, KNOWN)


def is_out_of_memory(error: BaseException) -> bool:
    return any(map(_tells_of_no_memory, chain(error)))


def _tells_of_no_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError) or machine_failures.MEMORY.is_it(error):
        return True
    # Where torch has no class of its own for it: its CPU allocator, C++, the libraries of CUDA.
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)


NO_MEMORY = ("can't allocate memory", "std::bad_alloc", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")


def _cuda_error(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and any(word in str(error) for word in ("CUDA error", "cuDNN error", "NCCL"))


KNOWN = (
    Known(
        is_out_of_memory,
        Code.OUT_OF_MEMORY,
        "Use a smaller config.batch_size (or config.teacher.batch_size), gradient_accumulation, fewer config.views, or "
        "a smaller model.",
    ),
    *machine_failures.DISK,
    Known(
        lambda error: isinstance(error, Diverged),
        Code.DIVERGED,
        "Use a smaller learning rate, a warm-up (schedule.warmup_epochs), or optimizer.clip_norm.",
    ),
    Known(
        lambda error: isinstance(error, DataError),
        Code.BAD_DATA,
        "Put the data set's files where the message says, or mend them as it says, and retry.",
        retryable=True,
    ),
    Known(
        lambda error: isinstance(error, DamagedResume),
        Code.BAD_CHECKPOINT,
        "Submit the job again to start afresh.",
    ),
    Known(
        lambda error: isinstance(error, BadResume),
        Code.UNFIT_CHECKPOINT,
        "The file is left as it is. Look whether this worker sees the data folder, and has the version and the data "
        "set with which the job began.",
        retryable=True,
    ),
    Known(
        lambda error: isinstance(error, DeviceMissing),
        Code.NO_DEVICE,
        "Start a worker on a machine with that device, or use device auto.",
        retryable=True,
    ),
    Known(
        lambda error: isinstance(error, ModelMissing),
        Code.NO_PACKAGE,
        "Install it where the workers run, as the message says, and retry; or name another model.",
        retryable=True,
    ),
    Known(
        lambda error: isinstance(error, BadModel),
        Code.BAD_SPEC,
        "Mend the factory as the message says, install it where the workers run, and retry; or name another model.",
        retryable=True,
    ),
    Known(
        lambda error: isinstance(error, StartUnfit),
        Code.BAD_TEACHER,
        "Name other weights in the start of the student, or of the teacher, bring them anew, or leave it out.",
    ),
    Known(
        # Of what a model begins from it was said above.
        lambda error: isinstance(error, BadWeights | GraphUnfit | LabelsUnfit | TeacherMissing | TeacherUnfit),
        Code.BAD_TEACHER,
        "Name a job on the same data set that still has its files, or labels of these images, in config.teacher; or "
        "train a teacher here.",
    ),
    Known(
        lambda error: isinstance(error, LabelsHeld),
        Code.STALLED,
        "See what the job that writes them does (GET /label-tables names the table); if it hangs, cancel it.",
        retryable=True,
    ),
    Known(
        _cuda_error,
        Code.CUDA_ERROR,
        "The GPU or its driver failed. If it happens again, check `nvidia-smi`.",
        retryable=True,
    ),
    Known(
        lambda error: isinstance(error, KdError | ValidationError),
        Code.BAD_SPEC,
        "Change the spec as the message says.",
    ),
)
