"""What can go wrong between a client and its server, as sentences that name the next thing to do."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kd.printable import printed

# More than any sentence has; what a server says can be of any length.
MOST_CHARACTERS = 10_000


class ClientError(Exception):
    """Any of the errors below. `passing`: asking again a moment later may help.

    A sentence may hold what a server said, and may be printed by anyone: nothing in it steers a terminal.
    """

    passing = False

    def __init__(self, sentence: str):
        said = printed(sentence)
        super().__init__(said if len(said) <= MOST_CHARACTERS else f"{said[:MOST_CHARACTERS]}…")


class BadUrl(ClientError):
    def __init__(self, url: str):
        super().__init__(f"{url!r} is not the url of a server; one looks like http://127.0.0.1:8000.")


class Unreachable(ClientError):
    """No answer at all: nothing is known of what the server did with the request, if it was `sent`."""

    passing = True

    def __init__(self, url: str, reason: str, *, sent: bool = True):
        super().__init__(f"No answer from {url} ({reason}). Is the server running? `kd serve` starts one.")
        self.url = url
        self.sent = sent


class NotAServer(ClientError):
    """An answer that no server of ours would give: a proxy's, another program's, or one of another version."""

    def __init__(self, url: str, why: str):
        super().__init__(f"What answers at {url} is not a Stillhouse server, or one of another version: {why}.")


class FieldError(NamedTuple):
    """One problem of a request: a JSON pointer to where it is, and what it is."""

    pointer: str
    message: str


class NameTaken(ClientError):
    def __init__(self, name: str):
        super().__init__(f"There is a data set {name} already: choose another name, or delete it first.")


class Refused(ClientError):
    """The server said no, and why: its problem+json (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]):
        self.status = status
        self.problem = dict(problem)
        self.code = _text(problem.get("code")) or f"http_{status}"
        self.detail = (
            _text(problem.get("detail")) or _text(problem.get("title")) or f"The server answered with status {status}."
        )
        errors = problem.get("errors")
        self.errors = tuple(
            FieldError(_text(error.get("pointer")), _text(error.get("message")))
            for error in (errors if isinstance(errors, list) else [])
            if isinstance(error, dict)
        )
        places = [f"  {error.pointer or '(the whole)'}: {error.message}" for error in self.errors]
        super().__init__("\n".join(["The server refused this:", *places]) if places else self.detail)
        # A 500 without a code is the word of the web server below, which ends so what it cannot wait for when it is
        # stopped.
        self.passing = status in (429, 502, 503, 504) or (status == 500 and "code" not in problem)


def _text(said: object) -> str:
    return said if isinstance(said, str) else ""


class StillRunning(ClientError):
    """`wait` ran out of time; the job goes on."""

    def __init__(self, job: dict[str, Any], seconds: float):
        super().__init__(f"Job {job['id']} is still {job['status']} after {seconds:g} seconds.")
        self.job = job


class NoSuchArtifact(ClientError):
    def __init__(self, job_id: str, name: str):
        super().__init__(f"Job {job_id} has no artifact {name}.")


class BadDownload(ClientError):
    """What arrived is not what the server promised; nothing was put in its place."""

    def __init__(self, name: str, expected: str, found: str):
        super().__init__(
            f"{name} arrived with sha256 {found[:12]}…, the server promised {expected[:12]}…. It was thrown away; "
            "try again, and check the server's disk if it happens twice."
        )


class DownloadBusy(ClientError):
    def __init__(self, part: str):
        super().__init__(f"Another process is downloading to {part}.")
