"""What went wrong in a trainer, said so that its user can act on it. Loaded in the trainer only: it knows torch."""

import errno
from collections.abc import Callable, Iterator

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
    TeacherMissing,
    TeacherUnfit,
)


def explain(error: BaseException) -> Ending:
    """The ending that this error makes of a run."""
    for is_it, code, hint, retryable in KNOWN:
        if is_it(error):
            message = "The disk takes no more data." if code is Code.DISK_FULL else sentence(error)
            return Ending(code, message, hint, retryable=retryable)
    return Ending(
        Code.INTERNAL_ERROR,
        f"{type(error).__name__}: {sentence(error)}",
        "This is probably a bug in Stillhouse. The trainer's log has the whole story: GET /jobs/{id}/logs.",
        retryable=False,
    )


def passes(error: BaseException) -> bool:
    """Whether it says nothing of the run: the machine had no file for us to open at that moment. Whoever met it may
    have taken it for a file that is damaged or not there."""
    return any(isinstance(one, OSError) and one.errno in (errno.EMFILE, errno.ENFILE) for one in _chain(error))


def sentence(error: BaseException) -> str:
    """The error's first paragraph, cut to a length that fits a screen."""
    text = str(error).strip().split("\n\n")[0] or type(error).__name__
    return text if len(text) <= 1_000 else text[:1_000] + "…"


def _out_of_memory(error: BaseException) -> bool:
    return any(map(_tells_of_no_memory, _chain(error)))


def _tells_of_no_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # Where torch has no class of its own for it: its CPU allocator, C++, the libraries of CUDA.
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)


NO_MEMORY = ("can't allocate memory", "std::bad_alloc", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")


def _cuda_error(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and any(word in str(error) for word in ("CUDA error", "cuDNN error", "NCCL"))


def _disk_full(error: BaseException) -> bool:
    # torch.save reports a failed write as a RuntimeError of its zip writer; its cause is an OSError.
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return any(isinstance(one, OSError) and one.errno in full for one in _chain(error))


def _disk_error(error: BaseException) -> bool:
    refused = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN)
    return any(isinstance(one, OSError) and one.errno in refused for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it came from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


KNOWN: tuple[tuple[Callable[[BaseException], bool], Code, str, bool], ...] = (
    (
        _out_of_memory,
        Code.OUT_OF_MEMORY,
        "Use a smaller config.batch_size (or config.teacher.batch_size), gradient_accumulation, fewer config.views, or "
        "a smaller model.",
        False,
    ),
    (_disk_full, Code.DISK_FULL, "Free some space in the data folder, or move it to a larger disk, and retry.", True),
    (
        lambda error: not isinstance(error, KdError) and _disk_error(error),
        Code.DISK_ERROR,
        "Look whether the user whom the worker runs as may write to the data folder, and at its disk; then retry.",
        True,
    ),
    (
        lambda error: isinstance(error, Diverged),
        Code.DIVERGED,
        "Use a smaller learning rate, a warm-up (schedule.warmup_epochs), or optimizer.clip_norm.",
        False,
    ),
    (
        lambda error: isinstance(error, DataError),
        Code.BAD_DATA,
        "Put the data set's files where the message says, or mend them as it says, and retry.",
        True,
    ),
    (
        lambda error: isinstance(error, DamagedResume),
        Code.BAD_CHECKPOINT,
        "Submit the job again to start afresh.",
        False,
    ),
    (
        lambda error: isinstance(error, BadResume),
        Code.UNFIT_CHECKPOINT,
        "The file is left as it is. Look whether this worker sees the data folder, and has the version and the data "
        "set with which the job began.",
        True,
    ),
    (
        lambda error: isinstance(error, DeviceMissing),
        Code.NO_DEVICE,
        "Start a worker on a machine with that device, or use device auto.",
        True,
    ),
    (
        lambda error: isinstance(error, ModelMissing),
        Code.NO_PACKAGE,
        "Install it where the workers run, as the message says, and retry; or name another model.",
        True,
    ),
    (
        lambda error: isinstance(error, BadModel),
        Code.BAD_SPEC,
        "Mend the factory as the message says, install it where the workers run, and retry; or name another model.",
        True,
    ),
    (
        # The only weights file that a run is given is its teacher's.
        lambda error: isinstance(error, BadWeights | GraphUnfit | LabelsUnfit | TeacherMissing | TeacherUnfit),
        Code.BAD_TEACHER,
        "Name a job on the same data set that still has its files, or labels of these images, in config.teacher; or "
        "train a teacher here.",
        False,
    ),
    (
        lambda error: isinstance(error, LabelsHeld),
        Code.STALLED,
        "See what the job that writes them does (GET /label-tables names the table); if it hangs, cancel it.",
        True,
    ),
    (_cuda_error, Code.CUDA_ERROR, "The GPU or its driver failed. If it happens again, check `nvidia-smi`.", True),
    (
        lambda error: isinstance(error, KdError | ValidationError),
        Code.BAD_SPEC,
        "Change the spec as the message says.",
        False,
    ),
)
