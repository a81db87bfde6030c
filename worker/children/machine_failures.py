"""What a machine lacks: memory, room on its disk, files that may be opened. Whatever a child of a worker does, it can
fail so. No torch."""

import errno
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from jobs.endings import Code, Ending
from kd.errors import KdError


class Known(NamedTuple):
    """A kind of error, and the ending that it makes."""

    is_it: Callable[[BaseException], bool]
    code: Code
    hint: str
    retryable: bool = False


def explain(error: BaseException, known: Sequence[Known]) -> Ending:
    """The ending that this error makes of a job: that of the first kind that it is of."""
    for kind in known:
        if kind.is_it(error):
            message = "The disk takes no more data." if kind.code is Code.DISK_FULL else sentence(error)
            return Ending(kind.code, message, kind.hint, retryable=kind.retryable)
    return Ending(
        Code.INTERNAL_ERROR,
        f"{type(error).__name__}: {sentence(error)}",
        "This is probably a bug in Stillhouse. The trainer's log has the whole story: GET /jobs/{id}/logs.",
        retryable=False,
    )


def passes(error: BaseException) -> bool:
    """Whether it says nothing of the run: the machine had no file for us to open at that moment. Whoever met it may
    have taken it for a file that is damaged or not there."""
    return any(isinstance(one, OSError) and one.errno in (errno.EMFILE, errno.ENFILE) for one in chain(error))


def sentence(error: BaseException) -> str:
    """The error's first paragraph, cut to a length that fits a screen."""
    text = str(error).strip().split("\n\n")[0] or type(error).__name__
    return text if len(text) <= 1_000 else text[:1_000] + "…"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it came from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _out_of_memory(error: BaseException) -> bool:
    return any(
        isinstance(one, MemoryError) or (isinstance(one, OSError) and one.errno == errno.ENOMEM) for one in chain(error)
    )


def _disk_full(error: BaseException) -> bool:
    # torch.save reports a failed write as a RuntimeError of its zip writer; its cause is an OSError.
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return any(isinstance(one, OSError) and one.errno in full for one in chain(error))


def _disk_error(error: BaseException) -> bool:
    refused = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN)
    return not isinstance(error, KdError) and any(
        isinstance(one, OSError) and one.errno in refused for one in chain(error)
    )


DISK = (
    Known(
        _disk_full,
        Code.DISK_FULL,
        "Free some space in the data folder, or move it to a larger disk, and retry.",
        retryable=True,
    ),
    Known(
        _disk_error,
        Code.DISK_ERROR,
        "Look whether the user whom the worker runs as may write to the data folder, and at its disk; then retry.",
        retryable=True,
    ),
)
MEMORY = Known(_out_of_memory, Code.OUT_OF_MEMORY, "Give the worker more memory.", retryable=True)
