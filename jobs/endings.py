"""How a job, or one attempt at it, ends when it does not succeed: every code, and the words that go with it.

What only the trainer can tell, an exception of torch say, is put into these words by `worker.children.failures`.
"""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from jobs.errors import NoTeacher


class Code(StrEnum):
    """What programs go by."""

    DIVERGED = "diverged"
    """The loss, or what a model answered, was no longer a finite number."""

    OUT_OF_MEMORY = "out_of_memory"
    """The machine or the GPU had no more memory for it, or it took more than it may."""

    DISK_FULL = "disk_full"
    """The data folder takes no more data."""

    DISK_ERROR = "disk_error"
    """A file may not be read or written, or its disk fails."""

    BAD_DATA = "bad_data"
    """The data set is not there, or is not what its name promises."""

    CUDA_ERROR = "cuda_error"
    """The GPU, its driver or one of its libraries failed."""

    NO_DEVICE = "no_device"
    """The worker's machine lacks the device that the spec asks for."""

    NO_PACKAGE = "no_package"
    """The worker lacks an optional package that the spec asks for."""

    NO_TRAINER = "no_trainer"
    """The worker could not start a process or a thread for it."""

    BAD_SPEC = "bad_spec"
    """The spec asks for what cannot be."""

    BAD_TEACHER = "bad_teacher"
    """The teacher that another job was to lend is gone, or does not fit."""

    BAD_EXPORT = "bad_export"
    """No file could be made of the student, or none that says what it says."""

    TEACHER_NEVER_CAME = "teacher_never_came"
    """The job for whose teacher it waited has ended without one."""

    BAD_CHECKPOINT = "bad_checkpoint"
    """The file to go on from is damaged; the attempt after goes on from the one before."""

    UNFIT_CHECKPOINT = "unfit_checkpoint"
    """The file to go on from is whole, but not for this worker: of another version, or of other data."""

    KILLED = "killed"
    """Somebody ended the trainer by a signal."""

    CRASHED = "crashed"
    """The trainer ended without a word, or too many attempts in a row did."""

    STALLED = "stalled"
    """The trainer got no further for longer than it may."""

    WORKER_LOST = "worker_lost"
    """Workers fell silent, too many in a row."""

    RUN_TIME_EXCEEDED = "run_time_exceeded"
    """It has run as long as it may."""

    QUEUE_TIME_EXCEEDED = "queue_time_exceeded"
    """It has waited for its first start as long as it may."""

    PRUNED = "pruned"
    """Its sweep ended it: most other members were better at the same epoch."""

    BUDGET_SPENT = "budget_spent"
    """Its sweep has trained for as long as it may."""

    INTERNAL_ERROR = "internal_error"
    """A bug of ours."""


@dataclass(frozen=True)
class Ending:
    """Why a job or an attempt ended: a code for programs, a message and a hint for people."""

    code: Code
    message: str
    hint: str
    retryable: bool = True
    """Whether trying again, with nothing changed in the spec, may help."""
    patch: dict[str, Any] | None = None
    """A JSON merge patch of the spec with which it may succeed."""

    def stored(self) -> dict[str, Any]:
        """As the column `error` and the event of the change hold it."""
        facts = {"code": self.code.value, "message": self.message, "hint": self.hint, "retryable": self.retryable}
        return facts if self.patch is None else facts | {"suggested_patch": self.patch}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """What `stored` has written. Raises ValueError for a code that this version does not know."""
        return cls(
            Code(stored["code"]),
            stored["message"],
            stored["hint"],
            retryable=stored["retryable"],
            patch=stored.get("suggested_patch"),
        )


def shown(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored ending as its users see it, every field; also one of another version, whose code we may not know."""
    return {"hint": None, "retryable": False, "suggested_patch": None, **stored}


# -- the queue: nobody holds the job any more, or nobody ever did --------------------------------------------------


def crashed_too_often(attempts: int) -> Ending:
    return Ending(
        Code.CRASHED,
        f"The trainer crashed in {attempts} attempts in a row without progress.",
        "The job's log shows what it printed last.",
    )


def worker_lost(attempts: int) -> Ending:
    return Ending(
        Code.WORKER_LOST,
        f"Workers fell silent in {attempts} attempts in a row without progress.",
        "Look for a worker that was killed or ran out of memory, then submit the job again.",
    )


def queue_time_exceeded() -> Ending:
    return Ending(
        Code.QUEUE_TIME_EXCEEDED,
        "No worker took the job within its limits.max_queue_seconds.",
        "GET /workers shows who works on what; start another worker, raise the limit or the priority.",
    )


def teacher_never_came(error: NoTeacher) -> Ending:
    hint = "Retry that job, then this one with the new job's id where its spec names that one."
    return Ending(Code.TEACHER_NEVER_CAME, str(error), hint, retryable=False)


def pruned(epoch: int, best: float, median: float) -> Ending:
    return Ending(
        Code.PRUNED,
        f"Its best validation accuracy was {best:.2%} after {epoch} epochs; the median of its sweep was {median:.2%}.",
        "Retry it to see it through all the same, or raise the sweep's pruning.warmup_epochs.",
    )


def budget_spent(seconds: float) -> Ending:
    return Ending(
        Code.BUDGET_SPENT,
        f"The members of its sweep have trained for {seconds:g} seconds, which is the sweep's budget.max_run_seconds.",
        "Retry it, or submit the sweep again with a larger budget.",
    )


# -- the worker: told by it where the trainer could not tell it itself ---------------------------------------------

TAKE_LESS_MEMORY = "Use a smaller batch size or fewer views, or give the worker more memory."
SEE_THE_LOG = "See the trainer's log: GET /jobs/{id}/logs."

# What people look for when they see the signal.
HINTS: dict[int, str] = {
    signal.SIGKILL: "Somebody on the worker's machine killed it, or its container was stopped.",
    signal.SIGBUS: "A file that it had mapped lost its disk: the data folder's is full, or /dev/shm is too small.",
    signal.SIGSEGV: "Native code crashed: look at the versions of torch, the driver and CUDA. " + SEE_THE_LOG,
    signal.SIGILL: "This build of torch uses instructions that the machine's processor lacks.",
    signal.SIGABRT: "Native code gave up. " + SEE_THE_LOG,
}


def death(exit_code: int, *, memory_ran_out: bool = False, last_words: str = "") -> Ending:
    """The trainer ended without a word for us; a negative exit code is the signal that ended it. `last_words` is the
    end of its log."""
    if exit_code >= 0:
        message = f"The trainer ended with exit code {exit_code} before it had finished."
        return Ending(Code.CRASHED, message, SEE_THE_LOG)
    number = -exit_code
    if number == signal.SIGKILL and memory_ran_out:
        message = "The kernel ended the trainer because memory ran out."
        return Ending(Code.OUT_OF_MEMORY, message, TAKE_LESS_MEMORY)
    if number == signal.SIGABRT and "std::bad_alloc" in last_words:
        message = "The trainer gave up because it got no more memory."
        return Ending(Code.OUT_OF_MEMORY, message, TAKE_LESS_MEMORY)
    code = Code.KILLED if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT) else Code.CRASHED
    return Ending(code, f"The trainer was ended by {_name(number)}.", HINTS.get(number, SEE_THE_LOG))


def too_much_memory(used_bytes: int, limit_bytes: int) -> Ending:
    return Ending(
        Code.OUT_OF_MEMORY,
        f"The trainer took {used_bytes / 1e9:.2f} GB of memory, but may take {limit_bytes / 1e9:.2f} GB.",
        "Use a smaller batch size or fewer views, or raise resources.memory_gb or STILLHOUSE_TRAINER_MEMORY_BYTES.",
        retryable=False,
    )


def stalled(seconds: float) -> Ending:
    return Ending(
        Code.STALLED,
        f"The trainer got no further for {seconds:g} seconds, which is its limits.max_stall_seconds.",
        "Something hangs: a disk, a driver, what it waits for. If it was only slow, retry with a higher limit.",
    )


def run_time_exceeded(seconds: float) -> Ending:
    return Ending(
        Code.RUN_TIME_EXCEEDED,
        f"The job has run for {seconds:g} seconds, which is its limits.max_run_seconds.",
        "What it has saved can be downloaded. Retry it with a higher limit, or with fewer epochs.",
    )


def no_teacher(error: NoTeacher) -> Ending:
    hint = "Name another job where the spec names this one, or train a teacher here."
    return Ending(Code.BAD_TEACHER, str(error), hint, retryable=False)


def no_trainer(error: OSError) -> Ending:
    hint = "The worker's machine is out of processes or memory."
    return Ending(Code.NO_TRAINER, f"The worker could not start a trainer: {error.strerror}.", hint)


def bug(error: Exception) -> Ending:
    return Ending(
        Code.INTERNAL_ERROR,
        f"The worker could not go on with this job: {type(error).__name__}.",
        "This is a bug in Stillhouse; the worker's own log has the traceback.",
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
