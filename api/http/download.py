"""A file over HTTP: whole, in part, or not at all if the client has it already (RFC 9110, RFC 9530)."""

import base64
import hashlib
import mimetypes
import os
import re
from collections.abc import Iterator
from datetime import datetime
from io import BufferedReader
from pathlib import Path

import structlog
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from api.http import conditional
from api.http.head import is_head
from api.http.problems import RangeNotSatisfiable
from jobs.errors import FileDamaged, FileGone

CHUNK_BYTES = 2**18
# A file up to this size is read before the answer begins, so that one which is damaged is an error in words. Of a
# larger one the last part is held back if it proves to be: the client sees a cut connection, and no whole file.
CHECKED_BEFORE_BYTES = 2**26
ONE_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


log = structlog.get_logger()


def serve(
    request: Request,
    path: Path,
    *,
    name: str,
    size: int,
    sha256: str,
    made_at: datetime,
    saved_as: str | None = None,
    shown: bool = False,
) -> Response:
    """Answer a GET or HEAD for a file whose row says its size and digest. The file is never loaded whole.

    A browser saves it as `saved_as` (default: its name), at once, unless it may be `shown`.
    """
    etag = f'"{sha256}"'
    headers = {
        "ETag": etag,
        "Last-Modified": conditional.http_date(made_at),
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:",
        "Cache-Control": "no-cache",  # `best` may be another file tomorrow: ask again, with the ETag
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'{"inline" if shown else "attachment"}; filename="{saved_as or name}"',
    }
    if conditional.has_it(request, etag, "file", made_at):
        return Response(status_code=304, headers=headers)

    headers["Content-Type"] = _media_type(name)
    if is_head(request.scope):  # knows no ranges
        _open(path, size).close()
        return Response(headers=headers | {"Content-Length": str(size)})

    wanted = _range(request, etag, size)
    start, stop = wanted or (0, size)
    if wanted:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    file = _open(path, size)
    is_checked = size <= CHECKED_BEFORE_BYTES
    if is_checked:
        _check(file, sha256)
    chunks = _chunks(file, start, stop, sha256=None if is_checked or wanted else sha256)
    return StreamingResponse(chunks, 206 if wanted else 200, headers)


def _media_type(name: str) -> str:
    """By the ending of its name. What text there is, we have written."""
    found = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{found}; charset=utf-8" if found.startswith("text/") else found


def _open(path: Path, size: int) -> BufferedReader:
    """Opened before the answer begins: it may be superseded, and deleted, while we still send it."""
    try:
        file = path.open("rb")
    except OSError:
        raise FileGone(path.name) from None
    if os.fstat(file.fileno()).st_size != size:
        file.close()
        raise FileGone(path.name)
    return file


def _range(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """[start, stop) of the one range asked for; None for the whole file, which also answers what we cannot read.

    `If-Range` with a date is never true: `best` may have been two files within that second.
    """
    if_range = request.headers.get("if-range")
    wanted = ONE_RANGE.fullmatch(request.headers.get("range", ""))
    if wanted is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last = wanted.groups()
    if not first:
        if not last:
            return None
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise RangeNotSatisfiable(size)
    return start, stop


def _check(file: BufferedReader, sha256: str) -> None:
    if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
        log.error("file_damaged", path=file.name)
        file.close()
        raise FileDamaged(Path(file.name).name)


class CutOff(Exception):
    """An answer that has begun cannot be finished: the client sees a cut connection."""


def _chunks(file: BufferedReader, start: int, stop: int, *, sha256: str | None) -> Iterator[bytes]:
    """The bytes from `start` to `stop`, which are the whole file where its digest is given, to be checked."""
    digest = hashlib.sha256()
    with file:
        file.seek(start)
        while start < stop:
            chunk = file.read(min(CHUNK_BYTES, stop - start))
            if not chunk:
                raise CutOff(f"{file.name} became shorter while it was sent")
            start += len(chunk)
            if sha256 is not None:
                digest.update(chunk)
                if start == stop and digest.hexdigest() != sha256:
                    log.error("file_damaged", path=file.name)
                    raise CutOff(f"{file.name} is not what was written")
            yield chunk
