"""A body that is a file: written to the disk as it comes, and never into memory as a whole."""

import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from api.http.problems import WrongContentType

BINARY = "application/octet-stream"
# Written at a time: a thread for every packet would cost more than the packet.
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Upload:
    """A file without a name, which is gone when it is closed; and the sha256 of its content."""

    file: IO[bytes]
    sha256: str


@asynccontextmanager
async def received(request: Request, folder: Path) -> AsyncIterator[Upload]:
    """The body of a request, in a file on the disk of this folder. `api.http.body_limit` has bounded it."""
    given = request.headers.get("content-type")
    if (given or "").partition(";")[0].strip().lower() != BINARY:
        # As for JSON: what a page of another site may send without a preflight is another type.
        raise WrongContentType(given, wanted=BINARY, form="bytes")
    file, digest = await run_in_threadpool(_make, folder), hashlib.sha256()

    def write(block: bytes) -> None:
        digest.update(block)
        file.write(block)

    try:
        waiting = bytearray()
        async for part in request.stream():
            waiting += part
            if len(waiting) >= BLOCK_BYTES:
                await run_in_threadpool(write, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(write, bytes(waiting))
        yield Upload(file, digest.hexdigest())
    finally:
        await run_in_threadpool(file.close)


def _make(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder)
