"""How an attempt ended, told by the worker where the trainer could not tell it itself.

A `code` for programs, a `message` and a `hint` for people, and whether trying again may help.
"""

import signal
from typing import Any

from jobs.errors import NoTeacher

Ending = dict[str, Any]

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
        return _ending("crashed", f"The trainer ended with exit code {exit_code} before it had finished.", SEE_THE_LOG)
    number = -exit_code
    if number == signal.SIGKILL and memory_ran_out:
        return _ending(
            "out_of_memory",
            "The kernel ended the trainer because memory ran out.",
            TAKE_LESS_MEMORY,
        )
    if number == signal.SIGABRT and "std::bad_alloc" in last_words:
        return _ending("out_of_memory", "The trainer gave up because it got no more memory.", TAKE_LESS_MEMORY)
    code = "killed" if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT) else "crashed"
    return _ending(code, f"The trainer was ended by {_name(number)}.", HINTS.get(number, SEE_THE_LOG))


def too_much_memory(used_bytes: int, limit_bytes: int) -> Ending:
    return _ending(
        "out_of_memory",
        f"The trainer took {used_bytes / 1e9:.2f} GB of memory, but may take {limit_bytes / 1e9:.2f} GB.",
        "Use a smaller batch size or fewer views, or raise resources.memory_gb or STILLHOUSE_TRAINER_MEMORY_BYTES.",
        retryable=False,
    )


def stalled(seconds: float) -> Ending:
    return _ending(
        "stalled",
        f"The trainer said nothing for {seconds:g} seconds, which is its limits.max_stall_seconds.",
        "See the trainer's log. If it was only slow (a large evaluation, say), retry with a higher limit.",
    )


def run_time_exceeded(seconds: float) -> Ending:
    return _ending(
        "run_time_exceeded",
        f"The job has run for {seconds:g} seconds, which is its limits.max_run_seconds.",
        "What it has saved can be downloaded. Retry it with a higher limit, or with fewer epochs.",
    )


def no_teacher(error: NoTeacher) -> Ending:
    hint = "Name another job in config.teacher, or train a teacher here."
    return _ending("bad_teacher", str(error), hint, retryable=False)


def no_trainer(error: OSError) -> Ending:
    hint = "The worker's machine is out of processes or memory."
    return _ending("no_trainer", f"The worker could not start a trainer: {error.strerror}.", hint)


def bug(error: Exception) -> Ending:
    return _ending(
        "internal_error",
        f"The worker could not go on with this job: {type(error).__name__}.",
        "This is a bug in Stillhouse; the worker's own log has the traceback.",
    )


def _ending(code: str, message: str, hint: str, *, retryable: bool = True) -> Ending:
    return {"code": code, "message": message, "hint": hint, "retryable": retryable}


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
