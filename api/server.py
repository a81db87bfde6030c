"""The server as a process: uvicorn with the bounds that a server needs which strangers can reach."""

import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from api.http.bounded import BoundedProtocol
from jobs.signals import suspend_between_writes

# Requests still open when the server is asked to end are given this long.
GRACE_SECONDS = 5


def serve(app: FastAPI, listener: socket.socket, *, say_started: Callable[[], None]) -> None:
    """Answer requests until Ctrl-C or SIGTERM."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                suspend_between_writes(app.state.database)
                say_started()

    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
    )
    with suppress(KeyboardInterrupt):  # uvicorn has ended in peace by then, and passes the signal on
        Server(config).run(sockets=[listener])
