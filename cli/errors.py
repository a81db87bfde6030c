"""A user's mistake or the world's, said in a sentence: no traceback, and an exit code that scripts can read."""

from collections.abc import Iterator
from contextlib import contextmanager

OUR_PACKAGES = ("api", "cli", "client", "jobs", "kd", "migrations", "worker")


class Trouble(Exception):
    """The command could not do what it was asked."""

    exit_code = 1


class Misused(Trouble):
    """The command line itself makes no sense."""

    exit_code = 2


class MissingExtra(Trouble):
    def __init__(self, command: str, package: str, extra: str):
        super().__init__(f'`kd {command}` needs {package}: pip install "stillhouse[{extra}]"')


@contextmanager
def extra(name: str, command: str) -> Iterator[None]:
    """Import what comes with an optional extra here."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in OUR_PACKAGES:
            raise
        raise MissingExtra(command, package, name) from error


def trouble_of(error: Exception) -> Trouble | None:
    """The sentence for an error that is no bug of ours; None for one that is."""
    from client.errors import ClientError
    from jobs.errors import JobError
    from kd.errors import KdError

    if isinstance(error, Trouble):
        return error
    if isinstance(error, ClientError | JobError | KdError):
        return Trouble(str(error))
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return Trouble(f"{error.filename}: {error.strerror}")
    return None
