"""Fetch a file so that it is whole or not there: resume a partial one, check its sha256, then rename it."""

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO

import httpx2

from client.answers import Artifact, Checkpoint
from client.encoding import artifact_path, checkpoint_path, job_path
from client.errors import BadDownload, ClientError, DownloadBusy, NoSuchArtifact, Refused
from client.http import Http
from client.patience import PATIENCE_SECONDS, PAUSE_SECONDS

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True)
class Offer:
    """What the server promises: where the file is, and what it is."""

    path: str
    name: str
    size: int
    sha256: str


def checkpoint(http: Http, job_id: str, which: str, to: str | PathLike[str] | None) -> Path:
    """Fetch the student of a checkpoint, which is named by its id or as `best` or `last`."""
    for last_try in (False, True):
        # An alias may move on while we download; an id does not.
        found = http.request_json("GET", checkpoint_path(job_id, which), holds=Checkpoint)
        path = f"{checkpoint_path(job_id, found['id'])}/download"
        offer = Offer(path, name=found["file"], size=found["size"], sha256=found["sha256"])
        try:
            return _fetch(http, offer, _target(to, f"{job_id}-{which}.safetensors"))
        except Refused as error:
            if error.code != "file_gone" or last_try:
                raise  # a running job replaces its checkpoints: then there is a newer one
    raise AssertionError("the last try returns or raises")


def artifact(http: Http, job_id: str, name: str, to: str | PathLike[str] | None) -> Path:
    """Fetch a file that the job wrote beside its checkpoints."""
    listed = http.pages(f"{job_path(job_id)}/artifacts", {}, Artifact)
    found = next((file for file in listed if file["name"] == name), None)
    if found is None:
        raise NoSuchArtifact(job_id, name)
    offer = Offer(artifact_path(job_id, name), name, found["size"], found["sha256"])
    return _fetch(http, offer, _target(to, f"{job_id}-{name}"))


def _target(to: str | PathLike[str] | None, name: str) -> Path:
    path = Path(to) if to is not None else Path()
    return path / name if path.is_dir() else path


def _fetch(http: Http, offer: Offer, to: Path) -> Path:
    """Bring the offered file to `to`, replacing what is there."""
    to.parent.mkdir(parents=True, exist_ok=True)
    if to.is_file() and to.stat().st_size == offer.size and _sha256(to) == offer.sha256:
        return to
    # Named by content: what is left of another download is never continued with this one.
    part = to.with_name(f".{to.name}.{offer.sha256[:16]}.part")
    with _lock(part) as file:
        resumed = file.seek(0, os.SEEK_END) > 0
        while True:
            _complete(http, offer, file)
            file.flush()
            found = _sha256(part)
            if found == offer.sha256:
                break
            _empty(file)
            if not resumed:
                raise BadDownload(offer.name, offer.sha256, found)
            resumed = False  # the part we found may have been the damaged one: once more, from the start
        os.fsync(file.fileno())
        os.replace(part, to)
    return to


def _complete(http: Http, offer: Offer, file: IO[bytes]) -> None:
    """Append what is missing, asking again where a connection broke."""
    silent_since: float | None = None
    while (have := file.seek(0, os.SEEK_END)) < offer.size:
        try:
            _append(http, offer, file, have)
        except ClientError as error:
            now = time.monotonic()
            if silent_since is None or file.tell() > have:
                silent_since = now
            if not error.passing or now - silent_since > PATIENCE_SECONDS:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            if file.tell() <= have:
                return  # the server has no more than this; the sha256 will tell


def _append(http: Http, offer: Offer, file: IO[bytes], have: int) -> None:
    # If-Range: should the file be another one by now, the answer is all of it instead of a piece that does not fit.
    ranged = {"Range": f"bytes={have}-", "If-Range": f'"{offer.sha256}"'} if have else {}
    with http.stream(offer.path, {"Accept-Encoding": "identity", **ranged}) as answer:
        if have and answer.status_code != httpx2.codes.PARTIAL_CONTENT:
            _empty(file)
        if answer.is_success:
            for block in answer.iter_raw():
                file.write(block)
                if file.tell() > offer.size:
                    return  # more than was promised: enough to know that it is wrong


def _empty(file: IO[bytes]) -> None:
    file.truncate(0)
    file.seek(0)


@contextmanager
def _lock(part: Path) -> Iterator[IO[bytes]]:
    """The partial file, ours alone; removed if it stays empty."""
    with open(part, "ab") as file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Between opening and locking, another process may have put this very file in its place.
                if not part.exists() or not os.path.samestat(os.fstat(file.fileno()), part.stat()):
                    raise BlockingIOError
            except BlockingIOError:
                raise DownloadBusy(str(part)) from None
        try:
            yield file
        finally:
            file.flush()
            if part.exists() and part.stat().st_size == 0:
                part.unlink()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
